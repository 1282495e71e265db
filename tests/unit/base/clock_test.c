#include "tg_test.h"

#include "base/clock.h"

/* The steady clocks never go back, and both count the same time. */
static void monotonic_clocks_never_go_back(void **state)
{
    (void)state;
    int64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t us = tg_mono_us();
        assert_true(us >= last);
        last = us;
    }
    int64_t before = tg_mono_us() / 1000, ms = tg_mono_ms(), after = tg_mono_us() / 1000;
    assert_in_range(ms, before, after);
}

/* The wall clock reads milliseconds since 1970 of a time when this was written already. */
static void wall_clock_reads_utc_ms(void **state)
{
    (void)state;
    assert_true(tg_wall_ms() > INT64_C(1700000000000));
    assert_true(tg_wall_ms() < INT64_C(253402300800000));
}

/* A shift moves the wall clock and no other. */
static void shift_moves_only_the_wall_clock(void **state)
{
    (void)state;
    int64_t hour = INT64_C(3600000);
    int64_t wall = tg_wall_ms(), mono = tg_mono_ms();
    tg_wall_shift_ms(100 * hour);
    int64_t shifted = tg_wall_ms(), mono_then = tg_mono_ms();
    tg_wall_shift_ms(0);
    assert_true(shifted - wall > 99 * hour &&
                shifted - wall < 101 * hour); /* the machine's may be set, too */
    assert_true(mono_then - mono < hour);
    assert_true(tg_wall_ms() - wall < hour);
}

/* The thread's clock advances with work done. */
static void thread_clock_counts_work(void **state)
{
    (void)state;
    int64_t begin = tg_thread_cpu_us();
    volatile unsigned sink = 0;
    do
        sink++;
    while (tg_thread_cpu_us() - begin < 1000);
    assert_true(sink > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_clocks_never_go_back),
        cmocka_unit_test(wall_clock_reads_utc_ms),
        cmocka_unit_test(shift_moves_only_the_wall_clock),
        cmocka_unit_test(thread_clock_counts_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
