#include "../tg_test.h"

#include "base/json.h"
#include "daemon/request_lines.h"

static void lines_of(const char *text, const char *want)
{
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    assert_ok(tg_request_lines_of_text(tg_str_of(text), &out));
    tg_assert_str(tg_buf_str(&out), want, __FILE__, __LINE__);
    tg_buf_fini(&out);
}

static void lines_of_json(const char *json, const char *want)
{
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    struct tg_str value;
    assert_ok(tg_json_validate(tg_str_of(json), TG_JSON_MAX_DEPTH, &value, NULL));
    assert_ok(tg_request_lines_of_json(value, &out));
    tg_assert_str(tg_buf_str(&out), want, __FILE__, __LINE__);
    tg_buf_fini(&out);
}

#define FORM                                                                                                 \
    "POST https://h/p\nheader A: 1\nheader Content-Type: application/x-www-form-urlencoded\n"                \
    "query a = x y\nquery b = 2\nform n = 1\nform n = 2\nform z = &\n"
#define JSON                                                                                                 \
    "PUT https://h/p\njson items[1].sku = \"x\"\njson items[1].tags = []\njson items[2] = null\n"            \
    "json total = 76.50\n"

/* The text that a dead letter keeps and what a trial shows give the same lines. */
static void test_same_lines(void **state)
{
    (void)state;
    lines_of(
        "POST https://h/p?b=2&a=x+y\nContent-Type: application/x-www-form-urlencoded\nA: 1\n\nz=%26&n=1&n=2",
        FORM);
    lines_of_json(
        "{\"method\":\"POST\",\"url\":\"https://h/p\",\"query\":{\"a\":\"x y\",\"b\":\"2\"},\"headers\":"
        "{\"Content-Type\":\"application/x-www-form-urlencoded\",\"A\":\"1\"},"
        "\"form\":{\"n\":[\"1\",\"2\"],\"z\":\"&\"}}",
        FORM);
    lines_of("# item 2 of the 3 of its batch\nPUT "
             "https://h/p\n\n{\"total\":76.50,\"items\":[{\"tags\":[],\"sku\":\"x\"},null]}",
             JSON);
    lines_of_json("{\"method\":\"PUT\",\"url\":\"https://h/p\",\"json\":"
                  "{\"items\":[{\"sku\":\"x\",\"tags\":[]},null],\"total\":76.50}}",
                  JSON);
}

/* Bodies that are neither, empty texts, scalars, bytes that are no text. */
static void test_odd_bodies(void **state)
{
    (void)state;
    lines_of("", "");
    lines_of("\n\n", "\n");
    lines_of("GET x", "GET x\n");
    lines_of("POST x\n\na\nb\r", "POST x\nbody a\nbody b \n");
    lines_of("POST x\n\n7", "POST x\njson 7\n");
    lines_of("POST x?\n\n{", "POST x\nbody {\n");
    lines_of_json("{\"method\":\"GET\",\"url\":\"x\",\"body64\":\"/w==\"}",
                  "GET x\nbody (base64) \"/w==\"\n");
    lines_of_json("{\"method\":\"GET\",\"url\":\"x\",\"body\":\"a\\nb\"}", "GET x\nbody a\nbody b\n");
}

static void diff_of(const char *a, const char *b, const char *want)
{
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    assert_ok(tg_line_diff(tg_str_of(a), tg_str_of(b), &out));
    tg_assert_str(tg_buf_str(&out), want, __FILE__, __LINE__);
    tg_buf_fini(&out);
}

/* What stays, what goes, what comes. */
static void test_diff(void **state)
{
    (void)state;
    diff_of("a\nb\nc\n", "a\nc\nd\n", "  a\n- b\n  c\n+ d\n");
    diff_of("", "a\n", "+ a\n");
    diff_of("a\n", "", "- a\n");
    diff_of("", "", "");
    diff_of("x = 1\n", "x = 2\n", "- x = 1\n+ x = 2\n");
}

/* Texts of thousands of lines are shown as wholly different instead of being compared for ever. */
static void test_long_diff(void **state)
{
    (void)state;
    struct tg_buf a = TG_BUF_INIT(1 << 20), out = TG_BUF_INIT(1 << 20);
    for (int i = 0; i < 2001; i++)
        assert_ok(tg_buf_adds(&a, "a\n"));
    assert_ok(tg_line_diff(tg_buf_str(&a), tg_buf_str(&a), &out));
    assert_int_equal(out.len, 2 * a.len * 2);
    tg_buf_fini(&a);
    tg_buf_fini(&out);
}

static int both(void *arg)
{
    (void)arg;
    struct tg_buf out = TG_BUF_INIT(1 << 20), diff = TG_BUF_INIT(1 << 20);
    int rc = tg_request_lines_of_text(TG_STR("POST u?a=1\nX: 1\n\n{\"a\":[1,{\"b\":2}]}"), &out);
    if (!rc)
        rc = tg_line_diff(tg_buf_str(&out), TG_STR("POST u\n"), &diff);
    tg_buf_fini(&out);
    tg_buf_fini(&diff);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    tg_torture(both, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_lines), cmocka_unit_test(test_odd_bodies), cmocka_unit_test(test_diff),
        cmocka_unit_test(test_long_diff),  cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
