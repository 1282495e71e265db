/* Broken forms of events. */
#include "tg_test.h"

#include "base/json.h"
#include "daemon/mutate.h"

static const char EVENT[] =
    "{\"type\":\"track\",\"messageId\":\"m\",\"event\":\"E\",\"n\":1,\"list\":[\"x\",{}],"
    "\"properties\":{\"type\":\"t\",\"a\":null}}";

static struct tg_buf form(int (*mutate)(struct tg_str, unsigned, struct tg_buf *), const char *json,
                          unsigned seed)
{
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    assert_int_equal(mutate(tg_str_of(json), seed, &out), TG_OK);
    assert_int_equal(tg_json_validate(tg_buf_str(&out), TG_JSON_MAX_DEPTH, NULL, NULL), TG_OK);
    return out;
}

/* Every form is JSON, keeps its type, and comes again with its seed. */
static void test_forms(void **state)
{
    (void)state;
    unsigned changed = 0;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct tg_buf one = form(tg_mutate_json, EVENT, seed), again = form(tg_mutate_json, EVENT, seed);
        assert_true(tg_str_eq(tg_buf_str(&one), tg_buf_str(&again)));
        assert_true(tg_str_is(tg_json_get(tg_buf_str(&one), "type"), "\"track\""));
        changed += !tg_str_is(tg_buf_str(&one), EVENT);
        tg_buf_fini(&one);
        tg_buf_fini(&again);
    }
    assert_true(changed > 50);
}

/* One text becomes long, each in its turn, and nothing else changes. */
static void test_long(void **state)
{
    (void)state;
    bool seen[3] = {false};
    for (unsigned seed = 0; seed < 60; seed++) {
        struct tg_buf out = form(tg_mutate_long, EVENT, seed);
        struct tg_str v = tg_buf_str(&out), properties = tg_json_get(v, "properties");
        assert_in_range(v.n, 300000, 300200);
        assert_true(tg_str_is(tg_json_get(v, "type"), "\"track\"") &&
                    tg_str_is(tg_json_get(v, "messageId"), "\"m\""));
        assert_true(tg_str_is(tg_json_get(v, "n"), "1") && tg_str_is(tg_json_get(properties, "a"), "null"));
        bool is_long[] = {tg_json_get(v, "event").n > 10, tg_json_get(v, "list").n > 20,
                          tg_json_get(properties, "type").n > 10};
        assert_int_equal(is_long[0] + is_long[1] + is_long[2], 1);
        for (int i = 0; i < 3; i++)
            seen[i] = seen[i] || is_long[i];
        tg_buf_fini(&out);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

/* Where there is no text to make long, the event stays as it is; what is no JSON has no forms. */
static void test_nothing_to_change(void **state)
{
    (void)state;
    const char *event = "{\"type\":\"track\",\"messageId\":\"m\",\"list\":[1,true]}";
    struct tg_buf out = form(tg_mutate_long, event, 5);
    assert_buf(&out, event);
    tg_buf_fini(&out);
    assert_int_equal(tg_mutate_long(TG_STR("{"), 1, &out), TG_INVALID);
    assert_int_equal(tg_mutate_json(TG_STR("{"), 1, &out), TG_INVALID);
}

/* A full buffer is told. */
static void test_too_small(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(1000);
    assert_int_equal(tg_mutate_long(tg_str_of(EVENT), 1, &out), TG_TOOBIG);
    tg_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_nothing_to_change),
        cmocka_unit_test(test_too_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
