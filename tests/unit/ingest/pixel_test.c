#include "tg_test.h"

#include "base/json.h"
#include "ingest/pixel.h"

/* What each query becomes. */
static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int rc;
        const char *event;
    } cases[] = {
        {"a=1", TG_OK, "{\"a\":\"1\"}"},
        {"a=1&b=", TG_OK, "{\"a\":\"1\",\"b\":\"\"}"},
        {"a.b=1&c=2&a.d=3", TG_OK, "{\"a\":{\"b\":\"1\",\"d\":\"3\"},\"c\":\"2\"}"},
        {"a.b.c=1&a.b.d=2&a.e=3", TG_OK, "{\"a\":{\"b\":{\"c\":\"1\",\"d\":\"2\"},\"e\":\"3\"}}"},
        {"a=1&a=2", TG_OK, "{\"a\":\"1\"}"},
        {"a=1&a.b=2", TG_OK, "{\"a\":\"1\"}"},
        {"a.b=2&a=1", TG_OK, "{\"a\":{\"b\":\"2\"}}"},
        {"ab=1&a.b=2", TG_OK, "{\"ab\":\"1\",\"a\":{\"b\":\"2\"}}"},
        {"a%2Eb=x+y%26", TG_OK, "{\"a\":{\"b\":\"x y&\"}}"},
        {"a..b=1&.=2", TG_OK, "{\"a\":{\"\":{\"b\":\"1\"}},\"\":{\"\":\"2\"}}"},
        {"a=%FF%22%00", TG_OK, "{\"a\":\"\xef\xbf\xbd\\\"\\u0000\"}"},
        {"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.b.c=1", TG_OK,
         "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
         "\"a\":{"
         "\"a.b.c\":\"1\"}}}}}}}}}}}}}}}}"},
        {"", TG_INVALID, NULL},
        {"&&=x", TG_INVALID, NULL},
        {"data=eyJhIjoxfQ==", TG_OK, "{\"a\":1}"},
        {"x=1&data=eyJhIjoxfQ", TG_OK, "{\"a\":1}"},
        {"data=eyJhIjoxfQ%3D%3D", TG_OK, "{\"a\":1}"},
        {"data=Pj4-Pz8_", TG_OK, ">>>???"},
        {"data=Pj4+Pz8/", TG_OK, ">>>???"},
        {"data=%%%", TG_INVALID, NULL},
        {"data=a", TG_INVALID, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_buf out = TG_BUF_INIT(10000);
        assert_int_equal(tg_pixel_event(&out, tg_str_of(cases[i].query)), cases[i].rc);
        if (cases[i].event)
            assert_buf(&out, cases[i].event);
        tg_buf_fini(&out);
    }
}

/* The number of parameters is bounded, and the most that are allowed still make JSON. */
static void many(void **state)
{
    (void)state;
    struct tg_buf query = TG_BUF_INIT(100000), out = TG_BUF_INIT(100000);
    for (int i = 0; i < TG_PIXEL_MAX_PARAMETERS; i++)
        assert_ok(tg_buf_printf(&query, "p%d.q%d.r=%d&", i % 5, i % 7, i));
    assert_ok(tg_pixel_event(&out, tg_buf_str(&query)));
    assert_ok(tg_json_validate(tg_buf_str(&out), 16, NULL, NULL));
    assert_str(tg_json_path(tg_buf_str(&out), TG_STR("p4.q6.r")), "\"34\"");
    assert_ok(tg_buf_adds(&query, "one=more"));
    assert_int_equal(tg_pixel_event(&out, tg_buf_str(&query)), TG_TOOBIG);
    tg_buf_fini(&query);
    tg_buf_fini(&out);
}

static int build(void *arg)
{
    struct tg_buf out = TG_BUF_INIT(10000);
    int rc = tg_pixel_event(&out, *(struct tg_str *)arg);
    tg_buf_fini(&out);
    return rc;
}

/* Refused memory is an ordinary result. */
static void torture(void **state)
{
    (void)state;
    struct tg_str flat = TG_STR("a.b=1&c=%20&a.d=3"), data = TG_STR("data=eyJhIjoxfQ");
    tg_torture(build, &flat);
    tg_torture(build, &data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(queries), cmocka_unit_test(many),
                                       cmocka_unit_test(torture)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
