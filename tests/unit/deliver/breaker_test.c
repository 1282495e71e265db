#include "deliver/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void fail_times(struct tg_breaker *b, int n, int64_t now)
{
    for (int i = 0; i < n; i++)
        tg_breaker_failure(b, now, 0);
}

/* One failure, or four with a success between, keep it closed; five in a row open it. */
static void opens_after_five_in_a_row(void **state)
{
    (void)state;
    struct tg_breaker b = {0};
    fail_times(&b, 4, 0);
    assert_int_equal(b.state, TG_BREAKER_CLOSED);
    tg_breaker_success(&b, 16);
    fail_times(&b, 4, 0);
    assert_int_equal(tg_breaker_window(&b, 16, 0), 16);
    fail_times(&b, 1, 0);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
    assert_int_equal(tg_breaker_window(&b, 16, 0), 0);
    assert_string_equal(tg_breaker_name(&b), "open");
}

/* When the time is up one probe goes out, and no second one beside it. */
static void probes_once(void **state)
{
    (void)state;
    struct tg_breaker b = {0};
    fail_times(&b, 5, 0);
    assert_int_equal(tg_breaker_window(&b, 16, b.until - 1), 0);
    assert_int_equal(tg_breaker_window(&b, 16, b.until), 1);
    assert_int_equal(b.state, TG_BREAKER_HALF_OPEN);
    tg_breaker_sent(&b);
    assert_int_equal(tg_breaker_window(&b, 16, b.until + 100000), 0);
    tg_breaker_forget_probe(&b);
    assert_int_equal(tg_breaker_window(&b, 16, b.until + 100000), 1);
}

/* After a good probe the window grows by one with each success. */
static void ramps_up(void **state)
{
    (void)state;
    struct tg_breaker b = {0};
    fail_times(&b, 5, 0);
    tg_breaker_window(&b, 4, b.until);
    tg_breaker_sent(&b);
    tg_breaker_success(&b, 4);
    for (unsigned want = 1; want <= 4; want++) {
        assert_int_equal(tg_breaker_window(&b, 4, 0), want);
        tg_breaker_success(&b, 4);
    }
    assert_int_equal(tg_breaker_window(&b, 9, 0), 9);
}

/* Each failed probe doubles the time, to one minute at most; a success begins anew. */
static void doubles_the_time(void **state)
{
    (void)state;
    struct tg_breaker b = {0};
    int64_t now = 0, last = 0;
    fail_times(&b, 5, now);
    for (int i = 0; i < 12; i++) {
        int64_t open = b.until - now;
        assert_in_range(open, 500, 60000);
        assert_true(open >= last);
        last = open;
        now = b.until;
        tg_breaker_window(&b, 16, now);
        tg_breaker_sent(&b);
        tg_breaker_failure(&b, now, 0);
    }
    assert_int_equal(last, 30000); /* random 0: half of the minute */
    tg_breaker_window(&b, 16, b.until);
    tg_breaker_success(&b, 16);
    fail_times(&b, 5, 0);
    assert_in_range(b.until, 500, 1000);
}

/* Late failures of requests that were under way do not lengthen the time. */
static void late_failures_change_nothing(void **state)
{
    (void)state;
    struct tg_breaker b = {0};
    fail_times(&b, 5, 0);
    int64_t until = b.until;
    fail_times(&b, 11, 400);
    assert_int_equal(b.until, until);
    assert_int_equal(b.openings, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_five_in_a_row),
        cmocka_unit_test(probes_once),
        cmocka_unit_test(ramps_up),
        cmocka_unit_test(doubles_the_time),
        cmocka_unit_test(late_failures_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
