#include "../tg_test.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/sink.h"
#include "deliver/forgotten.h"
#include "spool/partition.h"

#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

enum { ASIDE_BYTES = 20000 };

/* A log and a state in a folder, and the sink before them. */
struct fixture {
    char dir[64];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_state *state;
    struct tg_partition partition;
    struct tg_log *log;
    struct tg_metrics *metrics;
    struct tg_aside *aside;
    struct tg_spool_sink *sink;
    int answers, status;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    tg_log_set_fd(-1);
    strcpy(f->dir, "/tmp/tg_sink_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->base = event_base_new();
    f->metrics = tg_metrics_new(1);
    assert_ok(tg_helper_new(f->base, &f->helper, NULL));
    assert_ok(tg_state_open(f->dir, f->helper, &f->state, NULL));
    assert_ok(tg_partition_open(f->dir, 0, &f->partition, NULL));
    const struct tg_log_options log = {.dir = f->partition.dir,
                                       .epoch = f->partition.epoch,
                                       .segment_bytes = 1 << 20,
                                       .max_bytes = 32 << 20,
                                       .max_pending_bytes = 16 << 20,
                                       .io = tg_io_system(),
                                       .helper = f->helper,
                                       .base = f->base,
                                       .metrics = f->metrics};
    assert_ok(tg_log_open(&log, &f->log, NULL, NULL));
    f->aside = tg_aside_new(f->state, f->metrics, 1);
    assert_non_null(f->aside);
    tg_aside_limit(f->aside, ASIDE_BYTES);
    const struct tg_spool_sink_options sink = {.log = f->log, .state = f->state, .aside = f->aside};
    f->sink = tg_spool_sink_new(&sink);
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
    tg_spool_sink_free(&f->sink);
    tg_aside_free(&f->aside);
    tg_log_close(&f->log);
    tg_partition_close(&f->partition);
    tg_helper_drain(f->helper);
    tg_state_close(&f->state);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    tg_metrics_free(&f->metrics);
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void on_answer(void *arg, int status, const char *why)
{
    struct fixture *f = arg;
    (void)why;
    f->answers++;
    f->status = status;
}

static int give(struct fixture *f, size_t n_events, size_t n_bad, struct tg_str body)
{
    struct tg_event ev = {.source = TG_STR("web"),
                          .message_id = TG_STR("m"),
                          .body = TG_STR("{}"),
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_setaside bad = {.source = TG_STR("web"), .reason = TG_STR("invalid_type"), .body = body};
    struct tg_sink sink = tg_spool_sink_interface(f->sink);
    return sink.append(sink.arg, &ev, n_events, &bad, n_bad, on_answer, f);
}

static void wait_answers(struct fixture *f, int n)
{
    for (int64_t until = tg_mono_ms() + 60000; f->answers < n && tg_mono_ms() < until;)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->answers, n);
}

static int ready(struct fixture *f, const char **why)
{
    int seconds = 0;
    struct tg_sink sink = tg_spool_sink_interface(f->sink);
    int rc = sink.ready(sink.arg, why, &seconds);
    assert_in_range(seconds, 1, 300);
    return rc;
}

static int count_row(void *arg, const struct tg_dead *d)
{
    assert_null(d->destination);
    ++*(int *)arg;
    return 0;
}

static int aside_rows(struct fixture *f)
{
    int n = 0;
    tg_helper_drain(f->helper);
    assert_ok(tg_state_dead_each(f->state, &(struct tg_dead_filter){0}, count_row, &n, NULL));
    return n;
}

/* One answer when both halves are durable: the event in the log, what was set aside in the state. */
static void test_both_halves(void **state)
{
    struct fixture *f = *state;
    assert_ok(give(f, 1, 1, TG_STR("{\"type\":\"x\"}")));
    wait_answers(f, 1);
    assert_ok(f->status);
    assert_int_equal(tg_log_last(f->log), 1);
    assert_int_equal(aside_rows(f), 1);
    assert_int_equal(tg_spool_sink_waiting(f->sink), 0);
}

/* While a destination's dead letters are over their quota nothing is accepted, and the reason names it; then
 * it goes on. */
static void test_blocked(void **state)
{
    struct fixture *f = *state;
    const char *why = NULL;
    assert_ok(ready(f, &why));
    tg_spool_sink_block(f->sink, "impact");
    assert_int_equal(ready(f, &why), TG_QUOTA);
    assert_non_null(strstr(why, "dead letters of destination impact"));
    tg_spool_sink_block(f->sink, NULL);
    assert_ok(ready(f, &why));
}

/* A stopping sink takes nothing, blocked or not. */
static void test_stopping(void **state)
{
    struct fixture *f = *state;
    const char *why = NULL;
    tg_spool_sink_block(f->sink, "impact");
    tg_spool_sink_stop(f->sink);
    assert_int_equal(ready(f, &why), TG_CLOSED);
    assert_int_equal(give(f, 1, 0, TG_STR("")), TG_CLOSED);
    assert_int_equal(f->answers, 0);
}

/* What is set aside of a source stays within its ceiling; the oldest goes and is counted. */
static void test_aside_ceiling(void **state)
{
    struct fixture *f = *state;
    char body[1000];
    memset(body, 'x', sizeof body);
    for (int i = 1; i <= 100; i++) {
        assert_ok(give(f, 0, 1, tg_str_n(body, sizeof body)));
        wait_answers(f, i);
    }
    int kept = aside_rows(f);
    assert_in_range(kept, 5, ASIDE_BYTES / 1512 + 3);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_setaside_dropped_total", "source=\"web\""),
                     100 - kept);
}

static void hear_users(void *arg, size_t users)
{
    *(size_t *)arg += users;
}

static int see_tombstone(void *arg, const char *name, struct tg_str value)
{
    struct tg_buf *seen = arg;
    assert_true(tg_str_is(value, TG_FORGET_ROWS));
    assert_int_equal(strspn(name, "0123456789"), 13);
    assert_ok(tg_buf_adds(seen, name + 13));
    return tg_buf_addc(seen, ';');
}

/* Requests for deletion that the relay carries out are answered when their tombstones are durable too; the
 * engine hears of it before the sender does. */
static void test_tombstones(void **state)
{
    struct fixture *f = *state;
    size_t users = 0;
    struct tg_buf seen = TG_BUF_INIT(1000);
    tg_spool_sink_free(&f->sink);
    f->sink = tg_spool_sink_new(&(struct tg_spool_sink_options){.log = f->log,
                                                                .state = f->state,
                                                                .aside = f->aside,
                                                                .forgotten = hear_users,
                                                                .forgotten_arg = &users});
    struct tg_event ev[3] = {{.user_id = TG_STR("a b")}, {.user_id = TG_STR("c")}, {.user_id = TG_STR("d")}};
    for (size_t i = 0; i < 3; i++) {
        ev[i].type = TG_DELETE;
        ev[i].source = ev[i].message_id = TG_STR("m");
        ev[i].body = TG_STR("{}");
        ev[i].original_timestamp = ev[i].sent_at = TG_NO_TIME;
        ev[i].forgets = i < 2;
    }
    struct tg_sink sink = tg_spool_sink_interface(f->sink);
    int64_t before = tg_wall_ms();
    assert_ok(sink.append(sink.arg, ev, 3, NULL, 0, on_answer, f));
    wait_answers(f, 1);
    assert_ok(f->status);
    assert_true(tg_wall_ms() > before);
    assert_int_equal(users, 2);
    assert_int_equal(tg_log_last(f->log), 3);
    tg_helper_drain(f->helper);
    assert_ok(tg_state_facts_each(f->state, TG_FORGET_FACT, see_tombstone, &seen, NULL));
    assert_string_equal(tg_buf_cstr(&seen), " a b; c;");
    tg_buf_fini(&seen);
    assert_int_equal(tg_spool_sink_waiting(f->sink), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static int count_fact(void *arg, const char *name, struct tg_str value)
{
    (void)name, (void)value;
    ++*(int *)arg;
    return 0;
}

/* A batch with more users to forget than the state's queue holds at once is answered like any other. */
static void test_many_tombstones(void **state)
{
    struct fixture *f = *state;
    enum { USERS = 40000 };
    struct tg_event *ev = calloc(USERS, sizeof *ev);
    char(*users)[16] = calloc(USERS, sizeof *users);
    for (int i = 0; i < USERS; i++) {
        snprintf(users[i], sizeof users[i], "u%d", i);
        ev[i] = (struct tg_event){.type = TG_DELETE,
                                  .source = TG_STR("web"),
                                  .message_id = tg_str_of(users[i]),
                                  .user_id = tg_str_of(users[i]),
                                  .body = TG_STR("{}"),
                                  .forgets = true,
                                  .original_timestamp = TG_NO_TIME,
                                  .sent_at = TG_NO_TIME};
    }
    struct tg_sink sink = tg_spool_sink_interface(f->sink);
    assert_ok(sink.append(sink.arg, ev, USERS, NULL, 0, on_answer, f));
    wait_answers(f, 1);
    assert_int_equal(f->status, TG_OK);
    int n = 0;
    assert_ok(tg_state_facts_each(f->state, TG_FORGET_FACT, count_fact, &n, NULL));
    assert_int_equal(n, USERS);
    free(users);
    free(ev);
}

/* So is one with more bad events than that, and they are all kept. */
static void test_many_bad(void **state)
{
    struct fixture *f = *state;
    enum { BAD = 12000, BODY = 700 };
    char *body = malloc(BODY);
    struct tg_setaside *bad = calloc(BAD, sizeof *bad);
    memset(body, 'x', BODY);
    for (int i = 0; i < BAD; i++)
        bad[i] = (struct tg_setaside){.source = TG_STR("web"),
                                      .reason = TG_STR("invalid_type"),
                                      .detail = TG_STR("no type"),
                                      .body = tg_str_n(body, BODY)};
    tg_aside_limit(f->aside, 1 << 30);
    struct tg_event ev = {.source = TG_STR("web"),
                          .message_id = TG_STR("m"),
                          .body = TG_STR("{}"),
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_sink sink = tg_spool_sink_interface(f->sink);
    assert_ok(sink.append(sink.arg, &ev, 1, bad, BAD, on_answer, f));
    memset(body, 'y', BODY); /* what was lent is not looked at again */
    memset(bad, 0, BAD * sizeof *bad);
    wait_answers(f, 1);
    assert_int_equal(f->status, TG_OK);
    assert_int_equal(tg_log_last(f->log), 1);
    assert_int_equal(aside_rows(f), BAD);
    free(body);
    free(bad);
}

/* When the state has no room for what is bad in a batch, nothing of the batch is taken. */
static void test_nothing_of_a_refused_batch(void **state)
{
    struct fixture *f = *state;
    enum { BODY = 1 << 20 };
    char *body = calloc(1, BODY);
    int rc = TG_OK, taken = 0;
    tg_aside_limit(f->aside, 1 << 30);
    for (; !rc && taken < 100; taken += !rc)
        rc = give(f, 0, 1, tg_str_n(body, BODY));
    assert_int_equal(rc, TG_BUSY);
    assert_int_equal(give(f, 1, 1, tg_str_n(body, BODY)), TG_BUSY);
    wait_answers(f, taken);
    assert_int_equal(tg_log_last(f->log), 0);
    assert_int_equal(tg_spool_sink_waiting(f->sink), 0);
    assert_ok(give(f, 1, 1, tg_str_n(body, BODY)));
    wait_answers(f, taken + 1);
    assert_int_equal(f->status, TG_OK);
    assert_int_equal(tg_log_last(f->log), 1);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_both_halves), T(test_blocked),         T(test_stopping), T(test_aside_ceiling),
        T(test_tombstones),  T(test_many_tombstones), T(test_many_bad), T(test_nothing_of_a_refused_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
