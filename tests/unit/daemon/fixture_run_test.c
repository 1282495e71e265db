/* One fixture of a script, and what `tidegate test` says of fixtures that touch too little. */
#include "tg_test.h"

#include "base/mem.h"
#include "daemon/fixture_run.h"

#include <stdio.h>
#include <unistd.h>

static const char SCRIPT[] =
    "local t = require 'tidegate'\n"
    "local rows = { { to = 'a', from = 'properties.a' }, { to = 'b', from = 'properties.b' } }\n"
    "local function post(event, settings)\n"
    "  if event.properties.name ~= nil and type(event.properties.name) ~= 'string' then error 'odd name' "
    "end\n"
    "  t.deliver { url = 'https://example.com/', json = t.map(event, rows) }\n"
    "end\n"
    "return { name = 'Test', hosts = { 'example.com' }, on = { track = post, page = post },\n"
    "  settings = { one = { type = 'string', help = '1' }, two = { type = 'string', help = '2' } } }\n";

struct world {
    struct tg_script_file file;
    struct tg_script_source script, library;
    struct tg_script_file core;
    struct tg_coverage *coverage;
};

static int set_up(void **state)
{
    struct world *w = tg_calloc(1, sizeof *w);
    assert_non_null(w);
    w->file = (struct tg_script_file){"init.lua", "init.lua", TG_STR(SCRIPT)};
    w->script = (struct tg_script_source){"test", &w->file, 1};
    w->core =
        (struct tg_script_file){"tidegate.lua", "tidegate.lua", TG_STR("return require 'tidegate.core'")};
    w->library = (struct tg_script_source){"tidegate", &w->core, 1};
    assert_int_equal(tg_coverage_new(&w->coverage), TG_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    tg_coverage_free(&w->coverage);
    tg_free(w);
    return 0;
}

static bool run(struct world *w, const char *fixture, unsigned forms, char *report, size_t size)
{
    char path[] = "/tmp/tidegate-fixture-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, fixture, strlen(fixture)), strlen(fixture));
    close(fd);
    struct tg_fixture_in in = {&w->library, &w->script, path, forms, w->coverage};
    struct tg_fixture_result r;
    tg_fixture_run(&in, &r);
    bool passed = r.passed;
    (void)snprintf(report, size, "%.*s", TG_STR_ARG(tg_buf_str(&r.report)));
    tg_fixture_result_fini(&r);
    unlink(path);
    return passed;
}

#define FIXTURE(rest)                                                                                        \
    "return { settings = { one = 'x' }, event = { type = 'track', userId = 'u', event = 'E', properties = "  \
    "{ "                                                                                                     \
    "a = 1, name = 'n' } }, " rest " }"
#define GOOD                                                                                                 \
    "expect = { requests = { { method = 'POST', url = 'https://example.com/', headers = { ['Content-Type'] " \
    "= 'application/json' }, json = { a = 1 } } } }"

/* Handlers, settings and rows that no fixture touched are named; those that one did are not. */
static void test_coverage(void **state)
{
    struct world *w = *state;
    char report[4096];
    struct tg_buf out = TG_BUF_INIT(4096);
    unsigned n;
    assert_true(run(w, FIXTURE(GOOD), 0, report, sizeof report));
    assert_int_equal(tg_coverage_report(w->coverage, "- ", &out, &n), TG_OK);
    assert_buf(&out, "- handler page\n- setting two\n- map test/init.lua:5: row 2 (b)\n");
    assert_int_equal(n, 3);
    tg_buf_fini(&out);
}

#define SEVERAL(rest)                                                                                        \
    "return { events = { { type = 'track', userId = 'u', event = 'E', properties = { b = 1 } }, "            \
    "'{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"b\":2.50}}' }, "                                 \
    "responses = { { status = 200 }, { status = 422 } }, " rest " }"
#define REQUEST(body)                                                                                        \
    "{ method = 'POST', url = 'https://example.com/', headers = { ['Content-Type'] = 'application/json' }, " \
    "json = { b = " body " } }"

/* Several events in one fixture: an outcome for each, however it is written, and what went out. */
static void test_several(void **state)
{
    struct world *w = *state;
    char report[4096];
    struct tg_buf out = TG_BUF_INIT(4096);
    unsigned n;
    assert_true(
        run(w,
            SEVERAL("expect = { outcomes = { 'deliver', { 'reject', 'http_422' } }, requests = { " REQUEST(
                "1") ", " REQUEST("2.5") " } }"),
            TG_BROKEN_FORMS, report, sizeof report));
    assert_int_equal(tg_coverage_report(w->coverage, "- ", &out, &n), TG_OK);
    assert_buf(&out, "- setting one\n- setting two\n- map test/init.lua:5: row 1 (a)\n"); /* both handlers */
    tg_buf_fini(&out);
    assert_false(
        run(w,
            SEVERAL("expect = { outcomes = { { outcome = 'deliver' }, { outcome = 'retry', reason = 'x', "
                    "message = 'y' } }, requests = {} }"),
            0, report, sizeof report));
    assert_non_null(strstr(report, "outcomes[2].outcome"));
    assert_non_null(strstr(report, "expected \"retry\", got \"reject\""));
    assert_non_null(strstr(report, "outcomes[2].message"));
    assert_null(strstr(report, "outcomes[1]"));
}

/* A handler that raises on a broken form of the event fails the fixture, though the event itself goes well.
 */
static void test_broken_forms(void **state)
{
    char report[4096];
    assert_false(run(*state, FIXTURE(GOOD), TG_BROKEN_FORMS, report, sizeof report));
    assert_non_null(strstr(report, "odd name"));
}

/* What is wrong with the fixture itself is told, and it fails. */
static void test_bad_fixtures(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {FIXTURE("name = 'n'"), "expect: a fixture says what it expects"},
        {"return { event = { type = 'track', userId = 'u', event = 'E', properties = { name = 1 } } }",
         "it said: test/init.lua:4: odd name"}, /* though it expects nothing yet */
        {FIXTURE("expect = { outcome = 'skip' }"), "expected \"skip\", got \"deliver\""},
        {FIXTURE("at = 'noon', " GOOD), "'noon' is not a time"},
        {FIXTURE("expect = { outcom = 'skip' }"), "expect: 'outcom' is not for one event"},
        {FIXTURE("expect = { outcomes = { 'skip' } }"), "expect: 'outcomes' is not for one event"},
        {FIXTURE("events = { {} }, " GOOD), "event, or events: not both"},
        {SEVERAL("expect = { outcome = 'deliver' }"), "expect: 'outcome' is not for several events"},
        {SEVERAL("expect = { outcomes = { 'deliver' } }"), "a list of 2 is wanted, one for each event"},
        {"return { events = {}, expect = {} }", "events: a list of events is wanted"},
        {"return { events = { 'x' }, expect = {} }", "events: item 1 is not JSON"},
        {"return { events = { { type = 'x' } }, expect = {} }", "events: item 1: event: type:"},
        {FIXTURE("expect = '{\"outcome\":'"), "expect: "},
        {FIXTURE("expect = 1"), "expect: a table is wanted, or JSON text, not a number"},
        {FIXTURE("expect = '{\"requests\":[{\"json\":{\"a\":12345678901234567}}]}'"),
         "expected 12345678901234567, got 1"},
        {FIXTURE("expcet = {}"), "did you mean 'expect'?"},
        {"return { event = {}, expect = {} }", "type: one of track, identify"},
        {"return { settings = { three = '' }, event = { type = 'track' }, expect = {} }", "three"},
        {"return 1", "a fixture returns a table"},
        {"return {", "near '<eof>'"},
    };
    char report[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(run(*state, cases[i].text, 0, report, sizeof report));
        if (!strstr(report, cases[i].says))
            fail_msg("%s: %s", cases[i].text, report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_coverage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_fixtures, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
