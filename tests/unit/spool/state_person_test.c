#include "../tg_test.h"

#include "base/clock.h"
#include "base/event.h"
#include "base/helper.h"
#include "spool/state.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_state *s;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg_person_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->base = event_base_new();
    assert_ok(tg_helper_new(f->base, &f->helper, NULL));
    assert_ok(tg_state_open(f->dir, f->helper, &f->s, NULL));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[128];
    tg_mem_fail_after(0);
    tg_helper_drain(f->helper);
    tg_state_close(&f->s);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    snprintf(path, sizeof path, "%s/state.db", f->dir);
    unlink(path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static struct tg_buf header_of(const char *user)
{
    struct tg_event ev = {.source = TG_STR("web"),
                          .message_id = TG_STR("m"),
                          .user_id = tg_str_of(user),
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_buf header = TG_BUF_INIT(1000);
    assert_ok(tg_event_encode(&ev, &header));
    return header;
}

static void put_dead(struct fixture *f, const char *destination, uint64_t seq, const char *user)
{
    struct tg_buf header = header_of(user);
    struct tg_dead d = {.destination = destination,
                        .source = "web",
                        .message_id = "m\xc3\xa9",
                        .reason = "http_400",
                        .received_at = 5,
                        .first = 6,
                        .last = 7,
                        .attempts = 3,
                        .header = tg_buf_str(&header),
                        .body = TG_STR("{\"a\":1}"),
                        .request = TG_STR("POST"),
                        .partition = 1,
                        .seq = seq};
    assert_ok(tg_state_put_dead(f->s, &d, NULL, NULL));
    tg_helper_drain(f->helper);
    tg_buf_fini(&header);
}

static void put_aside(struct fixture *f, const char *body)
{
    struct tg_dead d = {.source = "web", .reason = "invalid_type", .body = tg_str_of(body)};
    assert_ok(tg_state_put_dead(f->s, &d, NULL, NULL));
    tg_helper_drain(f->helper);
}

static void put_retry(struct fixture *f, uint64_t seq, const char *user)
{
    struct tg_buf header = header_of(user);
    struct tg_retry r = {.destination = "a",
                         .partition = 1,
                         .seq = seq,
                         .due = 900,
                         .first_failure = 10,
                         .budget_used = 20,
                         .attempts = 4,
                         .source = "web",
                         .message_id = "m\xc3\xa9",
                         .reason = "timeout",
                         .header = tg_buf_str(&header),
                         .body = TG_STR("{\"a\":1}")};
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    tg_helper_drain(f->helper);
    tg_buf_fini(&header);
}

struct heard {
    size_t n;
    int64_t due, first_failure, budget_used, bytes;
    uint32_t attempts, partition;
    uint64_t seq;
    char message_id[16], body[16];
};

static void hear_due(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                     int64_t total)
{
    struct heard *h = arg;
    (void)next_due, (void)total;
    assert_ok(status);
    h->n = n;
    if (!n)
        return;
    h->due = rows[0].due;
    h->first_failure = rows[0].first_failure;
    h->budget_used = rows[0].budget_used;
    h->attempts = rows[0].attempts;
    h->partition = rows[0].partition;
    h->seq = rows[0].seq;
    snprintf(h->message_id, sizeof h->message_id, "%s", rows[0].message_id);
    snprintf(h->body, sizeof h->body, "%.*s", TG_STR_ARG(rows[0].body));
}

static struct heard due(struct fixture *f, const char *destination, int64_t now)
{
    struct heard h = {0};
    assert_ok(tg_state_due_retries(f->s, destination, 0, 1, now, 100, NULL, 0, hear_due, &h));
    tg_helper_drain(f->helper);
    return h;
}

static int add_bytes(void *arg, const char *destination, int64_t count, int64_t bytes, int64_t oldest)
{
    (void)destination, (void)count, (void)oldest;
    *(int64_t *)arg += bytes;
    return 0;
}

static int count_row(void *arg, const struct tg_dead *d)
{
    (void)d;
    ++*(int *)arg;
    return 0;
}

static int dead_rows(struct fixture *f)
{
    int n = 0;
    assert_ok(tg_state_dead_each(f->s, &(struct tg_dead_filter){0}, count_row, &n, NULL));
    return n;
}

static const char *const names[] = {"a", "b"};

/* A replayed letter is a retry that is due, as fresh as a new one, at its place and with its message id; it
 * counts for as many bytes as the same row put in by a worker. */
static void test_replay(void **state)
{
    struct fixture *f = *state;
    struct tg_replayed r;
    put_dead(f, "a", 12, "u");
    assert_ok(tg_state_dead_replay(f->s, &(struct tg_dead_filter){0}, names, 2, 500, &r, NULL));
    assert_int_equal(r.replayed, 1);
    assert_int_equal(dead_rows(f), 0);
    assert_int_equal(due(f, "a", 499).n, 0);
    struct heard h = due(f, "a", 500);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.first_failure + h.budget_used + h.attempts, 0);
    assert_int_equal(h.partition, 1);
    assert_int_equal(h.seq, 12);
    assert_string_equal(h.message_id, "m\xc3\xa9");
    assert_string_equal(h.body, "{\"a\":1}");
    int64_t bytes = 0, again = 0;
    assert_ok(tg_state_retry_counts(f->s, add_bytes, &bytes, NULL));
    put_retry(f, 12, "u");
    assert_ok(tg_state_retry_counts(f->s, add_bytes, &again, NULL));
    assert_int_equal(bytes - (int64_t)strlen("replayed"), again - (int64_t)strlen("timeout"));
}

/* Where a retry of the same event is waiting already there is one afterwards, due and fresh. */
static void test_replay_beside_retry(void **state)
{
    struct fixture *f = *state;
    struct tg_replayed r;
    put_retry(f, 12, "u");
    put_dead(f, "a", 12, "u");
    assert_ok(tg_state_dead_replay(f->s, &(struct tg_dead_filter){0}, names, 2, 500, &r, NULL));
    assert_int_equal(r.replayed, 1);
    struct heard h = due(f, "a", 500);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.first_failure + h.budget_used + h.attempts, 0);
}

/* Left alone and counted: of nobody, of an unknown destination; what the filter does not want is not counted.
 */
static void test_replay_leaves(void **state)
{
    struct fixture *f = *state;
    struct tg_replayed r;
    put_dead(f, "a", 1, "u");
    put_dead(f, "gone", 2, "u");
    put_aside(f, "{}");
    assert_ok(
        tg_state_dead_replay(f->s, &(struct tg_dead_filter){.reason = "http_404"}, names, 2, 1, &r, NULL));
    assert_int_equal(r.replayed + r.set_aside + r.unknown, 0);
    assert_ok(tg_state_dead_replay(f->s, &(struct tg_dead_filter){0}, names, 2, 1, &r, NULL));
    assert_int_equal(r.replayed, 1);
    assert_int_equal(r.set_aside, 1);
    assert_int_equal(r.unknown, 1);
    assert_int_equal(dead_rows(f), 2);
}

/* More rows than go into one transaction. */
static void test_replay_many(void **state)
{
    struct fixture *f = *state;
    struct tg_replayed r;
    for (uint64_t i = 1; i <= 1201; i++)
        put_dead(f, i % 2 ? "a" : "b", i, "u");
    assert_ok(
        tg_state_dead_replay(f->s, &(struct tg_dead_filter){.destination = "a"}, names, 2, 1, &r, NULL));
    assert_int_equal(r.replayed, 601);
    assert_int_equal(dead_rows(f), 600);
}

static int forget(struct fixture *f, struct tg_str user, int64_t until, struct tg_forgotten_rows *rows)
{
    return tg_state_forget_users(f->s, &(struct tg_forgotten_user){user, until}, 1, rows, NULL);
}

/* A user's rows go from all three places, nobody else's: not one whose id contains the user's, not one in
 * whose event it is something else. */
static void test_forget(void **state)
{
    struct fixture *f = *state;
    struct tg_forgotten_rows rows;
    put_retry(f, 1, "u-1");
    put_retry(f, 2, "u-12");
    put_retry(f, 3, "web");
    put_dead(f, "a", 1, "u-1");
    put_dead(f, "b", 1, "u-1");
    put_dead(f, "b", 2, "xu-1");
    put_aside(f, "{\"type\":\"x\",\"userId\":\"u\\u002d1\"}");
    put_aside(f, "{\"type\":\"x\",\"traits\":{\"userId\":\"u-1\"}}");
    put_aside(f, "{\"userId\":\"u-1\"");
    put_aside(f, "{\"userId\":7}");
    assert_ok(forget(f, TG_STR("u-1"), INT64_MAX, &rows));
    assert_int_equal(rows.retries, 1);
    assert_int_equal(rows.dead, 2);
    assert_int_equal(rows.set_aside, 1);
    assert_int_equal(due(f, "a", 1000).n, 2);
    assert_int_equal(dead_rows(f), 4);
    assert_ok(forget(f, TG_STR("7"), INT64_MAX, &rows));
    assert_int_equal(rows.set_aside, 1);
    assert_ok(forget(f, TG_STR("web"), INT64_MAX, &rows));
    assert_int_equal(rows.retries, 1);
}

/* Many at once, in any order: of each what was received until its latest time. */
static void test_forget_many(void **state)
{
    struct fixture *f = *state;
    struct tg_forgotten_rows rows;
    put_dead(f, "a", 1, "u-1"); /* received at 5 */
    put_dead(f, "a", 2, "u-2");
    put_dead(f, "a", 3, "u-3");
    put_dead(f, "a", 4, "u");
    put_retry(f, 5, "u-2"); /* received at 0 */
    put_retry(f, 6, "u-4");
    const struct tg_forgotten_user users[] = {
        {TG_STR("u-3"), 5}, {TG_STR("u-1"), 9}, {TG_STR("u-2"), 4}, {TG_STR("u-1"), 1}, {TG_STR(""), 9}};
    assert_ok(tg_state_forget_users(f->s, users, 5, &rows, NULL));
    assert_int_equal(rows.dead, 2);
    assert_int_equal(rows.retries, 1);
    assert_int_equal(dead_rows(f), 2);
    assert_int_equal(due(f, "a", 1000).n, 1);
    assert_ok(tg_state_forget_users(f->s, users, 0, &rows, NULL));
    assert_int_equal(rows.dead + rows.retries + rows.set_aside, 0);
}

static void hear_usage(void *arg, int status, const struct tg_usage *usage)
{
    assert_ok(status);
    *(struct tg_usage *)arg = *usage;
}

static void hear_done(void *arg, int status, const char *why)
{
    (void)why;
    *(int *)arg = status;
}

/* A question sees the writes given before it, and the end of all comes after them. Retries count for the
 * worker that has their partition. */
static void test_usage_and_end(void **state)
{
    struct fixture *f = *state;
    struct tg_usage before, after, none, other;
    int ended = 1;
    assert_ok(tg_state_usage(f->s, "a", 1, 2, hear_usage, &before));
    tg_helper_drain(f->helper);
    assert_int_equal(before.dead_bytes + before.retries + before.retry_bytes, 0);
    assert_int_equal(before.oldest_retry, TG_NO_TIME);
    struct tg_dead d = {.destination = "a", .reason = "r", .body = TG_STR("0123456789")};
    struct tg_retry r = {.destination = "a",
                         .partition = 3,
                         .seq = 1,
                         .received_at = 70,
                         .reason = "r",
                         .body = TG_STR("0123456789")};
    assert_ok(tg_state_put_dead(f->s, &d, NULL, NULL));
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    r.seq++;
    r.received_at = 60;
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    assert_ok(tg_state_usage(f->s, "a", 1, 2, hear_usage, &after));
    assert_ok(tg_state_usage(f->s, "a", 0, 2, hear_usage, &other));
    assert_ok(tg_state_usage(f->s, "b", 1, 2, hear_usage, &none));
    assert_ok(tg_state_after_all(f->s, hear_done, &ended));
    assert_int_equal(ended, 1);
    tg_helper_drain(f->helper);
    assert_int_equal(after.dead_bytes, 522);
    assert_int_equal(after.retries, 2);
    assert_int_equal(after.retry_bytes, 2 * 267);
    assert_int_equal(after.oldest_retry, 60);
    assert_int_equal(other.retries + other.retry_bytes, 0);
    assert_int_equal(none.dead_bytes, 0);
    assert_ok(ended);
}

/* By age, whenever they are due: the oldest first, without those that are busy. */
static void test_oldest(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    for (uint64_t i = 1; i <= 4; i++) {
        struct tg_retry r = {.destination = "a",
                             .seq = i,
                             .due = (int64_t)(1000 * i),
                             .received_at = (int64_t)(100 - i),
                             .reason = "r",
                             .attempts = (uint32_t)i};
        assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    }
    assert_ok(tg_state_oldest_retries(f->s, "a", 0, 1, 1, NULL, 0, hear_due, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.attempts, 4);
    const int64_t busy = 4;
    h = (struct heard){0};
    assert_ok(tg_state_oldest_retries(f->s, "a", 0, 1, 1, &busy, 1, hear_due, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.attempts, 3);
}

static int replay_all(void *arg)
{
    struct fixture *f = arg;
    struct tg_replayed r;
    return tg_state_dead_replay(f->s, &(struct tg_dead_filter){0}, names, 2, 1, &r, NULL);
}

static int forget_one(void *arg)
{
    struct fixture *f = arg;
    struct tg_forgotten_rows rows;
    return forget(f, TG_STR("u"), INT64_MAX, &rows);
}

/* Without memory they fail and leak nothing. */
static void test_torture(void **state)
{
    struct fixture *f = *state;
    put_dead(f, "a", 1, "u");
    put_aside(f, "{\"userId\":\"\\u0075\"}");
    tg_torture(replay_all, f);
    assert_int_equal(due(f, "a", 1).n, 1);
    put_retry(f, 9, "u");
    tg_torture(forget_one, f);
    assert_int_equal(due(f, "a", 1000).n + (size_t)dead_rows(f), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_replay),  T(test_replay_beside_retry), T(test_replay_leaves), T(test_replay_many),
        T(test_forget),  T(test_forget_many),         T(test_usage_and_end), T(test_oldest),
        T(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
