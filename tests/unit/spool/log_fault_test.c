#include "faulty_io.h"
#include "spool_fixture.h"

#include <sys/stat.h>

struct test {
    struct fixture f;
    struct tg_io_faulty io;
};

static int set_up(void **state)
{
    struct test *t = calloc(1, sizeof *t);
    fixture_init(&t->f, tg_io_faulty_init(&t->io));
    open_log(&t->f);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < FAULTY_CALLS; i++)
        tg_io_faulty_set(&t->io, i, 0, false, 0);
    tg_io_faulty_full(&t->io, false);
    fixture_fini(&t->f);
    free(t);
    return 0;
}

static bool reserve_there(struct test *t)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/reserve", t->f.dir);
    return access(path, F_OK) == 0;
}

/* Runs the loop until appends are taken, or for a minute. */
static bool wait_until_open(struct test *t)
{
    int64_t deadline = tg_mono_ms() + 60000;
    while (tg_log_can_append(t->f.log, 100, NULL) != TG_OK && tg_mono_ms() < deadline) {
        struct timeval step = {0, 50000};
        (void)event_base_loopexit(t->f.base, &step);
        (void)event_base_dispatch(t->f.base);
        tg_helper_drain(t->f.helper);
    }
    return tg_log_can_append(t->f.log, 100, NULL) == TG_OK;
}

/* Writes that take a few bytes at a time are continued. */
static void test_short_writes(void **state)
{
    struct test *t = *state;
    t->io.most = 7;
    append_synced(&t->f, 0, 10, 500);
    t->io.most = 0;
    reopen_log(&t->f);
    assert_int_equal(t->f.found.records, 10);
    assert_int_equal(t->f.found.damaged, 0);
}

/* What was read of a last segment that cannot be synced may not be on disk: that is said, and everything is
 * read. */
static void test_recovered_but_not_synced(void **state)
{
    struct test *t = *state;
    append_synced(&t->f, 0, 3, 100);
    tg_log_close(&t->f.log);
    tg_io_faulty_set(&t->io, FAULTY_SYNC, 1, false, EIO);
    open_log(&t->f);
    assert_true(t->f.found.unsynced);
    assert_int_equal(t->f.found.records, 3);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 10), 3);
    reopen_log(&t->f);
    assert_false(t->f.found.unsynced);
    assert_int_equal(t->f.found.records, 3);
}

/* What a failed write or sync covered is refused with TG_IO, is never read, is not there after a restart, and
 * does not take its number back; what was acknowledged before stays, and the next append goes to a new
 * segment. */
static void fail_commit(struct test *t, enum faulty_call call, int error, int status)
{
    struct answers a = {0};
    append_synced(&t->f, 0, 3, 100);
    tg_io_faulty_set(&t->io, call, 1, false, error);
    assert_int_equal(append_one(&t->f, 3, 100, &a), TG_OK);
    assert_int_equal(append_one(&t->f, 4, 100, &a), TG_OK);
    settle(&t->f);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.ok, 0);
    assert_int_equal(a.last, status);
    assert_non_null(strstr(a.why, ".seg"));
    assert_true(wait_until_open(t));
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 10), 3);
    append_synced(&t->f, 5, 2, 100);
    for (int again = 0; again < 2; again++) {
        uint64_t seqs[5];
        uint32_t which[5];
        assert_int_equal(read_all(&t->f, 0, which, seqs, 5), 5);
        assert_true(which[3] == 5 && which[4] == 6);
        assert_true(seqs[3] == 6 && seqs[4] == 7);
        reopen_log(&t->f);
        assert_int_equal(t->f.found.damaged, 0);
        assert_int_equal(t->f.found.segments, 2);
    }
}

static void test_write_fails(void **state)
{
    fail_commit(*state, FAULTY_PWRITE, EIO, TG_IO);
}

static void test_sync_fails(void **state)
{
    fail_commit(*state, FAULTY_SYNC, EIO, TG_IO);
}

static void test_write_finds_no_space(void **state)
{
    fail_commit(*state, FAULTY_PWRITE, ENOSPC, TG_FULL);
}

/* As above when not even the cut of the refused bytes works: the next segment's header says what was
 * acknowledged. */
static void test_sync_and_cut_fail(void **state)
{
    struct test *t = *state;
    tg_io_faulty_set(&t->io, FAULTY_TRUNCATE, 1, true, EIO);
    fail_commit(t, FAULTY_SYNC, EIO, TG_IO);
}

/* The segment that failed is not synced again. */
static void test_sync_is_not_retried(void **state)
{
    struct test *t = *state;
    struct answers a = {0};
    append_synced(&t->f, 0, 1, 100);
    tg_io_faulty_set(&t->io, FAULTY_SYNC, 1, true, EIO);
    for (size_t i = 1; i < 5; i++) {
        int rc = append_one(&t->f, i, 100, &a);
        assert_true(rc == TG_OK || rc == TG_IO);
        settle(&t->f);
    }
    assert_int_equal(a.ok, 0);
    assert_int_equal(tg_log_can_append(t->f.log, 100, NULL), TG_IO);
    tg_io_faulty_set(&t->io, FAULTY_SYNC, 0, false, 0);
    assert_true(wait_until_open(t));
    append_synced(&t->f, 9, 1, 100);
    reopen_log(&t->f);
    uint32_t which[2];
    assert_int_equal(read_all(&t->f, 0, which, NULL, 2), 2);
    assert_true(which[0] == 0 && which[1] == 9);
}

/* With the disk full the reserve is freed for others, appends are refused at once, reading and releasing go
 * on; when there is space again, the reserve is back before an append is taken. */
static void test_disk_full(void **state)
{
    struct test *t = *state;
    struct answers a = {0};
    const char *why;
    size_t n = 0;
    assert_true(reserve_there(t));
    tg_io_faulty_full(&t->io, true);
    while (append_one(&t->f, n, 3000, &a) == TG_OK) {
        n++;
        settle(&t->f);
        assert_true(n < 1000);
    }
    assert_int_equal(t->f.err.code, TG_FULL);
    assert_false(reserve_there(t));
    assert_int_equal(tg_log_can_append(t->f.log, 1, &why), TG_FULL);
    assert_non_null(strstr(why, "No space left"));
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 1000), a.ok);
    assert_true(a.ok >= 1);
    tg_log_release(t->f.log, a.ok + 1);
    settle(&t->f);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 1000),
                     0); /* even the last segment went: it could not be written on */
    assert_int_equal(tg_log_can_append(t->f.log, 1, &why), TG_FULL);
    tg_io_faulty_full(&t->io, false);
    assert_true(wait_until_open(t));
    assert_true(reserve_there(t));
    append_synced(&t->f, n, 1, 3000);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 1), 1);
}

/* A log on a full disk opens, so that it can drain, and takes appends when there is space. */
static void test_open_on_full_disk(void **state)
{
    struct test *t = *state;
    append_synced(&t->f, 0, 5, 100);
    tg_io_faulty_full(&t->io, true);
    reopen_log(&t->f);
    assert_int_equal(tg_log_can_append(t->f.log, 1, NULL), TG_FULL);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 5), 5);
    tg_io_faulty_full(&t->io, false);
    assert_true(wait_until_open(t));
    append_synced(&t->f, 5, 1, 100);
}

/* Somebody else met the full disk: the reserve goes at once and comes back before appends are taken. */
static void test_free_reserve(void **state)
{
    struct test *t = *state;
    tg_io_faulty_full(&t->io,
                      true); /* so it is, and no probe brings the reserve back before we have looked */
    tg_log_free_reserve(t->f.log);
    tg_log_free_reserve(t->f.log);
    assert_int_equal(tg_log_can_append(t->f.log, 1, NULL), TG_FULL);
    settle(&t->f);
    assert_false(reserve_there(t));
    tg_io_faulty_full(&t->io, false);
    assert_true(wait_until_open(t));
    assert_true(reserve_there(t));
    append_synced(&t->f, 0, 1, 100);
}

/* A file system without fallocate will do. */
static void test_no_fallocate(void **state)
{
    struct test *t = *state;
    tg_io_faulty_set(&t->io, FAULTY_ALLOC, 1, true, EOPNOTSUPP);
    reopen_log(&t->f);
    append_synced(&t->f, 0, 60, 3000);
    reopen_log(&t->f);
    assert_int_equal(t->f.found.records, 60);
}

/* Bytes that the device cannot read cost the records in them; nothing is cut because of them. */
static void test_unreadable(void **state)
{
    struct test *t = *state;
    append_synced(&t->f, 0, 10, 100);
    tg_io_faulty_set(&t->io, FAULTY_PREAD, 1, true, EIO);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 10), 0);
    reopen_log(&t->f);
    assert_int_equal(t->f.found.records, 0);
    assert_true(t->f.found.damaged > 0);
    append_synced(&t->f, 10, 1, 100);
    assert_true(tg_log_last(t->f.log) > 10);
    tg_io_faulty_set(&t->io, FAULTY_PREAD, 0, false, 0);
    reopen_log(&t->f); /* the device reads again */
    assert_int_equal(t->f.found.damaged, 0);
    assert_int_equal(read_all(&t->f, 0, NULL, NULL, 20), 11);
}

/* One workload, run again with each of its system calls failing in turn: what was acknowledged is read, in
 * this run and after a restart, what was refused is read in neither, and no number is used twice. */
static void run_with_fault(enum faulty_call call, long nth, int error, bool *hit)
{
    struct test *t;
    void *state;
    bool acked[64] = {false};
    uint64_t seqs[64];
    uint32_t which[64];
    set_up(&state);
    t = state;
    long before = tg_io_faulty_calls(&t->io, call);
    tg_io_faulty_set(&t->io, call, nth, false, error);
    for (size_t i = 0; i < 60; i++) {
        struct answers a = {0};
        if (i == 50)
            tg_log_release(t->f.log, 20);
        int rc = append_one(&t->f, i, 3000, &a);
        settle(&t->f);
        assert_int_equal(a.n, rc == TG_OK);
        acked[i] = a.ok;
        if (!a.ok)
            assert_true(wait_until_open(t));
    }
    *hit = tg_io_faulty_calls(&t->io, call) - before >= nth;
    tg_io_faulty_set(&t->io, call, 0, false, 0);
    for (int again = 0; again < 2; again++) {
        size_t n = read_all(&t->f, 20, which, seqs, 64), k = 0;
        for (size_t i = 0; i < 60; i++) {
            while (k < n && which[k] < i)
                k++;
            bool found = k < n && which[k] == i;
            assert_true(found == acked[i] || (i < 21 && !found));
        }
        for (size_t i = 1; i < n; i++)
            assert_true(seqs[i] > seqs[i - 1]);
        reopen_log(&t->f);
        assert_int_equal(t->f.found.damaged, 0);
    }
    tear_down(&state);
}

static void test_each_call_fails(void **state)
{
    (void)state;
    const enum faulty_call calls[] = {FAULTY_PWRITE, FAULTY_SYNC,   FAULTY_ALLOC,   FAULTY_TRUNCATE,
                                      FAULTY_RENAME, FAULTY_UNLINK, FAULTY_SYNC_DIR};
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        bool hit = true;
        for (long nth = 1; hit; nth += nth < 8 ? 1 : 7)
            run_with_fault(calls[c], nth, EIO, &hit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_short_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_finds_no_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_and_cut_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sync_is_not_retried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recovered_but_not_synced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_disk_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_open_on_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_free_reserve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_fallocate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
        cmocka_unit_test(test_each_call_fails),
    };
    return cmocka_run_group_tests_name("log faults", tests, NULL, NULL);
}
