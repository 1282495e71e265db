#include "../tg_test.h"

#include "base/event_filter.h"
#include "base/json.h"

#include <stdio.h>

static struct tg_str valid(const char *json)
{
    struct tg_str value;
    assert_ok(tg_json_validate(tg_str_of(json), 64, &value, NULL));
    return value;
}

/* What a filter leaves of properties, traits and context. */
static void test_removes_and_keeps_members(void **state)
{
    static const struct {
        const char *spec, *body, *left;
    } cases[] = {
        {"{}", "{ \"properties\":{\"a\":1 } }", "{ \"properties\":{\"a\":1 } }"},
        {"{\"drop\":[\"properties.a\"]}", "{\"properties\":{\"a\":1,\"b\":{\"a\":2}}}",
         "{\"properties\":{\"b\":{\"a\":2}}}"},
        {"{\"drop\":[\"properties.b.a\",\"context.ip\"]}",
         "{\"event\":\"E\",\"properties\":{\"a\":1.50,\"b\":{\"a\":2,\"c\" : "
         "[]}},\"context\":{\"ip\":\"1\"}}",
         "{\"event\":\"E\",\"properties\":{\"a\":1.50,\"b\":{\"c\" : []}},\"context\":{}}"},
        {"{\"drop\":[\"traits.b\"]}", "{\"properties\":{\"b\":1},\"traits\":{\"b\":{\"c\":1},\"bb\":2}}",
         "{\"properties\":{\"b\":1},\"traits\":{\"bb\":2}}"},
        {"{\"allow\":[\"properties.a\",\"properties.c.d\"]}",
         "{\"userId\":\"u\",\"properties\":{\"a\":{\"x\":1},\"b\":2,\"c\":{\"d\":3,\"e\":4},\"d\":1},"
         "\"traits\":{"
         "\"a\":1},\"context\":{\"ip\":1}}",
         "{\"userId\":\"u\",\"properties\":{\"a\":{\"x\":1},\"c\":{\"d\":3}},\"traits\":{},\"context\":{"
         "\"ip\":1}}"},
        {"{\"allow\":[\"properties.c.d\"]}", "{\"properties\":{\"c\":[1]}}", "{\"properties\":{}}"},
        {"{\"allow\":[\"properties.a\"],\"drop\":[\"properties.a.x\"]}",
         "{\"properties\":{\"a\":{\"x\":1,\"y\":2},\"b\":1}}", "{\"properties\":{\"a\":{\"y\":2}}}"},
        {"{\"allow\":[]}", "{\"properties\":{\"a\":1}}", "{\"properties\":{}}"},
        {"{\"drop\":[\"properties.a b.\\u00e9\"]}", "{\"properties\":{\"a b\":{\"\\u00E9\":1,\"e\":2}}}",
         "{\"properties\":{\"a b\":{\"e\":2}}}"},
        {"{\"drop\":[\"properties.a\"]}", "{\"propertie\\u0073\":{\"\\u0061\":1}}",
         "{\"propertie\\u0073\":{}}"},
        {"{\"drop\":[\"properties.a\"]}", "{\"properties\":{\"a\":1},\"properties\":{\"a\":2}}",
         "{\"properties\":{},\"properties\":{}}"},
        {"{\"drop\":[\"properties.a\"]}", "{\"properties\":[]}", "{\"properties\":[]}"},
        {"{\"drop\":[\"properties.a\"]}", "{}", "{}"},
    };
    (void)state;
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tg_event ev = {.message_id = TG_STR("m"), .body = valid(cases[i].body)}, out;
        const char *held = NULL;
        assert_ok(tg_filter_check(valid(cases[i].spec), NULL));
        assert_ok(tg_filter_apply(valid(cases[i].spec), &ev, &bytes, &out, &held));
        assert_null(held);
        assert_str(out.body, cases[i].left);
        assert_ok(tg_json_validate(out.body, 64, NULL, NULL));
    }
    tg_buf_fini(&bytes);
}

/* The context that ingest completed is what the destination sees: it is pruned too. */
static void test_prunes_the_completed_context(void **state)
{
    (void)state;
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX);
    struct tg_event out,
        ev = {.body = valid("{\"context\":{\"a\":1}}"), .context = valid("{\"a\":1,\"ip\":\"203.0.113.7\"}")};
    const char *held = NULL;
    assert_ok(tg_filter_apply(valid("{\"drop\":[\"context.ip\"]}"), &ev, &bytes, &out, &held));
    assert_str(out.context, "{\"a\":1}");
    assert_str(out.body, "{\"context\":{\"a\":1}}");
    tg_buf_fini(&bytes);
}

/* Names choose among track events only. */
static void test_chooses_by_name(void **state)
{
    (void)state;
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX);
    struct tg_str spec = valid("{\"events\":[\"Order \\\"Done\\\"\",\"B\"]}");
    struct tg_event out, ev = {.type = TG_TRACK, .name = TG_STR("Order \"Done\""), .body = valid("{}")};
    const char *held = NULL;
    assert_ok(tg_filter_apply(spec, &ev, &bytes, &out, &held));
    assert_null(held);
    ev.name = TG_STR("b");
    assert_ok(tg_filter_apply(spec, &ev, &bytes, &out, &held));
    assert_string_equal(held, "filtered");
    ev.type = TG_PAGE;
    assert_ok(tg_filter_apply(spec, &ev, &bytes, &out, &held));
    assert_null(held);
    tg_buf_fini(&bytes);
}

/* The share is about what was asked for, and each messageId always falls on the same side. */
static void test_samples_by_message_id(void **state)
{
    static const struct {
        const char *spec;
        int least, most;
    } cases[] = {{"{\"sample\":0}", 0, 0},
                 {"{\"sample\":1}", 10000, 10000},
                 {"{\"sample\":0.1}", 850, 1150},
                 {"{\"sample\":0.5}", 4800, 5200}};
    (void)state;
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int passed = 0;
        for (int m = 0; m < 10000; m++) {
            char id[32];
            struct tg_event out, ev = {.body = valid("{}")};
            const char *first = NULL, *again = NULL;
            ev.message_id = tg_str_n(id, (size_t)snprintf(id, sizeof id, "message-%d", m));
            assert_ok(tg_filter_apply(valid(cases[i].spec), &ev, &bytes, &out, &first));
            assert_ok(tg_filter_apply(valid(cases[i].spec), &ev, &bytes, &out, &again));
            assert_ptr_equal(first, again);
            assert_true(!first || strcmp(first, "sampled") == 0);
            passed += !first;
        }
        assert_in_range(passed, cases[i].least, cases[i].most);
    }
    tg_buf_fini(&bytes);
}

/* What is wrong with a filter is said by name. */
static void test_refuses_what_means_nothing(void **state)
{
    static const struct {
        const char *spec, *word;
    } cases[] = {
        {"1", "table"},
        {"[1]", "list says nothing"},
        {"{\"smaple\":1}", "smaple"},
        {"{\"sample\":2}", "sample"},
        {"{\"sample\":\"1\"}", "sample"},
        {"{\"drop\":\"properties.a\"}", "drop"},
        {"{\"drop\":[1]}", "drop"},
        {"{\"drop\":[\"email\"]}", "begin with"},
        {"{\"drop\":[\"properties.\"]}", "begin with"},
        {"{\"allow\":[\"context.ip\"]}", "begin with"},
        {"{\"events\":{\"a\":1}}", "events"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tg_err err = {0};
        assert_int_equal(tg_filter_check(valid(cases[i].spec), &err), TG_INVALID);
        assert_non_null(strstr(err.msg, cases[i].word));
    }
}

static int apply_once(void *arg)
{
    (void)arg;
    struct tg_buf bytes = TG_BUF_INIT(SIZE_MAX);
    struct tg_event out, ev = {.body = valid("{\"properties\":{\"\\u0061\":1,\"b\":{\"c\":1}}}")};
    const char *held;
    int rc = tg_filter_apply(valid("{\"drop\":[\"properties.b.\\u0063\"],\"events\":[\"\\u0061\",\"\"]}"),
                             &ev, &bytes, &out, &held);
    tg_buf_fini(&bytes);
    return rc;
}

/* Out of memory at any point is said and leaks nothing. */
static void test_survives_want_of_memory(void **state)
{
    (void)state;
    tg_torture(apply_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removes_and_keeps_members),
        cmocka_unit_test(test_prunes_the_completed_context),
        cmocka_unit_test(test_chooses_by_name),
        cmocka_unit_test(test_samples_by_message_id),
        cmocka_unit_test(test_refuses_what_means_nothing),
        cmocka_unit_test(test_survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
