#include "deliver/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct tg_backoff usual = {1000, 600000, 14400000};

/* The ceiling doubles from the first delay to the greatest, and the jitter covers all below it. */
static void doubles(void **state)
{
    (void)state;
    static const struct {
        uint32_t attempts;
        int64_t ceiling;
    } rows[] = {{1, 1000},    {2, 2000},    {3, 4000},     {9, 256000},
                {10, 512000}, {11, 600000}, {100, 600000}, {UINT32_MAX, 600000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tg_backoff_delay(&usual, rows[i].attempts, 0), 1);
        assert_int_equal(tg_backoff_delay(&usual, rows[i].attempts, (uint64_t)rows[i].ceiling - 1),
                         rows[i].ceiling);
        for (uint64_t r = 1; r < 1u << 20; r = r * 3 + 1)
            assert_in_range(tg_backoff_delay(&usual, rows[i].attempts, r), 1, rows[i].ceiling);
    }
}

/* Odd settings do no harm. */
static void odd_settings(void **state)
{
    (void)state;
    struct tg_backoff zero = {0, 0, 0}, inverted = {5000, 1000, 0},
                      huge = {INT64_MAX / 2, INT64_MAX, INT64_MAX};
    assert_int_equal(tg_backoff_delay(&zero, 5, 77), 1);
    assert_in_range(tg_backoff_delay(&inverted, 3, 999999), 1, 1000);
    assert_true(tg_backoff_delay(&huge, 50, UINT64_MAX) > 0);
}

/* The planned delays add up to exactly the deadline; then it is over. */
static void ends_at_the_deadline(void **state)
{
    (void)state;
    int64_t used = 0, delay, sum = 0;
    uint32_t attempts = 1;
    while (tg_backoff_next(&usual, attempts, 0x123456789abcdef * attempts, 0, false, &used, &delay)) {
        sum += delay;
        attempts++;
        assert_true(attempts < 100000);
    }
    assert_int_equal(sum, usual.deadline_ms);
    assert_int_equal(used, usual.deadline_ms);
}

/* While the destination is at fault the clock stands still, also past the deadline. */
static void stands_still(void **state)
{
    (void)state;
    int64_t used = usual.deadline_ms, delay;
    assert_true(tg_backoff_next(&usual, 3, 7, 0, true, &used, &delay));
    assert_int_equal(used, usual.deadline_ms);
    assert_false(tg_backoff_next(&usual, 3, 7, 0, false, &used, &delay));
}

/* What the script asks for is the least, within the deadline. */
static void honours_the_least(void **state)
{
    (void)state;
    int64_t used = 0, delay;
    assert_true(tg_backoff_next(&usual, 1, 0, 30000, false, &used, &delay));
    assert_int_equal(delay, 30000);
    assert_int_equal(used, 30000);
    assert_true(tg_backoff_next(&usual, 1, 0, INT64_MAX, false, &used, &delay));
    assert_int_equal(used, usual.deadline_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles),
        cmocka_unit_test(odd_settings),
        cmocka_unit_test(ends_at_the_deadline),
        cmocka_unit_test(stands_still),
        cmocka_unit_test(honours_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
