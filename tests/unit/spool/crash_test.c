/* The power fails at every step of a small history, and after each failure the disk may hold any subset of
 * what was not synced. Whatever it holds, the promise is kept: an event that was acknowledged, and that no
 * saved cursor has settled, is read after the restart. */
#include "mem_io.h"
#include "spool/cursors.h"
#include "spool_fixture.h"

enum { EVENTS = 14, MOST_IMAGES = 200 };

/* What the world was told before the power failed. */
struct told {
    uint64_t seq[EVENTS]; /* 0: not acknowledged */
    bool settled[EVENTS]; /* asked for; whether it was saved is the disk's to say */
    uint64_t saved_low;   /* as a successful save reported */
};

struct test {
    struct fixture f;
    struct tg_cursors *c;
    struct tg_cursor *d;
    struct told told;
};

/* One loop and helper thread for all the starts. */
static struct fixture shared;

static void start(struct test *t, struct tg_io_mem *m)
{
    t->f = shared;
    t->f.o.io = &m->io;
    t->f.o.dir = "/p0"; /* a folder of the disk in memory */
    t->f.o.segment_bytes = 700;
    t->f.o.max_bytes = 6000;
    t->f.o.reserve_bytes = 256;
}

static void stop(struct test *t)
{
    tg_log_close(&t->f.log);
    tg_cursors_close(&t->c);
}

static int open_both(struct test *t)
{
    int rc = tg_cursors_open(t->f.o.io, t->f.o.dir, t->f.helper, &t->c, &t->f.err);
    if (rc)
        return rc;
    t->f.o.least_next_seq = tg_cursors_highest(t->c);
    return tg_log_open(&t->f.o, &t->f.log, &t->f.found, &t->f.err);
}

/* Appends events i to j - 1 in one commit. */
static void append(struct test *t, size_t i, size_t j)
{
    struct answers a[EVENTS] = {{0}};
    bool taken[EVENTS] = {false};
    for (size_t k = i; k < j; k++)
        taken[k] = append_one(&t->f, k, 60 + 13 * k, &a[k]) == TG_OK;
    settle(&t->f);
    for (size_t k = i; k < j; k++)
        t->told.seq[k] = taken[k] && a[k].ok ? a[k].first_seq : 0;
}

static void settle_event(struct test *t, size_t i)
{
    if (!t->told.seq[i])
        return;
    t->told.settled[i] = true;
    tg_cursor_settle(t->d, t->told.seq[i]);
}

static void save_and_release(struct test *t)
{
    tg_cursors_save(t->c, NULL, NULL);
    settle(&t->f);
    t->told.saved_low = tg_cursors_saved_low(t->c);
    tg_log_release(t->f.log, t->told.saved_low);
    settle(&t->f);
}

static bool power_is_off(struct test *t)
{
    const struct tg_io_mem *m = (const struct tg_io_mem *)t->f.o.io;
    return m->crash_at && m->steps >= m->crash_at;
}

static void history(struct test *t)
{
    if (open_both(t) != TG_OK)
        return;
    if (tg_cursors_add(t->c, "d", 1, &t->d, &t->f.err) != TG_OK ||
        tg_cursors_save_now(t->c, &t->f.err) != TG_OK)
        return;
    append(t, 0, 1);
    append(t, 1, 3);
    settle_event(t, 0);
    settle_event(t, 2);
    save_and_release(t);
    append(t, 3, 5);
    append(t, 5, 6); /* a second segment by now */
    settle_event(t, 1);
    settle_event(t, 3);
    save_and_release(t);
    append(t, 6, 8);
    for (size_t i = 4; i < 7; i++)
        settle_event(t, i);
    save_and_release(t); /* the first segment goes */
    append(t, 8, 9);
    if (power_is_off(t))
        return;
    tg_log_close(&t->f.log);
    tg_cursors_close(&t->c);
    if (open_both(t) != TG_OK || !(t->d = tg_cursors_find(t->c, "d"))) /* an ordinary restart */
        return;
    append(t, 9, 11);
    settle_event(t, 7);
    settle_event(t, 8);
    save_and_release(t);
    append(t, 11, 14);
    settle_event(t, 9);
    save_and_release(t);
}

/* Which events the log returns; each at most once, unchanged. */
static void read_back(struct test *t, bool there[EVENTS])
{
    struct tg_log_reader *r;
    struct tg_record rec;
    int rc;
    memset(there, 0, EVENTS * sizeof *there);
    uint64_t last = 0;
    assert_int_equal(tg_log_reader_open(t->f.log, 0, &r, &t->f.err), TG_OK);
    while ((rc = tg_log_reader_next(r, &rec, &t->f.err)) == 1) {
        assert_true(rec.flags < EVENTS && !there[rec.flags] && rec.seq > last);
        assert_is_record(&rec, rec.flags, 60 + 13 * (size_t)rec.flags);
        there[rec.flags] = true;
        last = rec.seq;
    }
    assert_int_equal(rc, 0);
    tg_log_reader_close(&r);
}

static void check_promise(const struct told *told, struct test *after)
{
    bool there[EVENTS];
    const struct tg_cursor *d = tg_cursors_find(after->c, "d");
    read_back(after, there);
    if (told->saved_low)
        assert_non_null(d);
    if (d)
        assert_true(tg_cursor_low(d) >= told->saved_low);
    for (size_t i = 0; i < EVENTS; i++) {
        bool settled = told->seq[i] && d && tg_cursor_settled(d, told->seq[i]);
        assert_true(!settled || told->settled[i]); /* nothing is settled that nobody settled */
        assert_true(!told->seq[i] || settled || there[i]);
    }
}

/* Starts on a disk as the failure left it, checks, and goes on working: a new event, another failure at once.
 */
static void check_image(const struct told *told, struct tg_io_mem *m, bool twice)
{
    struct test *after = calloc(1, sizeof *after);
    start(after, m);
    int rc = open_both(after);
    if (rc)
        fail_msg("%s", after->f.err.msg);
    check_promise(told, after);
    uint64_t highest = 0;
    for (size_t i = 0; i < EVENTS; i++)
        highest = told->seq[i] > highest ? told->seq[i] : highest;
    if (twice) {
        struct answers a = {0};
        struct tg_record r = {.flags = EVENTS};
        assert_int_equal(tg_log_append(after->f.log, &r, 1, on_answer, &a, &after->f.err), TG_OK);
        settle(&after->f);
        assert_int_equal(a.ok, 1);
        assert_true(a.first_seq > highest);
        tg_log_release(after->f.log, 0);
    }
    stop(after);
    free(after);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 20 ^ *state << 30;
}

/* The start itself may be cut off at each of its steps, with nothing or all of what it did on disk. */
static size_t check_interrupted(const struct told *told, const struct tg_io_mem *m, uint64_t mask,
                                size_t renames)
{
    size_t checked = 0;
    bool crashed = true;
    for (long at = 1; crashed; at++) {
        struct test *t = calloc(1, sizeof *t);
        struct tg_io_mem *disk = tg_io_mem_reboot(m, mask, renames);
        disk->crash_at = at;
        start(t, disk);
        (void)open_both(t);
        crashed = power_is_off(t);
        stop(t);
        free(t);
        for (int all = 0; all < 2; all++, checked++) {
            struct tg_io_mem *again = tg_io_mem_reboot(disk, all ? UINT64_MAX : 0, all ? disk->n_renames : 0);
            check_image(told, again, true);
            tg_io_mem_free(again);
        }
        tg_io_mem_free(disk);
    }
    return checked;
}

/* Every subset while they are few, else the two extremes and a sample. */
static size_t check_images(struct test *t, struct tg_io_mem *m, uint64_t *random)
{
    size_t n = m->n_changes, images = n < 7 ? (size_t)1 << n : MOST_IMAGES / (m->n_renames + 1) + 2,
           checked = 0;
    for (size_t renames = 0; renames <= m->n_renames; renames++) {
        for (size_t i = 0; i < images; i++) {
            uint64_t mask = n < 7 ? i : i == 0 ? 0 : i == 1 ? UINT64_MAX : next_random(random);
            struct tg_io_mem *disk = tg_io_mem_reboot(m, mask, renames);
            check_image(&t->told, disk, i % 4 == 0);
            tg_io_mem_free(disk);
            checked++;
            if (i < 2)
                checked += check_interrupted(&t->told, m, mask, renames);
        }
    }
    return checked;
}

/* The promise, at every step. */
static void test_every_step(void **state)
{
    (void)state;
    uint64_t random = 42;
    fixture_init(&shared, NULL);
    size_t checked = 0;
    bool crashed = true;
    for (long at = 1; crashed; at++) {
        struct test *t = calloc(1, sizeof *t);
        struct tg_io_mem *m = tg_io_mem_new();
        m->crash_at = at;
        start(t, m);
        history(t);
        crashed = m->steps >= at;
        if (!crashed)
            for (size_t i = 0; i < EVENTS; i++)
                assert_true(t->told.seq[i] > 0); /* undisturbed, everything is acknowledged */
        stop(t);
        checked += check_images(t, m, &random);
        free(t);
        tg_io_mem_free(m);
    }
    assert_true(checked > 1000);
    fixture_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step),
    };
    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
