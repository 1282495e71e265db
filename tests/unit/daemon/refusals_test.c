#include "daemon/refusals.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What the log says of a tick; "" for nothing. */
static const char *log_of_tick(struct tg_refusals *r, int64_t now)
{
    static char text[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    tg_log_set_fd(ends[1]);
    tg_refusals_tick(r, now);
    tg_log_set_fd(-1);
    (void)close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
    return text;
}

/* Once a minute a line for each code, and for each reason of a source, with how many there were since; what
 * has not happened again is not told again, and what the metrics count else is not told at all. */
static void tells_each_minute(void **state)
{
    (void)state;
    struct tg_metrics *m = tg_metrics_new(1);
    struct tg_refusals *r = tg_refusals_new(m);
    tg_cell *keys =
        tg_metric(m, TG_COUNTER, "tidegate_ingest_refused_total", "h", "code=\"unknown_write_key\"");
    tg_cell *bad = tg_metric(m, TG_COUNTER, "tidegate_events_rejected_total", "h",
                             "source=\"web\",reason=\"invalid_type\"");
    tg_cell *skipped = tg_metric(m, TG_COUNTER, "tidegate_events_skipped_total", "h",
                                 "destination=\"a\",reason=\"no_email\"");
    assert_string_equal(log_of_tick(r, 1000), "");
    tg_count(keys, 150);
    tg_count(bad, 1);
    tg_count(skipped, 9);
    assert_string_equal(log_of_tick(r, 60999), "");
    const char *text = log_of_tick(r, 61000);
    assert_non_null(strstr(text, "msg=\"requests refused\" code=unknown_write_key count=150\n"));
    assert_non_null(strstr(text, "source=web reason=invalid_type count=1\n"));
    assert_null(strstr(text, "no_email"));
    tg_count(keys, 2);
    assert_string_equal(log_of_tick(r, 61001), "");
    text = log_of_tick(r, 121000);
    assert_non_null(strstr(text, "code=unknown_write_key count=2\n"));
    assert_null(strstr(text, "invalid_type"));
    assert_string_equal(log_of_tick(r, 181000), "");
    tg_refusals_free(&r);
    tg_metrics_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_each_minute)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
