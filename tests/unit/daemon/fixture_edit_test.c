/* What `tidegate test --update` writes into a fixture: the new expectation, and nothing else changes. */
#include "tg_test.h"

#include "base/mem.h"
#include "daemon/fixture_edit.h"
#include "script/fixture.h"

#include <stdio.h>
#include <unistd.h>

static const char GOT[] = "{\"outcome\":\"skip\",\"reason\":\"no_email\",\"message\":\"x\",\"requests\":[]}";
static const char EXPECT[] = "{\n    outcome = \"skip\",\n    reason = \"no_email\",\n  }";

static void edit(const char *source, const char *got, const char *before, const char *after)
{
    struct tg_buf out = TG_BUF_INIT(100000), want = TG_BUF_INIT(100000);
    struct tg_err err;
    assert_int_equal(tg_fixture_edit(tg_str_of(source), tg_str_of(got), &out, &err), TG_OK);
    assert_int_equal(tg_buf_printf(&want, "%s%s%s", before, EXPECT, after), TG_OK);
    assert_buf(&out, tg_buf_cstr(&want));
    tg_buf_fini(&want);
    tg_buf_fini(&out);
}

/* The value of expect is replaced, whatever stands round it. */
static void test_replaces(void **state)
{
    (void)state;
    edit("return { event = {}, expect = { outcome = \"deliver\" } }", GOT,
         "return { event = {}, expect = ", " }");
    edit("-- expect = {\nreturn {\n  event = [[{\"expect\":\"}\"}]], expect = {{}, '}'}, -- why\n}\n", GOT,
         "-- expect = {\nreturn {\n  event = [[{\"expect\":\"}\"}]], expect = ", ", -- why\n}\n");
    edit("return { event = { expect = { 1 } }, expect = {}; name = 'n' }", GOT,
         "return { event = { expect = { 1 } }, expect = ", "; name = 'n' }");
    edit("--[==[ return { expect = ]] ]==] return { [ [=[a]=] ] = 1, expect = \"\\\"}\" }", GOT,
         "--[==[ return { expect = ]] ]==] return { [ [=[a]=] ] = 1, expect = ", " }");
}

/* Of several events each outcome is written, as short as it may be. */
static void test_outcomes(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(10000);
    struct tg_err err;
    static const char got[] =
        "{\"outcome\":\"deliver\",\"reason\":null,\"outcomes\":[{\"outcome\":\"deliver\",\"reason\":null},"
        "{\"outcome\":\"reject\",\"reason\":\"a\",\"message\":\"b \\\"c\\\"\"},"
        "{\"outcome\":\"retry\",\"reason\":\"d\"}],\"requests\":[]}";
    assert_int_equal(tg_fixture_edit(TG_STR("return { events = {{}, {}, {}} }"), tg_str_of(got), &out, &err),
                     TG_OK);
    assert_buf(&out,
               "return { events = {{}, {}, {}},\n  expect = {\n    outcomes = {\n      \"deliver\",\n"
               "      { \"reject\", \"a\", \"b \\\"c\\\"\" },\n      { \"retry\", \"d\" },\n    },\n  }, }");
    tg_buf_fini(&out);
}

/* A fixture that expects nothing yet gets the field at its end. */
static void test_adds(void **state)
{
    (void)state;
    edit("return {\n  event = {},\n}\n", GOT, "return {\n  event = {},\n  expect = ", ",\n}\n");
    edit("return { event = {} }", GOT, "return { event = {},\n  expect = ", ", }");
}

/* What was written is read back as what came out: odd names, control characters, numbers, empty tables. */
static void test_reads_back(void **state)
{
    (void)state;
    const char got[] =
        "{\"outcome\":\"deliver\",\"reason\":null,\"requests\":[{\"method\":\"POST\",\"json\":"
        "{\"end\":1,\"a b\":\"\\u0001\\\"\\\\\\n7\",\"\xc3\xa9\":-1.5e-7,\"list\":[true,{},[]]}}]}";
    struct tg_buf out = TG_BUF_INIT(100000);
    struct tg_err err;
    struct tg_fixture f;
    char path[] = "/tmp/tidegate-fixture-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(tg_fixture_edit(TG_STR("return { event = {} }"), tg_str_of(got), &out, &err), TG_OK);
    assert_int_equal(write(fd, out.data, out.len), out.len);
    close(fd);
    assert_int_equal(tg_fixture_load(path, &f, &err), TG_OK);
    assert_string_equal(f.expect,
                        "{\"outcome\":\"deliver\",\"requests\":[{\"json\":{\"a b\":\"\\u0001\\\"\\\\\\n7\","
                        "\"end\":1,\"list\":[true,{},{}],\"\xc3\xa9\":-1.5e-7},\"method\":\"POST\"}]}");
    tg_fixture_fini(&f);
    unlink(path);
    tg_buf_fini(&out);
}

/* What a fixture cannot say, and what is no fixture, is refused and leaves nothing behind. */
static void test_refuses(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(100000);
    struct tg_err err;
    const char null[] = "{\"outcome\":\"deliver\",\"requests\":[{\"json\":{\"a\":null}}]}";
    assert_int_equal(tg_fixture_edit(TG_STR("return { event = {} }"), tg_str_of(null), &out, &err),
                     TG_INVALID);
    assert_non_null(strstr(err.msg, "null"));
    static const char *const no[] = {
        "", "return 1", "return {", "return { expect = ", "return { expect = }", "]]", "[[", "--[["};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(tg_fixture_edit(tg_str_of(no[i]), tg_str_of(GOT), &out, &err), TG_INVALID);
    assert_int_equal(out.len, 0);
    tg_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaces),   cmocka_unit_test(test_outcomes), cmocka_unit_test(test_adds),
        cmocka_unit_test(test_reads_back), cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
