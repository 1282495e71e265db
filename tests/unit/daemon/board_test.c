#include "daemon/board.h"
#include "daemon/board_status.h"
#include "tg_test.h"

#include "base/json.h"
#include "deliver/counters.h"

static struct tg_board *make(unsigned workers)
{
    struct tg_board *b = tg_board_new(workers);
    assert_non_null(b);
    for (unsigned w = 0; w < workers; w++)
        atomic_store(&b->rows[w].down_since, 0);
    return b;
}

/* The status adds up what workers say of one destination, and shows the state that a person has to see. */
static void test_status_adds_up(void **state)
{
    struct tg_board *b = make(2);
    struct tg_buf json = TG_BUF_INIT(1024 * 1024);
    struct tg_str value;
    struct tg_metrics *m = tg_metrics_new(3);
    struct tg_counters c;
    (void)state;
    assert_non_null(m);
    assert_ok(tg_counters_init(&c, m, "a"));
    for (unsigned slot = 1; slot < 3; slot++) { /* of two workers */
        struct tg_counters own;
        tg_metrics_slot(m, slot);
        assert_ok(tg_counters_init(&own, m, "a"));
        tg_counters_delivered(&own, 5);
        tg_counters_event(&own, TG_COUNT_SKIPPED, "one");
        tg_counters_event(&own, TG_COUNT_SKIPPED, "two");
        tg_counters_event(&own, TG_COUNT_DEAD, "one");
        tg_counters_fini(&own);
    }
    tg_board_say(b, 0,
                 TG_STR("{\"destinations\":[{\"name\":\"a\",\"state\":\"running\",\"backlog_events\":2,"
                        "\"oldest_ms\":10}]}"),
                 true, NULL);
    tg_board_say(
        b, 1,
        TG_STR(
            "{\"destinations\":[{\"name\":\"b\",\"state\":\"running\",\"backlog_events\":1,\"oldest_ms\":1},"
            "{\"name\":\"a\",\"state\":\"parked\",\"backlog_events\":3,\"oldest_ms\":7}]}"),
        true, NULL);
    assert_ok(tg_board_status(b, m, &json));
    assert_ok(tg_json_validate(tg_buf_str(&json), 64, &value, NULL));
    assert_str(tg_json_path(value, TG_STR("destinations.a.backlog_events")), "5");
    assert_str(tg_json_path(value, TG_STR("destinations.a.oldest_ms")), "10");
    assert_str(tg_json_path(value, TG_STR("destinations.a.state")), "\"parked\"");
    assert_str(tg_json_path(value, TG_STR("destinations.a.delivered")), "2");
    assert_str(tg_json_path(value, TG_STR("destinations.a.skipped")), "4");
    assert_str(tg_json_path(value, TG_STR("destinations.a.dead")), "2");
    assert_str(tg_json_path(value, TG_STR("destinations.a.waiting")), "5");
    assert_str(tg_json_path(value, TG_STR("destinations.b.delivered")), "0");
    assert_str(tg_json_path(value, TG_STR("destinations.b.backlog_events")), "1");
    assert_str(tg_json_path(value, TG_STR("ready")), "true");
    tg_buf_fini(&json);
    tg_counters_fini(&c);
    tg_metrics_free(&m);
    tg_board_free(&b);
}

/* Ready means: somebody is up, and everybody who is up accepts. A worker that is down is stood in for. */
static void test_ready(void **state)
{
    struct tg_board *b = make(2);
    char why[256] = "";
    (void)state;
    assert_false(tg_board_ready(b, why, sizeof why));
    tg_board_say(b, 0, TG_STR("{}"), true, NULL);
    tg_board_say(b, 1, TG_STR("{}"), false, "the disk is full");
    assert_false(tg_board_ready(b, why, sizeof why));
    assert_non_null(strstr(why, "worker 1: the disk is full"));
    char long_one[201] = "";
    memset(long_one, 'x', 200);
    tg_board_say(b, 1, TG_STR("{}"), false, long_one);
    assert_false(tg_board_ready(b, why, sizeof why));
    assert_non_null(strstr(why, long_one));
    atomic_store(&b->rows[1].down_since, 5);
    assert_true(tg_board_ready(b, why, sizeof why));
    atomic_store(&b->rows[0].down_since, 5);
    assert_false(tg_board_ready(b, why, sizeof why));
    assert_string_equal(why, "no worker is up");
    atomic_store(&b->stopping, 1);
    assert_false(tg_board_ready(b, why, sizeof why));
    assert_string_equal(why, "stopping");
    tg_board_free(&b);
}

/* A worker that was killed while it wrote leaves a status that nobody trusts; its successor's is read again.
 */
static void test_torn_status(void **state)
{
    struct tg_board *b = make(1);
    struct tg_buf json = TG_BUF_INIT(4096);
    (void)state;
    tg_board_say(b, 0, TG_STR("{\"x\":1}"), true, NULL);
    atomic_fetch_add(&b->rows[0].version, 1);
    assert_int_equal(tg_board_read(b, 0, &json), TG_BUSY);
    tg_board_say(b, 0, TG_STR("{\"x\":2}"), true, NULL);
    tg_buf_clear(&json);
    assert_ok(tg_board_read(b, 0, &json));
    assert_buf(&json, "{\"x\":2}");
    tg_buf_fini(&json);
    tg_board_free(&b);
}

/* It does not keep a person from seeing what the others say. */
static void test_torn_status_of_one(void **state)
{
    struct tg_board *b = make(2);
    struct tg_metrics *m = tg_metrics_new(1);
    struct tg_buf json = TG_BUF_INIT(1024 * 1024);
    struct tg_str value;
    (void)state;
    tg_board_say(b, 0, TG_STR("{\"destinations\":[{\"name\":\"a\",\"retries\":1}]}"), true, NULL);
    tg_board_say(b, 1, TG_STR("{\"destinations\":[{\"name\":\"a\",\"retries\":2}]}"), true, NULL);
    atomic_fetch_add(&b->rows[0].version, 1);
    assert_ok(tg_board_status(b, m, &json));
    assert_ok(tg_json_validate(tg_buf_str(&json), 64, &value, NULL));
    assert_str(tg_json_path(value, TG_STR("destinations.a.retries")), "2");
    assert_str(tg_json_path(value, TG_STR("workers.0.report")), "{}");
    tg_buf_fini(&json);
    tg_board_free(&b);
    tg_metrics_free(&m);
}

/* A strike names the event of the call that did not come back; outside a call there is none. */
static void test_strike(void **state)
{
    struct tg_board *b = make(1);
    (void)state;
    assert_false(tg_board_strike(b, 0, true));
    memcpy(b->rows[0].watch.destination, "chat", 5);
    atomic_store(&b->rows[0].watch.seq, 77);
    atomic_store(&b->rows[0].watch.since_us, 1);
    assert_true(tg_board_strike(b, 0, true));
    assert_string_equal(b->strikes[0].destination, "chat");
    assert_int_equal(b->strikes[0].seq, 77);
    assert_int_equal(b->strikes[0].timed_out, 1);
    assert_int_equal(atomic_load(&b->strikes[0].used), 1);
    tg_board_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_adds_up), cmocka_unit_test(test_ready),
        cmocka_unit_test(test_torn_status),    cmocka_unit_test(test_torn_status_of_one),
        cmocka_unit_test(test_strike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
