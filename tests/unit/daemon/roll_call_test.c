/* Orders to several workers. */
#include "daemon/roll_call.h"
#include "tg_test.h"

/* It is over when all that were asked have answered. */
static void test_all(void **state)
{
    struct tg_roll_call r;
    (void)state;
    tg_roll_call_begin(&r);
    assert_true(tg_roll_call_is_over(&r));
    tg_roll_call_ask(&r, 0);
    tg_roll_call_ask(&r, TG_ROLL_CALL_MAX - 1);
    tg_roll_call_answer(&r, 0, NULL);
    assert_false(tg_roll_call_is_over(&r));
    tg_roll_call_answer(&r, TG_ROLL_CALL_MAX - 1, NULL);
    assert_true(tg_roll_call_is_over(&r));
    assert_null(tg_roll_call_failure(&r));
}

/* A failure does not end it while another worker still owes its answer, which the next order would get. */
static void test_failure_waits(void **state)
{
    struct tg_roll_call r;
    (void)state;
    tg_roll_call_begin(&r);
    tg_roll_call_ask(&r, 0);
    tg_roll_call_ask(&r, 1);
    tg_roll_call_answer(&r, 0, "disk full");
    assert_false(tg_roll_call_is_over(&r));
    tg_roll_call_answer(&r, 1, "something else");
    assert_true(tg_roll_call_is_over(&r));
    assert_string_equal(tg_roll_call_failure(&r), "disk full");
    tg_roll_call_begin(&r);
    assert_null(tg_roll_call_failure(&r));
}

/* What a worker says that was not asked is no answer; a failure without words is one all the same. */
static void test_not_asked(void **state)
{
    struct tg_roll_call r;
    (void)state;
    tg_roll_call_begin(&r);
    tg_roll_call_ask(&r, 2);
    tg_roll_call_answer(&r, 1, "not asked");
    assert_false(tg_roll_call_is_over(&r));
    assert_null(tg_roll_call_failure(&r));
    tg_roll_call_answer(&r, 2, "");
    assert_true(tg_roll_call_is_over(&r));
    assert_non_null(tg_roll_call_failure(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_failure_waits),
        cmocka_unit_test(test_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
