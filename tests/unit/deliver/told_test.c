#include "deliver/told.h"

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
    struct tg_told told = {0};
    assert_true(tg_told_due(&told, 5000));
    assert_false(tg_told_due(&told, 5000));
    assert_false(tg_told_due(&told, 5000 + TG_TOLD_EVERY_MS - 1));
    assert_true(tg_told_due(&told, 5000 + TG_TOLD_EVERY_MS));
    assert_false(tg_told_due(&told, 5001 + TG_TOLD_EVERY_MS));
}

/* A common reason does not hide a rare one; each has its own minute and its own count. */
static void each_reason(void **state)
{
    (void)state;
    struct tg_told_reasons reasons = {0};
    struct tg_told *common = tg_told_of(&reasons, "bad_total", 5000);
    assert_true(tg_told_due(common, 5000));
    assert_false(tg_told_due(tg_told_of(&reasons, "bad_total", 6000), 6000));
    struct tg_told *rare = tg_told_of(&reasons, "script_error", 6000);
    assert_ptr_not_equal(rare, common);
    assert_true(tg_told_due(rare, 6000));
    assert_ptr_equal(tg_told_of(&reasons, "bad_total", 7000), common);
    assert_int_equal(common->suppressed, 1);
    assert_int_equal(rare->suppressed, 0);
}

/* However many reasons a script thinks of, a minute has few lines; and none is without a place for ever. */
static void many_reasons(void **state)
{
    (void)state;
    struct tg_told_reasons reasons = {0};
    char word[16];
    for (int minute = 0; minute < 3; minute++) {
        int64_t now = 5000 + minute * (int64_t)TG_TOLD_EVERY_MS;
        int told = 0;
        for (int i = 0; i < 100; i++) {
            snprintf(word, sizeof word, "reason_%d", minute * 100 + i);
            told += tg_told_due(tg_told_of(&reasons, word, now), now);
        }
        assert_in_range(told, 1, TG_TOLD_REASONS);
    }
}

static int log_pipe[2];

static void log_begin(void)
{
    assert_int_equal(pipe(log_pipe), 0);
    tg_log_set_fd(log_pipe[1]);
}

/* What the log says since log_begin; "" for nothing. */
static const char *log_end(void)
{
    static char text[1024];
    tg_log_set_fd(-1);
    close(log_pipe[1]);
    ssize_t n = read(log_pipe[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(log_pipe[0]);
    return text;
}

static const char *log_of_line(struct tg_told *told, const char *error)
{
    log_begin();
    tg_told_warn(told, "it fails", TG_FI("status", 0), TG_FS("error", error), TG_FS("id", "m-1"));
    return log_end();
}

/* A line says how many of its kind were left out since the last one, and nothing when none was; an empty
 * text is left out too. */
static void counts_suppressed(void **state)
{
    (void)state;
    struct tg_told told = {0};
    assert_true(tg_told_due(&told, 5000));
    assert_non_null(strstr(log_of_line(&told, ""), "msg=\"it fails\" status=0 id=m-1\n"));
    assert_false(tg_told_due(&told, 5001));
    assert_false(tg_told_due(&told, 5002));
    assert_true(tg_told_due(&told, 5000 + TG_TOLD_EVERY_MS));
    assert_non_null(strstr(log_of_line(&told, "cut"), "status=0 error=cut id=m-1 suppressed=2\n"));
    assert_true(tg_told_due(&told, 5000 + 2 * TG_TOLD_EVERY_MS));
    assert_non_null(strstr(log_of_line(&told, "cut"), "error=cut id=m-1\n"));
}

/* Of more fields than there is room for the rest is left out, not the count. */
static void many_fields(void **state)
{
    (void)state;
    struct tg_told told = {.suppressed = 3};
    struct tg_field fields[TG_TOLD_FIELDS + 2] = {{.key = NULL}};
    for (int i = 0; i <= TG_TOLD_FIELDS; i++)
        fields[i] = (struct tg_field)TG_FI(i < TG_TOLD_FIELDS ? "fits" : "over", i);
    log_begin();
    tg_told_line(&told, "much", fields);
    const char *text = log_end();
    assert_non_null(strstr(text, "fits=7 suppressed=3\n"));
    assert_null(strstr(text, "over="));
}

/* What the log says when the clocks, once so far apart, are so far apart; "" for nothing. */
static const char *log_of_clock(int64_t before, int64_t wall_ms, int64_t mono_ms)
{
    log_begin();
    tg_told_clock(&before, wall_ms, mono_ms);
    assert_int_equal(before, wall_ms - mono_ms);
    return log_end();
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
        cmocka_unit_test(once_a_minute),     cmocka_unit_test(each_reason), cmocka_unit_test(many_reasons),
        cmocka_unit_test(counts_suppressed), cmocka_unit_test(many_fields), cmocka_unit_test(clock_jumps),
    };
    return cmocka_run_group_tests_name("tell", tests, NULL, NULL);
}
