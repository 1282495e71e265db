#include "../tg_test.h"

#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dedup_refill.h"
#include "spool/partition.h"

#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRIES = 50000, HOUR = 3600 * 1000 };

/* 2026-01-02T03:04:06.000Z */
static const int64_t now = INT64_C(1767323046000);

/* A log in a folder, and an empty set. */
struct fixture {
    char dir[64];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_partition partition;
    struct tg_metrics *metrics;
    struct tg_log *log;
    void *block;
    struct tg_dedup *set;
    unsigned written;
    int answers, status;
};

static void open_log(struct fixture *f)
{
    const struct tg_log_options options = {.dir = f->partition.dir,
                                           .epoch = f->partition.epoch,
                                           .segment_bytes = 256 << 10,
                                           .max_bytes = 64 << 20,
                                           .max_pending_bytes = 16 << 20,
                                           .io = tg_io_system(),
                                           .helper = f->helper,
                                           .base = f->base,
                                           .metrics = f->metrics};
    assert_ok(tg_log_open(&options, &f->log, NULL, NULL));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    tg_log_set_fd(-1);
    strcpy(f->dir, "/tmp/tg_refill_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->base = event_base_new();
    f->metrics = tg_metrics_new(1);
    assert_ok(tg_helper_new(f->base, &f->helper, NULL));
    assert_ok(tg_partition_open(f->dir, 0, &f->partition, NULL));
    size_t size = (tg_dedup_bytes(ENTRIES) + 63) / 64 * 64;
    f->block = aligned_alloc(64, size);
    memset(f->block, 0, size);
    assert_ok(tg_dedup_init(&f->set, f->block, ENTRIES, 24 * HOUR));
    open_log(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tg_helper_drain(f->helper);
    tg_log_close(&f->log);
    tg_partition_close(&f->partition);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    tg_metrics_free(&f->metrics);
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f->block);
    free(f);
    return 0;
}

static void on_answer(void *arg, int status, const char *why, uint64_t first_seq)
{
    struct fixture *f = arg;
    (void)why, (void)first_seq;
    f->answers++;
    f->status = status;
}

/* Appends n events, with ids counted from f->written on, and waits until they are durable. */
static void write_events(struct fixture *f, unsigned n, int64_t received_at)
{
    static char body[200];
    memset(body, ' ', sizeof body);
    int wanted = f->answers;
    for (unsigned i = 0; i < n; i++) {
        char id[20];
        struct tg_buf header = TG_BUF_INIT(4096);
        snprintf(id, sizeof id, "m%u", f->written++);
        const struct tg_event ev = {.source = TG_STR("web"),
                                    .message_id = tg_str_of(id),
                                    .received_at = received_at,
                                    .timestamp = received_at,
                                    .original_timestamp = TG_NO_TIME,
                                    .sent_at = TG_NO_TIME};
        assert_ok(tg_event_encode(&ev, &header));
        const struct tg_record record = {
            .received_at = received_at, .header = tg_buf_str(&header), .body = tg_str_n(body, sizeof body)};
        assert_ok(tg_log_append(f->log, &record, 1, on_answer, f, NULL));
        wanted++;
        tg_buf_fini(&header);
    }
    for (int64_t until = tg_mono_ms() + 60000; f->answers < wanted && tg_mono_ms() < until;)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->answers, wanted);
    assert_ok(f->status);
}

static uint64_t refill(struct fixture *f, int64_t since, uint64_t most)
{
    const struct tg_dedup_refill options = {
        .log = f->log, .set = f->set, .since = since, .now = now, .most = most};
    return tg_dedup_refill(&options);
}

static bool seen(struct fixture *f, unsigned n)
{
    char id[20];
    snprintf(id, sizeof id, "m%u", n);
    return tg_dedup_seen(f->set, TG_STR("web"), tg_str_of(id), now);
}

/* An empty log gives nothing. */
static void nothing_there(void **state)
{
    assert_int_equal(refill(*state, 0, ENTRIES), 0);
}

/* What the log holds after it was opened anew suppresses a repetition, of its own source only, for the rest
 * of its own time. */
static void found_after_a_crash(void **state)
{
    struct fixture *f = *state;
    write_events(f, 3, now - HOUR);
    tg_log_close(&f->log);
    open_log(f);
    assert_false(seen(f, 0));
    assert_int_equal(refill(f, now - 2 * HOUR, ENTRIES), 3);
    assert_true(seen(f, 0) && seen(f, 1) && seen(f, 2));
    assert_false(seen(f, 3));
    assert_false(tg_dedup_seen(f->set, TG_STR("app"), TG_STR("m0"), now));
    assert_true(tg_dedup_seen(f->set, TG_STR("web"), TG_STR("m0"), now + 22 * HOUR));
    assert_false(tg_dedup_seen(f->set, TG_STR("web"), TG_STR("m0"), now + 24 * HOUR));
}

/* Events beyond the window stay forgotten, those of a clock that runs ahead count from now on. */
static void ages(void **state)
{
    struct fixture *f = *state;
    write_events(f, 1, now - 25 * HOUR);
    write_events(f, 1, now + HOUR);
    assert_int_equal(refill(f, 0, ENTRIES), 2);
    assert_false(seen(f, 0));
    assert_true(seen(f, 1));
    assert_false(tg_dedup_seen(f->set, TG_STR("web"), TG_STR("m1"), now + 24 * HOUR));
}

/* Of a long log only what came since the last save is read, and a little before; with nothing saved all of
 * it; never more than the set holds. */
static void only_the_end(void **state)
{
    struct fixture *f = *state;
    write_events(f, 20000, now - 5 * HOUR);
    write_events(f, 15000, now - HOUR);
    tg_log_close(&f->log);
    open_log(f);
    assert_int_equal(refill(f, now - 2 * HOUR, ENTRIES), 15000);
    assert_true(seen(f, 20000) && seen(f, 34999));
    assert_false(seen(f, 19999));
    assert_int_equal(refill(f, 0, 32000), 32000);
    assert_true(seen(f, 3000));
    assert_false(seen(f, 2999));
    assert_int_equal(refill(f, 0, ENTRIES), 35000);
    assert_true(seen(f, 0));
}

/* The last events are read whatever their time says: a relay before this one may be hours behind. */
static void old_times(void **state)
{
    struct fixture *f = *state;
    write_events(f, 12000, now - 5 * HOUR);
    assert_int_equal(refill(f, now, ENTRIES), 10000);
    assert_true(seen(f, 11999));
    assert_false(seen(f, 0));
}

/* Without memory for a reader nothing is read, and nothing breaks. */
static void torture(void **state)
{
    struct fixture *f = *state;
    write_events(f, 5, now);
    for (long n = 1; n < 50; n++) {
        tg_mem_fail_after(n);
        uint64_t read = refill(f, 0, ENTRIES);
        int refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_true(refused || read == 5);
    }
    assert_int_equal(refill(f, 0, ENTRIES), 5);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(nothing_there), WITH(found_after_a_crash), WITH(ages),
        WITH(only_the_end),  WITH(old_times),           WITH(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
