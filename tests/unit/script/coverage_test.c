/* What fixtures touched, and what the report says of the rest. */
#include "tg_test.h"

#include "base/mem.h"
#include "script/coverage.h"

static int set_up(void **state)
{
    struct tg_coverage *c;
    assert_int_equal(tg_coverage_new(&c), TG_OK);
    tg_coverage_on(c, true);
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    struct tg_coverage *c = *state;
    tg_coverage_free(&c);
    assert_null(c);
    return 0;
}

static void assert_report(const struct tg_coverage *c, const char *want)
{
    struct tg_buf out = TG_BUF_INIT(1 << 16);
    unsigned n, lines = 0;
    for (const char *p = want; *p; p++)
        lines += *p == '\n';
    assert_int_equal(tg_coverage_report(c, "- ", &out, &n), TG_OK);
    if (!tg_str_is(tg_buf_str(&out), want))
        fail_msg("got\n%.*swant\n%s", TG_STR_ARG(tg_buf_str(&out)), want);
    assert_int_equal(n, lines);
    tg_buf_fini(&out);
}

/* A type with a handler is touched by a fixture of that type. */
static void test_handlers(void **state)
{
    struct tg_coverage *c = *state;
    tg_coverage_contract(c, TG_STR("{\"accepts\":[\"track\",\"page\",\"delete\"]}"));
    assert_report(c, "- handler track\n- handler page\n- handler delete\n");
    tg_coverage_handler(c, TG_PAGE);
    assert_report(c, "- handler track\n- handler delete\n");
}

static const char CONTRACT[] = "{\"settings\":{\"key\":{\"type\":\"string\",\"required\":true},"
                               "\"note\":{\"type\":\"string\",\"default\":\"\"},"
                               "\"mode\":{\"type\":\"enum\",\"values\":[\"a\",\"b\"],\"default\":\"a\"},"
                               "\"flag\":{\"type\":\"boolean\",\"default\":false},"
                               "\"bare\":{\"type\":\"boolean\"}}}";

/* A setting is to be given and, where it has a default, to be left out; an enum and a boolean have each
 * value, by their default too. */
static void test_settings(void **state)
{
    struct tg_coverage *c = *state;
    struct tg_str contract = tg_str_of(CONTRACT);
    tg_coverage_settings(c, contract, TG_STR("{\"key\":\"k\"}"));
    assert_report(c, "- setting note\n- setting mode = b\n- setting flag = true\n- setting bare = true\n"
                     "- setting bare = false\n");
    tg_coverage_settings(c, contract,
                         TG_STR("{\"key\":\"k\",\"note\":\"\",\"mode\":\"b\",\"flag\":true,\"bare\":true}"));
    assert_report(c, "- setting bare = false\n");
    tg_coverage_settings(c, contract, TG_STR("{\"bare\":false}"));
    assert_report(c, "");
}

/* A setting that every fixture gives has a default that nothing shows. */
static void test_default_of_a_setting(void **state)
{
    struct tg_coverage *c = *state;
    tg_coverage_settings(c, TG_STR("{\"settings\":{\"note\":{\"type\":\"string\",\"default\":\"\"}}}"),
                         TG_STR("{\"note\":\"x\"}"));
    assert_report(c, "- setting note left out\n");
}

/* A row that never filled its field is told alone; of one that did, the paths that never led to anything, its
 * default and that it was never missing. */
static void test_rows(void **state)
{
    struct tg_coverage *c = *state;
    struct tg_coverage_row row = {"init.lua:5: ", 2, "amount"};
    tg_coverage_row(c, &row, false);
    tg_coverage_part(c, &row, 1, "from a", false);
    tg_coverage_part(c, &row, 2, "from b", false);
    tg_coverage_part(c, &row, TG_COVERAGE_DEFAULT, "default", true);
    tg_coverage_part(c, &row, TG_COVERAGE_REQUIRED, "required", false);
    assert_report(c, "- map init.lua:5: row 2 (amount)\n- map init.lua:5: row 2 (amount) required\n");
    tg_coverage_row(c, &row, true);
    tg_coverage_part(c, &row, 2, "from b", true);
    assert_report(c, "- map init.lua:5: row 2 (amount) from a\n- map init.lua:5: row 2 (amount) required\n");
    tg_coverage_part(c, &row, 1, "from another place that a setting names", true);
    tg_coverage_part(c, &row, TG_COVERAGE_REQUIRED, "required", true);
    assert_report(c, "");
}

/* Broken forms of events prove nothing. */
static void test_off(void **state)
{
    struct tg_coverage *c = *state;
    struct tg_coverage_row row = {"init.lua:5: ", 1, "a"};
    tg_coverage_source(c, "init.lua", TG_STR("skip 'word'"));
    tg_coverage_row(c, &row, false);
    tg_coverage_on(c, false);
    tg_coverage_row(c, &row, true);
    tg_coverage_reason(c, "skip", "word");
    assert_report(c, "- map init.lua:5: row 1 (a)\n- reason skip word (init.lua)\n");
}

/* Reasons are the words that stand where the script ends an event or judges an answer; nothing in comments,
 * other texts or calls of other names counts. */
static void test_reasons(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"skip('a') tidegate.reject \"b\" retry ( \"c\" , 5) skip \"a\" reject 'a'",
         "- reason skip a (f)\n- reason reject b (f)\n- reason retry c (f)\n- reason reject a (f)\n"},
        {"return 'reject', \"d\" ; x = { \"park\", 'e' }; return 'ok', 'f'",
         "- reason reject d (f)\n- reason park e (f)\n"},
        {"{ required = 'g', reason = 'h', other = 'i' }", "- reason skip g (f)\n- reason h (f)\n"},
        {"-- skip 'j'\n--[[ skip 'k' ]] --[=[ ]] skip 'l' ]=] skip 'm'", "- reason skip m (f)\n"},
        {"x = [[ skip 'n' ]] .. \"skip 'o'\" .. 'a\\'skip' skip(name) skip 'p q' skip ''", ""},
        {"reject('http_' .. status)", "- reason reject http_ (f)\n"},
        {"skip '", ""},
        {"skip [[", ""},
        {"--[[", ""},
        {"-", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tg_coverage *c;
        assert_int_equal(tg_coverage_new(&c), TG_OK);
        tg_coverage_source(c, "f", tg_str_of(rows[i].text));
        assert_report(c, rows[i].want);
        tg_coverage_free(&c);
    }
}

/* A reason that came is touched, with its outcome where the script says that; one that the script completes,
 * by any that begins so. */
static void test_reasons_seen(void **state)
{
    struct tg_coverage *c = *state;
    tg_coverage_source(
        c, "f",
        TG_STR("skip 'one' reject 'one' skip 'on' reject('http_' .. status) x = { reason = 'long' }"));
    tg_coverage_reason(c, "skip", "one");
    tg_coverage_reason(c, "reject", "http_404");
    tg_coverage_reason(c, "reject", "long");
    tg_coverage_reason(c, "deliver", "");
    assert_report(c, "- reason reject one (f)\n- reason skip on (f)\n");
}

/* Out of memory at any point: the report says so instead of a list that is too short. */
static void test_torture(void **state)
{
    bool refused = true;
    (void)state;
    for (long n = 1; refused; n++) {
        struct tg_coverage *c = NULL;
        struct tg_coverage_row row = {"", 1, "a"};
        struct tg_buf out = TG_BUF_INIT(1 << 16);
        unsigned lines;
        tg_mem_fail_after(n);
        int rc = tg_coverage_new(&c);
        if (!rc) {
            tg_coverage_on(c, true);
            tg_coverage_contract(c, tg_str_of(CONTRACT));
            tg_coverage_settings(c, tg_str_of(CONTRACT), TG_STR("{}"));
            tg_coverage_row(c, &row, false);
            tg_coverage_part(c, &row, 1, "from a", true);
            tg_coverage_source(c, "f", TG_STR("skip 'one'"));
            tg_coverage_reason(c, "skip", "one");
            rc = tg_coverage_report(c, "", &out, &lines);
        }
        refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_int_equal(rc, refused ? TG_NOMEM : TG_OK);
        tg_buf_fini(&out);
        tg_coverage_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handlers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_default_of_a_setting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_off, set_up, tear_down),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test_setup_teardown(test_reasons_seen, set_up, tear_down),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
