#include "lua_case.h"

#include "base/clock.h"

/* Milliseconds since 1970 there and back. */
static void parse_and_format(void **state)
{
    (void)state;
    lua_case("eq(t.time.parse('1985-04-12T23:20:50.52Z'), 482196050520)\n"
             "eq(t.time.format(482196050520), '1985-04-12T23:20:50.520Z')\n"
             "eq(t.time.format(t.time.parse('1996-12-19T16:39:57-08:00')), '1996-12-20T00:39:57.000Z')\n"
             "eq(t.time.format(-1), '1969-12-31T23:59:59.999Z')\n"
             "eq(t.time.format(1.9), '1970-01-01T00:00:00.001Z')\n"
             "eq(t.time.format(253402300799999), '9999-12-31T23:59:59.999Z')");
}

/* Whatever a sender wrote where a time should be: no time, never an error. */
static void no_times(void **state)
{
    (void)state;
    lua_case("fails('not an ISO 8601 time', t.time.parse('yesterday'))\n"
             "fails('not an ISO 8601 time', t.time.parse(''))\n"
             "fails('text expected, got nil', t.time.parse(nil))\n"
             "fails('text expected, got number', t.time.parse(482196050520))\n"
             "fails('text expected, got table', t.time.parse({}))\n"
             "fails('not within the years', t.time.format(0/0))\n"
             "fails('not within the years', t.time.format(1/0))\n"
             "fails('not within the years', t.time.format(-1/0))\n"
             "fails('not within the years', t.time.format(253402300800000))\n"
             "fails('not within the years', t.time.format(1e300))\n"
             "raises('time.format: argument 1 (ms): a number expected, got string', t.time.format, '0')");
}

/* A format of one's own; a letter that is not known is a bug. */
static void formats(void **state)
{
    (void)state;
    lua_case("local ms = t.time.parse('2026-03-05T07:08:09.012Z')\n"
             "eq(t.time.format(ms, '%Y-%m-%dT%H:%M:%SZ'), '2026-03-05T07:08:09Z')\n"
             "eq(t.time.format(ms, '%s'), '1772694489')\n"
             "eq(t.time.format(ms, '%s%s%s%s'), ('1772694489'):rep(4))\n"
             "eq(t.time.format(-62167219200000, ('%s'):rep(99)), ('-62167219200'):rep(99))\n"
             "eq(t.time.format(ms, '%a, %d %b %Y %j %y %e %L %%'), 'Thu, 05 Mar 2026 064 26  5 012 %')\n"
             "eq(t.time.format(ms, ''), '')\n"
             "raises('time.format: argument 2 (format): only %Y', t.time.format, 0, '%Q')\n"
             "raises('got \"%\"', t.time.format, 0, '%')\n"
             "raises('contains a NUL', t.time.format, 0, '%Y\\0%Q')\n"
             "raises('time.format: argument 2 (format): text expected, got table', t.time.format, 0, {})");
}

/* The time now is the clock's, unless it was fixed. */
static void now(void **state)
{
    (void)state;
    lua_State *L = lua_case_new();
    int64_t before = tg_wall_ms();
    int64_t read = tg_lua_now(L);
    assert_true(read >= before && read <= tg_wall_ms());
    lua_case_run(L, "assert(t.time.now() > 1700000000000)");
    tg_lua_set_now(L, 1234);
    lua_case_run(L, "eq(t.time.now(), 1234)");
    assert_int_equal(tg_lua_now(L), 1234);
    assert_int_equal(tg_lua_ticks(L), 1234);
    tg_lua_set_now(L, TG_NO_TIME);
    assert_true(tg_lua_now(L) >= before);
    lua_case_run(L, "t.fixed.now(99) eq(t.time.now(), 99)\n"
                    "t.fixed.now() assert(t.time.now() > 1700000000000)\n"
                    "raises('fixed.now: argument 1 (ms): a number expected, got string', t.fixed.now, '1')\n"
                    "raises('fixed.now', t.fixed.now, 0/0)");
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_and_format),
        cmocka_unit_test(no_times),
        cmocka_unit_test(formats),
        cmocka_unit_test(now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
