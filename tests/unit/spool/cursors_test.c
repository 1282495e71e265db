#include "base/digest.h"
#include "faulty_io.h"
#include "spool/cursors.h"
#include "spool_fixture.h"

#include <fcntl.h>

struct test {
    struct fixture f;
    struct tg_io_faulty io;
    struct tg_cursors *c;
};

static void open_cursors(struct test *t)
{
    tg_cursors_close(&t->c);
    int rc = tg_cursors_open(&t->io.io, t->f.dir, t->f.helper, &t->c, &t->f.err);
    if (rc)
        fail_msg("%s", t->f.err.msg);
}

static int set_up(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    fixture_init(&t->f, tg_io_faulty_init(&t->io));
    open_cursors(t);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct test *t = *state;
    tg_cursors_close(&t->c);
    fixture_fini(&t->f);
    free(t);
    return 0;
}

static struct tg_cursor *add(struct test *t, const char *name, uint64_t low)
{
    struct tg_cursor *cursor;
    assert_int_equal(tg_cursors_add(t->c, name, low, &cursor, &t->f.err), TG_OK);
    return cursor;
}

static struct tg_cursor *find(struct test *t, const char *name)
{
    struct tg_cursor *cursor = tg_cursors_find(t->c, name);
    assert_non_null(cursor);
    return cursor;
}

struct status {
    int n, last;
};

static void on_saved(void *arg, int status)
{
    struct status *s = arg;
    s->n++;
    s->last = status;
}

static int save(struct test *t)
{
    struct status s = {0};
    tg_cursors_save(t->c, on_saved, &s);
    tg_helper_drain(t->f.helper);
    assert_int_equal(s.n, 1);
    return s.last;
}

/* Settling in any order moves low over everything that is settled, and nothing else. */
static void test_settle(void **state)
{
    struct test *t = *state;
    struct tg_cursor *a = add(t, "a", 10);
    tg_cursor_settle(a, 12);
    tg_cursor_settle(a, 11);
    tg_cursor_settle(a, 5);
    assert_int_equal(tg_cursor_low(a), 10);
    assert_true(tg_cursor_settled(a, 12) && tg_cursor_settled(a, 11) && tg_cursor_settled(a, 9));
    assert_false(tg_cursor_settled(a, 10) || tg_cursor_settled(a, 13));
    tg_cursor_settle(a, 10);
    assert_int_equal(tg_cursor_low(a), 13);
    assert_int_equal(tg_cursor_limit(a), 13 + TG_CURSOR_WINDOW);
    tg_cursor_settle(a, 15);
    tg_cursor_settle_below(a, 15);
    assert_int_equal(tg_cursor_low(a), 16);
    tg_cursor_settle_below(a, 3);
    assert_int_equal(tg_cursor_low(a), 16);
}

/* Against a plain array of flags, over several windows, with jumps and saves in between. */
static void test_model(void **state)
{
    enum { N = 40000 };
    struct test *t = *state;
    static bool settled[N + TG_CURSOR_WINDOW];
    uint64_t low = 1, random = 7;
    memset(settled, 0, sizeof settled);
    struct tg_cursor *a = add(t, "a", 1);
    while (low < N - TG_CURSOR_WINDOW) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t seq = low + (random >> 33) % (random >> 20 & 15 ? 64 : TG_CURSOR_WINDOW);
        if ((random >> 40) % 500 == 0) {
            for (uint64_t i = low; i < seq; i++)
                settled[i] = true;
            tg_cursor_settle_below(a, seq);
        } else {
            settled[seq] = true;
            tg_cursor_settle(a, seq);
        }
        while (settled[low])
            low++;
        assert_int_equal(tg_cursor_low(a), low);
        if ((random >> 40) % 100 == 1) {
            assert_int_equal(save(t), TG_OK);
            open_cursors(t);
            a = find(t, "a");
            for (uint64_t i = low; i < low + TG_CURSOR_WINDOW; i++)
                assert_int_equal(tg_cursor_settled(a, i), settled[i]);
        }
    }
}

/* What was saved is there after a restart; what was not saved is not. */
static void test_saved(void **state)
{
    struct test *t = *state;
    assert_true(tg_cursors_fresh(t->c));
    struct tg_cursor *a = add(t, "a", 1), *b = add(t, "b b\xc3\xa9", 100);
    tg_cursor_settle(a, 1);
    tg_cursor_settle(a, 3);
    tg_cursor_settle(b, 8000);
    tg_cursor_set_removed_at(b, 12345);
    assert_int_equal(save(t), TG_OK);
    tg_cursor_settle(a, 2);
    open_cursors(t);
    assert_false(tg_cursors_fresh(t->c));
    a = find(t, "a");
    b = find(t, "b b\xc3\xa9");
    assert_int_equal(tg_cursor_low(a), 2);
    assert_true(tg_cursor_settled(a, 3));
    assert_int_equal(tg_cursor_low(b), 100);
    assert_true(tg_cursor_settled(b, 8000));
    assert_int_equal(tg_cursor_removed_at(b), 12345);
    assert_int_equal(tg_cursor_removed_at(a), 0);
    assert_int_equal(tg_cursors_highest(t->c), 8001);
    tg_cursors_remove(t->c, a);
    assert_null(tg_cursors_find(t->c, "a"));
    assert_int_equal(tg_cursors_save_now(t->c, &t->f.err), TG_OK);
    open_cursors(t);
    assert_null(tg_cursors_find(t->c, "a"));
    add(t, "c", 1);
}

/* The saved low follows saves, not settling; the least of all counts; without a cursor nothing holds segments
 * back. */
static void test_saved_low(void **state)
{
    struct test *t = *state;
    assert_true(tg_cursors_saved_low(t->c) == UINT64_MAX);
    struct tg_cursor *a = add(t, "a", 5), *b = add(t, "b", 7);
    assert_int_equal(tg_cursors_saved_low(t->c), 5);
    tg_cursor_settle(a, 5);
    assert_int_equal(tg_cursors_saved_low(t->c), 5);
    assert_int_equal(save(t), TG_OK);
    assert_int_equal(tg_cursors_saved_low(t->c), 6);
    tg_cursor_settle_below(a, 100);
    struct status s = {0};
    tg_cursors_save(t->c, on_saved, &s);
    tg_cursor_settle_below(b, 50); /* while the save is under way: not part of it */
    tg_helper_drain(t->f.helper);
    assert_int_equal(tg_cursors_saved_low(t->c), 7);
    assert_int_equal(save(t), TG_OK);
    assert_int_equal(tg_cursors_saved_low(t->c), 50);
}

/* Saves asked for during a save are answered by it when nothing changed, else together by the next one. */
static void test_coalesced(void **state)
{
    struct test *t = *state;
    struct status s[4] = {{0}};
    struct tg_cursor *a = add(t, "a", 1);
    assert_int_equal(save(t), TG_OK);
    long before = tg_io_faulty_calls(&t->io, FAULTY_SYNC);
    tg_cursor_settle(a, 1);
    tg_cursors_save(t->c, on_saved, &s[0]);
    tg_cursors_save(t->c, on_saved, &s[1]);
    tg_cursor_settle(a, 2);
    tg_cursors_save(t->c, on_saved, &s[2]);
    tg_cursors_save(t->c, on_saved, &s[3]);
    tg_cursors_save(t->c, NULL, NULL);
    tg_helper_drain(t->f.helper);
    for (int i = 0; i < 4; i++)
        assert_true(s[i].n == 1 && s[i].last == TG_OK);
    assert_int_equal(tg_io_faulty_calls(&t->io, FAULTY_SYNC), before + 2);
    assert_int_equal(save(t), TG_OK); /* nothing changed: nothing written */
    assert_int_equal(tg_io_faulty_calls(&t->io, FAULTY_SYNC), before + 2);
    open_cursors(t);
    assert_int_equal(tg_cursor_low(find(t, "a")), 3);
}

/* Hundreds of destinations with full windows: the file grows, then every further save fits, even with the
 * disk full. */
static void test_growth(void **state)
{
    struct test *t = *state;
    char name[32];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "destination-%d", i);
        add(t, name, 1000);
        if (i % 60 == 0)
            assert_int_equal(save(t), TG_OK);
    }
    assert_int_equal(save(t), TG_OK);
    tg_io_faulty_full(&t->io, true);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "destination-%d", i);
        tg_cursor_settle(find(t, name), 1000 + TG_CURSOR_WINDOW - 1);
    }
    assert_int_equal(save(t), TG_OK);
    open_cursors(t);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "destination-%d", i);
        assert_true(tg_cursor_settled(find(t, name), 1000 + TG_CURSOR_WINDOW - 1));
        assert_int_equal(tg_cursor_low(find(t, name)), 1000);
    }
}

static void flip(struct test *t, off_t at)
{
    char path[256];
    unsigned char byte;
    (void)snprintf(path, sizeof path, "%s/cursors", t->f.dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Any bit of the newer slot may flip: the older state is found. With both damaged, opening says what to do.
 */
static void test_bit_flips(void **state)
{
    struct test *t = *state;
    struct tg_cursor *a = add(t, "a", 1);
    assert_int_equal(save(t), TG_OK); /* slot 0: low 1 */
    tg_cursor_settle(a, 1);
    assert_int_equal(save(t), TG_OK); /* slot 1: low 2 */
    enum { SLOT = 16 << 10, USED = 40 + 24 + 1 };
    for (int i = 0; i < USED; i++) {
        flip(t, SLOT + i);
        open_cursors(t);
        assert_int_equal(tg_cursor_low(find(t, "a")), 1);
        flip(t, SLOT + i);
        flip(t, i);
        open_cursors(t);
        assert_int_equal(tg_cursor_low(find(t, "a")), 2);
        flip(t, i);
    }
    flip(t, 20);
    flip(t, SLOT + 20);
    tg_cursors_close(&t->c);
    assert_int_equal(tg_cursors_open(&t->io.io, t->f.dir, t->f.helper, &t->c, &t->f.err), TG_CORRUPT);
    assert_non_null(strstr(t->f.err.msg, "move the file away"));
    assert_null(t->c);
}

/* A failed save is told, counts for nothing, leaves the last good state, and the next one succeeds. */
static void test_failed_save(void **state)
{
    struct test *t = *state;
    struct tg_cursor *a = add(t, "a", 1);
    assert_int_equal(save(t), TG_OK);
    const struct {
        enum faulty_call call;
        int error, status;
    } faults[] = {{FAULTY_PWRITE, EIO, TG_IO},
                  {FAULTY_SYNC, EIO, TG_IO},
                  {FAULTY_SYNC, ENOSPC, TG_FULL},
                  {FAULTY_PWRITE, ENOSPC, TG_FULL}};
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint64_t low = tg_cursor_low(a);
        tg_io_faulty_set(&t->io, faults[i].call, 1, true, faults[i].error);
        for (int n = 0; n < 3; n++) { /* again and again: the good slot must survive all of them */
            tg_cursor_settle(a, seq++);
            assert_int_equal(save(t), faults[i].status);
            assert_int_equal(tg_cursors_saved_low(t->c), low);
        }
        tg_io_faulty_set(&t->io, faults[i].call, 0, false, 0);
        open_cursors(t);
        a = find(t, "a");
        seq = tg_cursor_low(a);
        assert_true(seq == low || seq > low); /* a failed sync may have reached the disk all the same */
        tg_cursor_settle(a, seq++);
        assert_int_equal(save(t), TG_OK);
        assert_int_equal(tg_cursors_saved_low(t->c), seq);
    }
    t->io.most = 7; /* short writes are continued */
    tg_cursor_settle(a, seq);
    assert_int_equal(save(t), TG_OK);
    open_cursors(t);
    assert_int_equal(tg_cursor_low(find(t, "a")), seq + 1);
}

/* Growth may fail at each of its steps: the old file stays and a later save succeeds. */
static void test_failed_growth(void **state)
{
    struct test *t = *state;
    char name[32];
    int n = 0;
    const enum faulty_call calls[] = {FAULTY_OPEN, FAULTY_ALLOC,  FAULTY_TRUNCATE, FAULTY_PWRITE,
                                      FAULTY_SYNC, FAULTY_RENAME, FAULTY_SYNC_DIR};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s/cursors", t->f.dir);
        (void)unlink(path);
        open_cursors(t);
        add(t, "first", 77);
        assert_int_equal(save(t), TG_OK);
        for (int k = 0; k < 40; k++) {
            (void)snprintf(name, sizeof name, "d%d", n++);
            add(t, name, 1);
        }
        tg_io_faulty_set(&t->io, calls[i], 1, false, EIO);
        assert_int_equal(save(t), TG_IO);
        assert_int_equal(tg_io_faulty_calls(&t->io, calls[i]) > 0, 1);
        struct tg_cursors *kept = t->c;
        t->c = NULL;
        open_cursors(t);
        assert_int_equal(tg_cursor_low(find(t, "first")), 77);
        tg_cursors_close(&t->c);
        t->c = kept;
        assert_int_equal(save(t), TG_OK);
        open_cursors(t);
        assert_non_null(tg_cursors_find(t->c, name));
    }
}

/* A slot of a newer format is refused, not misread. */
static void test_newer(void **state)
{
    struct test *t = *state;
    add(t, "a", 1);
    assert_int_equal(save(t), TG_OK);
    char path[256];
    unsigned char slot[40 + 24 + 1];
    (void)snprintf(path, sizeof path, "%s/cursors", t->f.dir);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, slot, sizeof slot, 0), sizeof slot);
    slot[12] = 2;
    uint32_t crc = tg_crc32c(0, slot + 12, sizeof slot - 12);
    for (int i = 0; i < 4; i++)
        slot[8 + i] = (unsigned char)(crc >> 8 * i);
    assert_int_equal(pwrite(fd, slot, sizeof slot, 0), sizeof slot);
    close(fd);
    tg_cursors_close(&t->c);
    assert_int_equal(tg_cursors_open(&t->io.io, t->f.dir, t->f.helper, &t->c, &t->f.err), TG_BADVERSION);
}

/* Names that cannot be stored are refused. */
static void test_names(void **state)
{
    struct test *t = *state;
    struct tg_cursor *cursor;
    char name[300];
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    assert_int_equal(tg_cursors_add(t->c, name, 1, &cursor, &t->f.err), TG_INVALID);
    name[255] = '\0';
    assert_int_equal(tg_cursors_add(t->c, name, 1, &cursor, &t->f.err), TG_OK);
    assert_int_equal(tg_cursors_add(t->c, name, 1, &cursor, &t->f.err), TG_EXISTS);
    assert_int_equal(tg_cursors_add(t->c, "", 1, &cursor, &t->f.err), TG_INVALID);
    assert_int_equal(save(t), TG_OK);
    open_cursors(t);
    assert_non_null(tg_cursors_find(t->c, name));
}

/* Every allocation may fail; the state on disk stays a state that was saved. */
static void test_torture(void **state)
{
    struct test *t = *state;
    struct tg_cursor *a = add(t, "a", 1), *b;
    assert_int_equal(save(t), TG_OK);
    uint64_t on_disk = 1;
    for (long n = 1, refused = 1; refused; n++) {
        struct status s = {0};
        tg_cursors_close(&t->c);
        tg_mem_fail_after(n);
        int rc = tg_cursors_open(&t->io.io, t->f.dir, t->f.helper, &t->c, &t->f.err);
        if (rc == TG_OK) {
            a = find(t, "a");
            assert_int_equal(tg_cursor_low(a), on_disk);
            tg_cursor_settle(a, on_disk);
            if (tg_cursors_add(t->c, "b", 9, &b, &t->f.err) == TG_OK)
                tg_cursors_remove(t->c, b);
            tg_cursors_save(t->c, on_saved, &s);
            tg_helper_drain(t->f.helper);
            assert_int_equal(s.n, 1);
            on_disk += s.last == TG_OK;
        }
        refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_true(n < 100);
    }
    open_cursors(t);
    assert_int_equal(tg_cursor_low(find(t, "a")), on_disk);
}

/* What is settled above low is counted until low reaches it. */
static void test_settled_above(void **state)
{
    struct test *t = *state;
    struct tg_cursor *cursor = add(t, "x", 10);
    tg_cursor_settle(cursor, 11);
    tg_cursor_settle(cursor, 13);
    tg_cursor_settle(cursor, 13);
    assert_int_equal(tg_cursor_settled_above(cursor), 2);
    tg_cursor_settle(cursor, 10);
    assert_int_equal(tg_cursor_low(cursor), 12);
    assert_int_equal(tg_cursor_settled_above(cursor), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settled_above, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_saved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_saved_low, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_coalesced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_growth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bit_flips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_save, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_growth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torture, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cursors", tests, NULL, NULL);
}
