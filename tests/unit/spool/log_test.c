#include "faulty_io.h"
#include "spool_fixture.h"

static int set_up(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    fixture_init(f, tg_io_system());
    open_log(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

/* A new log is empty and takes events. */
static void test_new(void **state)
{
    struct fixture *f = *state;
    const char *why;
    assert_int_equal(tg_log_first(f->log), tg_log_last(f->log) + 1);
    assert_int_equal(tg_log_can_append(f->log, 1000, &why), TG_OK);
    assert_int_equal(read_all(f, 0, NULL, NULL, 0), 0);
    assert_int_equal(f->found.segments, 0);
}

/* Records come back as they went in, numbered from 1, at once and after a restart. */
static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    append_synced(f, 0, 20, 100);
    for (int again = 0; again < 2; again++) {
        struct tg_log_reader *r;
        struct tg_record rec;
        assert_int_equal(tg_log_reader_open(f->log, 0, &r, &f->err), TG_OK);
        for (size_t i = 0; i < 20; i++) {
            assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
            assert_int_equal(rec.seq, i + 1);
            assert_is_record(&rec, i, 100);
        }
        assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 0);
        assert_int_equal(tg_log_reader_at(r), 21);
        tg_log_reader_close(&r);
        reopen_log(f);
        assert_int_equal(f->found.records, 20);
        assert_int_equal(f->found.damaged, 0);
        assert_int_equal(f->found.torn_bytes, 0);
        assert_int_equal(f->found.last_seq, 20);
    }
}

/* A record cannot be read, and its callback does not come, before its sync has returned. */
static void test_only_synced(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    assert_int_equal(append_one(f, 0, 10, &a), TG_OK);
    assert_int_equal(a.n, 0);
    assert_int_equal(tg_log_last(f->log), 0);
    assert_int_equal(read_all(f, 0, NULL, NULL, 0), 0);
    settle(f);
    assert_int_equal(a.n, 1);
    assert_int_equal(tg_log_last(f->log), 1);
    assert_int_equal(read_all(f, 0, NULL, NULL, 1), 1);
}

/* What is appended in one turn of the loop goes to disk together; each append has its own callback and
 * number. */
static void test_grouped(void **state)
{
    struct fixture *f = *state;
    struct answers a[3] = {{0}};
    uint64_t seqs[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(append_one(f, i, 10, &a[i]), TG_OK);
    settle(f);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(a[i].ok, 1);
        assert_int_equal(a[i].first_seq, i + 1);
    }
    assert_int_equal(read_all(f, 0, NULL, seqs, 3), 3);
}

/* A batch is numbered without gaps, spans segments with its neighbours, and is read across them in order. */
static void test_many_segments(void **state)
{
    struct fixture *f = *state;
    static char bufs[10][32 + 3000];
    struct tg_record batch[10];
    struct answers a = {0};
    for (size_t i = 0; i < 10; i++)
        batch[i] = make_record(bufs[i], i, 3000);
    for (int n = 0; n < 20; n++) {
        assert_int_equal(tg_log_append(f->log, batch, 10, on_answer, &a, &f->err), TG_OK);
        settle(f);
    }
    assert_int_equal(a.ok, 20);
    assert_int_equal(a.first_seq, 191);
    uint64_t seqs[200];
    for (int again = 0; again < 2; again++) {
        assert_int_equal(read_all(f, 0, NULL, seqs, 200), 200);
        for (size_t i = 0; i < 200; i++)
            assert_int_equal(seqs[i], i + 1);
        assert_int_equal(read_all(f, 150, NULL, seqs, 200), 51);
        assert_int_equal(seqs[0], 150);
        reopen_log(f);
        assert_true(f->found.segments > 5);
    }
}

/* Numbering goes on above what was stored and above what cursors and retry rows know. */
static void test_numbering(void **state)
{
    struct fixture *f = *state;
    append_synced(f, 0, 3, 10);
    reopen_log(f);
    append_synced(f, 3, 1, 10);
    assert_int_equal(tg_log_last(f->log), 4);
    f->o.least_next_seq = 1000;
    reopen_log(f);
    append_synced(f, 4, 1, 10);
    assert_int_equal(tg_log_last(f->log), 1000);
    uint64_t seqs[5];
    assert_int_equal(read_all(f, 0, NULL, seqs, 5), 5);
    assert_int_equal(seqs[3], 4);
    assert_int_equal(seqs[4], 1000);
}

/* Whole segments beneath the released number go from disk, the one being written stays, and reading begins at
 * the first that is left. */
static void test_release(void **state)
{
    struct fixture *f = *state;
    append_synced(f, 0, 100, 3000);
    uint64_t before = tg_log_bytes(f->log);
    tg_log_release(f->log, 50);
    settle(f);
    assert_true(tg_log_first(f->log) > 1 && tg_log_first(f->log) <= 50);
    assert_true(tg_log_bytes(f->log) < before);
    uint64_t seqs[100], first = tg_log_first(f->log);
    size_t n = read_all(f, 0, NULL, seqs, 100);
    assert_int_equal(seqs[0], first);
    assert_int_equal(n, 101 - first);
    tg_log_release(f->log, 101);
    settle(f);
    reopen_log(f);
    assert_int_equal(f->found.segments, 1);
    assert_int_equal(f->found.last_seq, 100);
    tg_log_release(f->log, 101);
    settle(f);
    assert_int_equal(tg_log_first(f->log), tg_log_last(f->log) + 1);
    reopen_log(f);
    assert_int_equal(f->found.segments, 0);
}

/* A reader inside a segment that goes finds itself at the next one. */
static void test_release_under_reader(void **state)
{
    struct fixture *f = *state;
    struct tg_log_reader *r;
    struct tg_record rec;
    append_synced(f, 0, 100, 3000);
    assert_int_equal(tg_log_reader_open(f->log, 0, &r, &f->err), TG_OK);
    assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
    tg_log_release(f->log, 101);
    settle(f);
    assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
    assert_int_equal(rec.seq, tg_log_first(f->log));
    tg_log_reader_close(&r);
}

/* The open segment ends early when it holds what shall go; what is appended meanwhile is in the next. */
static void test_end_segment(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    append_synced(f, 0, 3, 100);
    tg_log_end_segment(f->log, 0);
    settle(f);
    tg_log_release(f->log, 4);
    settle(f);
    assert_int_equal(tg_log_first(f->log), 1);
    assert_int_equal(append_one(f, 3, 100, &a), TG_OK);
    tg_log_end_segment(f->log, 2);
    assert_int_equal(append_one(f, 4, 100, &a), TG_OK);
    settle(f);
    assert_int_equal(a.ok, 2);
    tg_log_release(f->log, 4);
    settle(f);
    assert_int_equal(tg_log_first(f->log), 4);
    uint64_t seqs[5];
    assert_int_equal(read_all(f, 0, NULL, seqs, 5), 2);
    tg_log_end_segment(f->log, 3); /* which has gone */
    append_synced(f, 5, 1, 100);
    reopen_log(f);
    assert_int_equal(f->found.segments, 1);
    assert_int_equal(f->found.records, 3);
    assert_int_equal(f->found.damaged, 0);
}

/* Nothing left: the next number is the one it was going to be. */
static void test_end_of_all(void **state)
{
    struct fixture *f = *state;
    append_synced(f, 0, 3, 100);
    tg_log_release(f->log, 4);
    tg_log_end_segment(f->log, 3);
    settle(f);
    assert_int_equal(tg_log_first(f->log), 4);
    append_synced(f, 3, 1, 100);
    assert_int_equal(tg_log_last(f->log), 4);
    assert_int_equal(read_all(f, 0, NULL, NULL, 1), 1);
}

/* Without room for another segment the open one stays: it takes what it still can. */
static void test_no_end_without_room(void **state)
{
    struct fixture *f = *state;
    f->o.max_bytes = f->o.segment_bytes + f->o.reserve_bytes + 1000;
    reopen_log(f);
    append_synced(f, 0, 1, 100);
    tg_log_end_segment(f->log, 1);
    settle(f);
    tg_log_release(f->log, 2);
    settle(f);
    assert_int_equal(tg_log_first(f->log), 1);
    append_synced(f, 1, 1, 100);
}

/* At the ceiling appends are refused at once; after a release they are taken again. */
static void test_ceiling(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    const char *why;
    size_t n = 0;
    int rc;
    while ((rc = append_one(f, n, 3000, &a)) == TG_OK) {
        n++;
        settle(f);
        assert_true(n < 1000);
    }
    assert_int_equal(rc, TG_FULL);
    assert_int_equal(a.ok, n);
    assert_true(n > 200);
    assert_true(tg_log_bytes(f->log) <= f->o.max_bytes);
    assert_int_equal(tg_log_can_append(f->log, 3000, &why), TG_FULL);
    assert_non_null(strstr(why, "max_bytes"));
    assert_int_equal(read_all(f, 0, NULL, NULL, 1000), n);
    tg_log_release(f->log, n + 1);
    settle(f);
    assert_int_equal(tg_log_can_append(f->log, 3000, &why), TG_OK);
    append_synced(f, n, 1, 3000);
    assert_int_equal(tg_log_last(f->log), n + 1);
}

/* What waits for the disk is bounded. */
static void test_pending(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    size_t n = 0;
    f->o.max_pending_bytes = 20000;
    reopen_log(f);
    while (n < 100 && append_one(f, n, 3000, &a) == TG_OK)
        n++;
    assert_int_equal(f->err.code, TG_BUSY);
    assert_int_equal(n, 6);
    settle(f);
    assert_int_equal(a.ok, 6);
    assert_int_equal(append_one(f, n, 3000, &a), TG_OK);
    settle(f);
    assert_int_equal(a.ok, 7);
}

/* A record or batch that can never fit is refused for good; one larger than a segment gets a segment of its
 * size. */
static void test_large(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    assert_int_equal(append_one(f, 1, 17 << 20, &a), TG_TOOBIG);
    assert_int_equal(append_one(f, 1, 2 << 20, &a), TG_TOOBIG);
    append_synced(f, 0, 1, 10);
    append_synced(f, 1, 1, 400 << 10);
    append_synced(f, 2, 1, 10);
    reopen_log(f);
    assert_int_equal(f->found.records, 3);
    struct tg_log_reader *r;
    struct tg_record rec;
    assert_int_equal(tg_log_reader_open(f->log, 2, &r, &f->err), TG_OK);
    assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
    assert_is_record(&rec, 1, 400 << 10);
    assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
    assert_is_record(&rec, 2, 10);
    tg_log_reader_close(&r);
}

/* Records of no bytes at all are records. */
static void test_empty_record(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    struct tg_record none = {.flags = 7}, got;
    assert_int_equal(tg_log_append(f->log, &none, 1, on_answer, &a, &f->err), TG_OK);
    settle(f);
    assert_int_equal(a.ok, 1);
    reopen_log(f);
    struct tg_log_reader *r;
    assert_int_equal(tg_log_reader_open(f->log, 0, &r, &f->err), TG_OK);
    assert_int_equal(tg_log_reader_next(r, &got, &f->err), 1);
    assert_int_equal(got.flags, 7);
    assert_int_equal(got.header.n + got.body.n, 0);
    tg_log_reader_close(&r);
}

/* Closing answers what has not been given to the disk, and takes nothing more. */
static void test_close(void **state)
{
    struct fixture *f = *state;
    struct answers a = {0};
    assert_int_equal(append_one(f, 0, 10, &a), TG_OK);
    tg_log_close(&f->log);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.last, TG_CLOSED);
    open_log(f);
    assert_int_equal(f->found.records, 0);
}

static void count_wake(void *arg)
{
    ++*(int *)arg;
}

/* The listener hears of each commit, after which a reader that had come to the end reads on. */
static void test_tail(void **state)
{
    struct fixture *f = *state;
    struct tg_log_reader *r;
    struct tg_record rec;
    int wakes = 0;
    tg_log_on_synced(f->log, count_wake, &wakes);
    assert_int_equal(tg_log_reader_open(f->log, 0, &r, &f->err), TG_OK);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 0);
        append_synced(f, i, 1, 2000);
        assert_int_equal(wakes, i + 1);
        assert_int_equal(tg_log_reader_next(r, &rec, &f->err), 1);
        assert_is_record(&rec, i, 2000);
    }
    tg_log_reader_close(&r);
}

/* Five readers at the head, each reading each record as it comes, read the file once, at the beginning: what
 * comes then they get from the writer. */
static void test_shared_reads(void **state)
{
    struct fixture *f = *state;
    struct tg_io_faulty io;
    struct tg_log_reader *r[5];
    struct tg_record rec;
    tg_log_close(&f->log);
    f->o.io = tg_io_faulty_init(&io);
    f->o.segment_bytes = 1 << 20;
    f->o.max_bytes = 8 << 20;
    open_log(f);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tg_log_reader_open(f->log, 0, &r[i], &f->err), TG_OK);
    long before = tg_io_faulty_calls(&io, FAULTY_PREAD);
    for (size_t n = 0; n < 300; n++) { /* beyond two blocks */
        append_synced(f, n, 1, 2000);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(tg_log_reader_next(r[i], &rec, &f->err), 1);
            assert_is_record(&rec, n, 2000);
        }
    }
    assert_int_equal(tg_io_faulty_calls(&io, FAULTY_PREAD) - before, 1);
    for (int i = 0; i < 5; i++)
        tg_log_reader_close(&r[i]);
    tg_log_close(&f->log);
    f->o.io = tg_io_system();
}

/* More readers than blocks, each elsewhere, over records that cross the blocks' borders: every one gets its
 * records. */
static void test_many_readers(void **state)
{
    enum { READERS = 20, N = 400, LEN = 20000 };
    struct fixture *f = *state;
    struct tg_log_reader *r[READERS];
    struct tg_record rec;
    f->o.segment_bytes = 3 << 20;
    f->o.max_bytes = 64 << 20;
    f->o.max_pending_bytes = 64 << 20;
    reopen_log(f);
    struct answers a = {0};
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(append_one(f, i, LEN, &a), TG_OK);
        if (i % 50 == 49)
            settle(f);
    }
    settle(f);
    assert_int_equal(a.ok, N);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(tg_log_reader_open(f->log, i * N / READERS + 1, &r[i], &f->err), TG_OK);
    for (size_t k = 0; k < N / READERS; k++) {
        for (size_t i = 0; i < READERS; i++) {
            assert_int_equal(tg_log_reader_next(r[i], &rec, &f->err), 1);
            assert_int_equal(rec.seq, i * N / READERS + 1 + k);
            assert_is_record(&rec, i * N / READERS + k, LEN);
        }
    }
    for (size_t i = 0; i < READERS; i++)
        tg_log_reader_close(&r[i]);
}

/* Backlog is told in bytes from any number on. */
static void test_bytes_from(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(tg_log_bytes_from(f->log, 0), 0);
    append_synced(f, 0, 100, 3000);
    uint64_t all = tg_log_bytes_from(f->log, 0), half = tg_log_bytes_from(f->log, 51);
    assert_in_range(all, 300000, 310000);
    assert_in_range(half, all * 45 / 100, all * 55 / 100);
    assert_int_equal(tg_log_bytes_from(f->log, 101), 0);
}

/* In the other two modes an append is answered after the write, and still comes back after a clean close. */
static void test_other_modes(void **state)
{
    struct fixture *f = *state;
    f->o.sync = TG_SYNC_NONE;
    reopen_log(f);
    append_synced(f, 0, 60, 3000);
    f->o.sync = TG_SYNC_INTERVAL;
    f->o.sync_interval_ms = 1;
    reopen_log(f);
    append_synced(f, 60, 60, 3000);
    reopen_log(f);
    assert_int_equal(f->found.records, 120);
    assert_int_equal(f->found.damaged, 0);
}

/* Every allocation that opening, appending or reading needs may fail: an error, no crash, and nothing that
 * was acknowledged is lost. */
static void test_torture(void **state)
{
    struct fixture *f = *state;
    append_synced(f, 0, 40, 3000);
    uint64_t stored = 40, first = 1;
    for (long n = 1, refused = 1; refused; n++) {
        struct answers a = {0};
        struct tg_log_reader *r = NULL;
        struct tg_record rec;
        tg_log_close(&f->log);
        tg_mem_fail_after(n);
        if (tg_log_open(&f->o, &f->log, NULL, &f->err) == TG_OK) {
            int rc = append_one(f, 0, 3000, &a);
            settle(f);
            assert_int_equal(a.n, rc == TG_OK);
            if (tg_log_reader_open(f->log, 0, &r, &f->err) == TG_OK)
                while (tg_log_reader_next(r, &rec, &f->err) == 1)
                    ;
            tg_log_reader_close(&r);
        }
        refused = tg_mem_failed();
        tg_mem_fail_after(0);
        tg_log_close(&f->log);
        open_log(f);
        stored += a.ok;
        assert_int_equal(read_all(f, 0, NULL, NULL, 200), stored);
        /* Each round leaves a segment: without this, each would need one allocation more than the last. */
        tg_log_release(f->log, tg_log_last(f->log));
        settle(f);
        assert_true(tg_log_first(f->log) >= first);
        first = tg_log_first(f->log);
        stored = read_all(f, 0, NULL, NULL, 200);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_synced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grouped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_segments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbering, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_release, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_release_under_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_segment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_of_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_end_without_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_record, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_readers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_modes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torture, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
