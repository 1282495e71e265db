/* What a fixture's author reads when a request is not what was expected, and the broken forms that every
 * fixture's event is sent in. */
#include "tg_test.h"

#include "base/json.h"
#include "daemon/json_diff.h"
#include "daemon/mutate.h"

static void expect(const char *want, const char *got, const char *lines)
{
    struct tg_buf out = TG_BUF_INIT(10000);
    unsigned n = tg_json_diff(tg_str_of(want), tg_str_of(got), 10, &out);
    assert_int_equal(n > 0, *lines != '\0');
    assert_buf(&out, lines);
    tg_buf_fini(&out);
}

/* Order of members, ways of writing and the form of what is empty make no difference. */
static void test_same(void **state)
{
    (void)state;
    expect("{\"a\":1,\"b\":[true,null]}", "{\"b\":[true,null],\"a\":1.0}", "");
    expect("{\"a\":\"\\u00e9\",\"\\u0062\":{}}", "{\"a\":\"\xc3\xa9\",\"b\":[]}", "");
    expect("12345678901234567890", "12345678901234567890", "");
}

/* Each place that differs has its line. */
static void test_different(void **state)
{
    (void)state;
    expect("{\"a\":[{\"b\":\"76\"}]}", "{\"a\":[{\"b\":76}]}", "      a[1].b: expected \"76\", got 76\n");
    expect("{\"a\":1}", "{\"b\":2}",
           "      a: expected 1, got nothing\n      b: got 2, which is not expected\n");
    expect("[1,2]", "[1]", "      [2]: expected 2, got nothing\n");
    expect("[1]", "[1,2]", "      [2]: got 2, which is not expected\n");
    expect("12345678901234567890", "12345678901234567891",
           "      expected 12345678901234567890, got 12345678901234567891\n");
    expect("null", "{}", "      expected null, got {}\n");
}

/* Texts of several lines are compared by line, and lines of JSON as JSON. */
static void test_lines(void **state)
{
    (void)state;
    expect(
        "{\"body\":\"one\\ntwo\\n\"}", "{\"body\":\"one\\nthree\\nfour\\n\"}",
        "      body line 2: expected two, got three\n      body line 3: got four, which is not expected\n");
    expect("\"{\\\"a\\\":1,\\\"b\\\":2}\\n{}\\n\"", "\"{\\\"a\\\":1,\\\"b\\\":3}\\n{}\\n\"",
           "      line 1.b: expected 2, got 3\n");
    expect("\"{\\\"a\\\":1}\\n\"", "\"{\\\"a\\\": 1}\\n\"",
           "      line 1: expected {\"a\":1}, got {\"a\": 1}\n");
    expect("\"a\\n\"", "\"a\"", "      only one of the two ends in a line feed\n");
    expect("\"a\\nb\"", "\"\"",
           "      line 1: expected a, got nothing\n      line 2: expected b, got nothing\n");
}

/* Lines are bounded, the count is not. */
static void test_bounded(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(10000);
    assert_int_equal(tg_json_diff(TG_STR("[1,2,3]"), TG_STR("[4,5,6]"), 1, &out), 3);
    assert_buf(&out, "      [1]: expected 1, got 4\n");
    tg_buf_fini(&out);
}

/* A broken form is JSON, keeps the type, is the same for the same seed and in time another one. */
static void test_mutate(void **state)
{
    (void)state;
    static const char event[] = "{\"type\":\"track\",\"event\":\"Buy\",\"context\":{\"traits\":{\"email\":"
                                "\"a\"}},\"properties\":{\"list\":[1,2,{\"a\":null}]}}";
    unsigned changed = 0;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct tg_buf a = TG_BUF_INIT(10000), b = TG_BUF_INIT(10000);
        assert_ok(tg_mutate_json(tg_str_of(event), seed, &a));
        assert_ok(tg_mutate_json(tg_str_of(event), seed, &b));
        assert_true(tg_str_eq(tg_buf_str(&a), tg_buf_str(&b)));
        assert_ok(tg_json_validate(tg_buf_str(&a), TG_JSON_MAX_DEPTH, NULL, NULL));
        assert_str(tg_json_get(tg_buf_str(&a), "type"), "\"track\"");
        changed += !tg_str_is(tg_buf_str(&a), event);
        tg_buf_fini(&a);
        tg_buf_fini(&b);
    }
    assert_true(changed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),    cmocka_unit_test(test_different), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bounded), cmocka_unit_test(test_mutate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
