#include "deliver/tell.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The first line of a kind at once, the next one after a minute. */
static void once_a_minute(void **state)
{
    (void)state;
    int64_t at = 0;
    assert_true(tg_tell_due(&at, 5000));
    assert_false(tg_tell_due(&at, 5000));
    assert_false(tg_tell_due(&at, 5000 + TG_TELL_EVERY_MS - 1));
    assert_true(tg_tell_due(&at, 5000 + TG_TELL_EVERY_MS));
    assert_false(tg_tell_due(&at, 5001 + TG_TELL_EVERY_MS));
}

/* What the log says when the clocks, once so far apart, are so far apart; "" for nothing. */
static const char *log_of_clock(int64_t before, int64_t wall_ms, int64_t mono_ms)
{
    static char text[1024];
    int pipe_of[2];
    assert_int_equal(pipe(pipe_of), 0);
    tg_log_set_fd(pipe_of[1]);
    tg_tell_clock(&before, wall_ms, mono_ms);
    assert_int_equal(before, wall_ms - mono_ms);
    tg_log_set_fd(-1);
    close(pipe_of[1]);
    ssize_t n = read(pipe_of[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(pipe_of[0]);
    return text;
}

/* A clock that jumps, either way, is told with by how much; one that is slowly set right is not, nor the
 * first look at it. */
static void clock_jumps(void **state)
{
    (void)state;
    assert_string_equal(log_of_clock(0, 1700000000000, 1000), "");
    assert_string_equal(log_of_clock(1000000, 1060000, 0), "");
    assert_non_null(strstr(log_of_clock(1000000, 8200000, 0), "by_ms=7200000"));
    assert_non_null(strstr(log_of_clock(9000000, 1800000, 0), "by_ms=-7200000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_a_minute),
        cmocka_unit_test(clock_jumps),
    };
    return cmocka_run_group_tests_name("tell", tests, NULL, NULL);
}
