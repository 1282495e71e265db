#include "deliver/rest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 100000 };

static int64_t rest_after(int64_t ms)
{
    struct tg_rest rest = {.suspect = 1};
    return tg_rest_begin(&rest, ms * 1000, NOW);
}

/* What the wall clock says once may be the machine's doing: the rest is as long as the call was, and nobody
 * is told that the script is slow. */
static void first_time(void **state)
{
    (void)state;
    struct tg_rest rest = {0};
    assert_int_equal(tg_rest_begin(&rest, 50000, NOW), 50);
    assert_int_equal(tg_rest_ends(&rest, NOW), NOW + 50);
    assert_true(rest.suspect > 0);
    assert_false(rest.sure);
    (void)tg_rest_begin(&rest, 50000, NOW);
    assert_true(rest.sure);
}

/* A new script is measured by CPU time from its first call on. */
static void new_script(void **state)
{
    (void)state;
    struct tg_rest rest = {0};
    tg_rest_watch(&rest);
    assert_int_equal(tg_rest_begin(&rest, 50000, NOW), rest_after(50));
}

/* Long calls take less than a two-hundredth of busy neighbours' time; calls no longer than a turn half of it.
 */
static void longer_calls_rest_longer(void **state)
{
    (void)state;
    assert_int_equal(rest_after(2), 2);
    assert_int_equal(rest_after(4), 4);
    for (int64_t ms = 5, last = 0; ms <= 100; ms++) {
        assert_true(rest_after(ms) > last || last == 60000);
        last = rest_after(ms);
    }
    for (int64_t ms = 40; ms <= 100; ms++)
        assert_true(200 * ms <= rest_after(ms));
}

/* A destination is never forgotten, whatever it has done. */
static void has_an_end(void **state)
{
    (void)state;
    assert_int_equal(rest_after(1000000), 60000);
}

/* Once the others have been quiet for as long as the call takes, it goes on. */
static void quiet_neighbours(void **state)
{
    (void)state;
    struct tg_rest rest = {.suspect = 1};
    (void)tg_rest_begin(&rest, 50000, NOW);
    assert_true(tg_rest_ends(&rest, 0) <= NOW); /* there are none */
    assert_true(tg_rest_ends(&rest, NOW - 50) <= NOW);
    assert_int_equal(tg_rest_ends(&rest, NOW - 49), NOW + 1);
    assert_int_equal(tg_rest_ends(&rest, NOW + 200), NOW + 250);
    assert_int_equal(tg_rest_ends(&rest, NOW + 60000), rest.until);
}

/* Who has never overdrawn does not rest. */
static void no_rest(void **state)
{
    (void)state;
    const struct tg_rest rest = {0};
    assert_true(tg_rest_ends(&rest, NOW) <= NOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_time), cmocka_unit_test(longer_calls_rest_longer),
        cmocka_unit_test(has_an_end), cmocka_unit_test(quiet_neighbours),
        cmocka_unit_test(no_rest),    cmocka_unit_test(new_script),
    };
    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
