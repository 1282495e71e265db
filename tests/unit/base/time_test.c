#include "tg_test.h"

#include "base/clock.h"
#include "base/time.h"

#include <inttypes.h>
#include <time.h>

static void parses_to(const char *text, const char *iso)
{
    int64_t ms = TG_NO_TIME;
    char out[TG_TIME_LEN + 1];
    if (!tg_time_parse(tg_str_of(text), &ms))
        fail_msg("\"%s\" does not parse", text);
    tg_time_format(ms, out);
    if (strcmp(out, iso) != 0)
        fail_msg("\"%s\" reads as %s, wanted %s", text, out, iso);
}

static void refuses(const char *text, size_t n)
{
    int64_t ms = 12345;
    if (tg_time_parse(tg_str_n(text, n), &ms))
        fail_msg("\"%s\" parses", text);
    assert_int_equal(ms, 12345);
}

/* The examples of RFC 3339 section 5.8. */
static void rfc3339_examples(void **state)
{
    (void)state;
    parses_to("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z");
    parses_to("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000Z");
    parses_to("1990-12-31T23:59:60Z", "1991-01-01T00:00:00.000Z");
    parses_to("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000Z");
    parses_to("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z");
}

/* Every form that SDKs are known to send. */
static void forms_that_senders_use(void **state)
{
    (void)state;
    parses_to("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z");
    parses_to("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z");
    parses_to("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z");
    parses_to("2026-01-02 03:04:05", "2026-01-02T03:04:05.000Z");
    parses_to("2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04:05.678Z");
    parses_to("2026-01-02T03:04:05.678901+00:00", "2026-01-02T03:04:05.678Z");
    parses_to("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05.000Z");
    parses_to("2026-01-02T03:04:05.6789999999999999Z", "2026-01-02T03:04:05.678Z");
    parses_to("2026-01-02T03:04:05.6Z", "2026-01-02T03:04:05.600Z");
    parses_to("2026-01-02T03:04:05,678Z", "2026-01-02T03:04:05.678Z");
    parses_to("2026-01-02T03:04Z", "2026-01-02T03:04:00.000Z");
    parses_to("2026-01-02", "2026-01-02T00:00:00.000Z");
    parses_to("2026-01-02T03:04:05+0530", "2026-01-01T21:34:05.000Z");
    parses_to("2026-01-02T03:04:05+05", "2026-01-01T22:04:05.000Z");
    parses_to("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05.000Z");
    parses_to("2026-01-02T03:04:05-23:59", "2026-01-03T03:03:05.000Z");
}

/* Days exist or do not; leap years follow the Gregorian rule. */
static void days_are_checked(void **state)
{
    (void)state;
    parses_to("2024-02-29", "2024-02-29T00:00:00.000Z");
    parses_to("2000-02-29", "2000-02-29T00:00:00.000Z");
    parses_to("0000-02-29", "0000-02-29T00:00:00.000Z");
    static const char *const bad[] = {"2023-02-29", "1900-02-29", "2026-04-31", "2026-00-10",
                                      "2026-13-01", "2026-01-00", "2026-01-32", "2026-02-30"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(bad[i], strlen(bad[i]));
}

/* Anything else is refused and the caller's variable stays as it was. */
static void refuses_other_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01",
        "2026-1-2",
        "20260102T030405Z",
        "2026-01-02T",
        "2026-01-02Z",
        "2026-01-02T03",
        "2026-01-02T03Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:00Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.",
        "2026-01-02T03:04:05Z ",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05ZZ",
        "2026-01-02T03:04:05+",
        "2026-01-02T03:04:05+5",
        "2026-01-02T03:04:05+05:",
        "2026-01-02T03:04:05+05:3",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+00:60",
        "2026-01-02T03:04:05+00:00:00",
        "2026-01-02  03:04:05",
        "2026/01/02 03:04:05",
        "+2026-01-02T03:04:05Z",
        "-2026-01-02T03:04:05Z",
        "1767323045678",
        "2026-01-02T03:04:-5Z",
        "\xd9\xa2\xd9\xa0\xd9\xa2\xd9\xa6-01-02",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(bad[i], strlen(bad[i]));
    refuses("2026-01-02T03:04:05Z\0", 21);
    refuses("2026-01-02\0", 11);
    refuses(NULL, 0);
}

/* Whatever an offset makes of it, a time stays within the years 0000 to 9999. */
static void range_is_four_digit_years(void **state)
{
    (void)state;
    parses_to("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z");
    parses_to("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    refuses("0000-01-01T00:00:00+00:01", 25);
    refuses("9999-12-31T23:59:00-00:01", 25);
    refuses("9999-12-31T23:59:60Z", 20);
    char out[TG_TIME_LEN + 1];
    tg_time_format(INT64_MIN, out);
    assert_string_equal(out, "0000-01-01T00:00:00.000Z");
    tg_time_format(INT64_MAX, out);
    assert_string_equal(out, "9999-12-31T23:59:59.999Z");
}

/* Milliseconds before 1970 count down from the second's end. */
static void before_1970(void **state)
{
    (void)state;
    char out[TG_TIME_LEN + 1];
    int64_t ms;
    tg_time_format(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
    assert_true(tg_time_parse(TG_STR("1969-12-31T23:59:59.999Z"), &ms));
    assert_int_equal(ms, -1);
}

/* The C library's calendar agrees on every day of four centuries and more, weekday and day of the year too.
 */
static void agrees_with_the_c_library(void **state)
{
    (void)state;
    struct tg_buf ours = TG_BUF_INIT(64);
    for (int64_t s = INT64_C(-62167219200); s < INT64_C(253402300800); s += 86400 * 17 + 12345) {
        time_t t = (time_t)s;
        struct tm tm;
        char theirs[64];
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(theirs, sizeof theirs, " %m %d %H %M %S %j %a %b %y %e", &tm) > 0);
        tg_buf_clear(&ours);
        assert_ok(tg_time_strftime(&ours, " %m %d %H %M %S %j %a %b %y %e", s * 1000 + 999));
        assert_buf(&ours, theirs);
        char iso[TG_TIME_LEN + 1];
        int64_t back;
        tg_time_format(s * 1000 + 999, iso);
        assert_int_equal(atoi(iso), tm.tm_year + 1900);
        assert_true(tg_time_parse(tg_str_of(iso), &back));
        assert_int_equal(back, s * 1000 + 999);
    }
    tg_buf_fini(&ours);
}

/* Each conversion of strftime stands for what its letter says. */
static void strftime_letters(void **state)
{
    (void)state;
    int64_t ms;
    assert_true(tg_time_parse(TG_STR("2026-03-05T07:08:09.012Z"), &ms));
    struct tg_buf b = TG_BUF_INIT(256);
    assert_ok(tg_time_strftime(&b, "%Y|%m|%d|%H|%M|%S|%L|%s|%j|%a|%b|%y|%e|%%|x", ms));
    assert_buf(&b, "2026|03|05|07|08|09|012|1772694489|064|Thu|Mar|26| 5|%|x");
    tg_buf_clear(&b);
    assert_ok(tg_time_strftime(&b, "%s", -1));
    assert_buf(&b, "-1");
    tg_buf_clear(&b);
    assert_ok(tg_time_strftime(&b, "", ms));
    assert_buf(&b, "");
    tg_buf_fini(&b);
}

/* An unknown letter, a format that ends in '%' and a full buffer leave what was there. */
static void strftime_refuses(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(8);
    assert_ok(tg_buf_adds(&b, "ab"));
    assert_int_equal(tg_time_strftime(&b, "%Y%Q", 0), TG_INVALID);
    assert_int_equal(tg_time_strftime(&b, "%Y%", 0), TG_INVALID);
    assert_int_equal(tg_time_strftime(&b, "%Y-%m-%d", 0), TG_TOOBIG);
    assert_buf(&b, "ab");
    tg_buf_fini(&b);
}

/* The three forms of RFC 9110 section 5.6.7 mean the same moment. */
static void http_dates(void **state)
{
    (void)state;
    static const char *const same[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < 3; i++) {
        int64_t ms = 0;
        assert_true(tg_time_parse_http(tg_str_of(same[i]), &ms));
        assert_int_equal(ms, INT64_C(784111777000));
    }
    int64_t ms;
    assert_true(tg_time_parse_http(TG_STR("Wed Nov 16 08:49:37 1994"), &ms));
    assert_true(tg_time_parse_http(TG_STR("Monday, 06-Nov-28 08:49:37 GMT"), &ms));
    char out[TG_TIME_LEN + 1];
    tg_time_format(ms, out);
    assert_string_equal(out, "2028-11-06T08:49:37.000Z");
}

/* Near misses of those forms are not dates. */
static void http_dates_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "120",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "1994-11-06T08:49:37Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 7;
        if (tg_time_parse_http(tg_str_of(bad[i]), &ms))
            fail_msg("\"%s\" parses", bad[i]);
        assert_int_equal(ms, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339_examples),          cmocka_unit_test(forms_that_senders_use),
        cmocka_unit_test(days_are_checked),          cmocka_unit_test(refuses_other_text),
        cmocka_unit_test(range_is_four_digit_years), cmocka_unit_test(before_1970),
        cmocka_unit_test(agrees_with_the_c_library), cmocka_unit_test(strftime_letters),
        cmocka_unit_test(strftime_refuses),          cmocka_unit_test(http_dates),
        cmocka_unit_test(http_dates_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
