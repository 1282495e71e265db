/* What `try` prints and fixtures compare: outcome, reason and requests of one event, with scripted answers.
 * Fixture files. */
#include "base/mask.h"
#include "script/answers.h"
#include "script/fixture.h"
#include "script/host.h"
#include "script/render_many.h"
#include "script/world.h"

#include <unistd.h>

static struct tg_buf shown;

static const char *render_with(const char *script, const char *settings, const char *body,
                               const char *responses, bool reveal)
{
    struct world *w = world_new(0, 0);
    struct tg_event ev = event_of(body);
    struct tg_response *scripted = NULL;
    struct tg_err err = {0, ""};
    size_t n = 0;
    load(w, script, settings);
    if (*responses)
        assert_ok(tg_render_responses(tg_str_of(responses), &scripted, &n, &err));
    struct tg_render_in in = {
        .dest = w->dests[0], .event = &ev, .responses = scripted, .n_responses = n, .reveal = reveal};
    tg_buf_fini(&shown);
    shown = TG_BUF_INIT(1 << 20);
    int rc = tg_render(&in, &shown, &err);
    if (rc)
        print_message("%s\n", err.msg);
    assert_ok(rc);
    tg_render_responses_free(scripted, n);
    world_free(w);
    assert_ok(tg_json_validate(tg_buf_str(&shown), 100, NULL, &err));
    return tg_buf_cstr(&shown);
}

static const char *render(const char *code, const char *responses)
{
    char script[4000];
    snprintf(script, sizeof script, HEAD ON "%s" OFF, code);
    return render_with(script, "", "{\"event\":\"Buy\"}", responses, true);
}

/* Each kind of body is shown as what it means. */
static void test_bodies(void **state)
{
    (void)state;
    assert_string_equal(
        render("t.deliver { url = 'https://a.example/x', query = { b = 'c d', a = { 1, 2 } }, headers = { A "
               "= 'b' }, json = { z = 1 } }",
               ""),
        "{\"outcome\":\"deliver\",\"reason\":null,\"requests\":[{\"method\":\"POST\",\"url\":\"https://"
        "a.example/x\","
        "\"query\":{\"a\":[\"1\",\"2\"],\"b\":\"c "
        "d\"},\"headers\":{\"A\":\"b\",\"Content-Type\":\"application/json\"},\"json\":{\"z\":1}}]}");
    assert_string_equal(render("t.deliver { url = 'https://a.example/', form = { q = 'a&b' }, headers = { "
                               "['content-type'] = 'x' } }",
                               ""),
                        "{\"outcome\":\"deliver\",\"reason\":null,\"requests\":[{\"method\":\"POST\",\"url\":"
                        "\"https://a.example/\","
                        "\"headers\":{\"content-type\":\"x\"},\"form\":{\"q\":\"a&b\"}}]}");
    assert_string_equal(
        render("t.deliver { url = 'https://a.example/', body = 'x', headers = { ['Content-Type'] = 'y' } } "
               "t.deliver { url = 'https://a.example/', body = '\\255' }",
               ""),
        "{\"outcome\":\"deliver\",\"reason\":null,\"requests\":[{\"method\":\"POST\",\"url\":\"https://"
        "a.example/\","
        "\"headers\":{\"Content-Type\":\"y\"},\"body\":\"x\"},{\"method\":\"POST\",\"url\":\"https://"
        "a.example/\","
        "\"headers\":{\"Content-Type\":\"application/octet-stream\"},\"body64\":\"/w==\"}]}");
}

/* The other outcomes, with reason and message. */
static void test_outcomes(void **state)
{
    (void)state;
    assert_string_equal(render("t.skip('no_id')", ""),
                        "{\"outcome\":\"skip\",\"reason\":\"no_id\",\"requests\":[]}");
    assert_string_equal(
        render("t.reject('bad', 'because')", ""),
        "{\"outcome\":\"reject\",\"reason\":\"bad\",\"message\":\"because\",\"requests\":[]}");
    assert_string_equal(render("t.retry('later')", ""),
                        "{\"outcome\":\"retry\",\"reason\":\"later\",\"requests\":[]}");
    assert_non_null(
        strstr(render("error('x')", ""),
               "{\"outcome\":\"error\",\"reason\":\"script_error\",\"message\":\"t/init.lua:1: x\\nstack"));
    script_limit_us = BRIEF_US;
    assert_non_null(
        strstr(render("while true do end", ""), "\"outcome\":\"error\",\"reason\":\"script_timeout\""));
    script_limit_us = PATIENT_US;
    char script[500];
    snprintf(script, sizeof script, HEAD "return { name = 'T', on = { page = function() end } }");
    assert_string_equal(render_with(script, "", "{}", "", true),
                        "{\"outcome\":\"skip\",\"reason\":\"type_not_accepted\",\"requests\":[]}");
}

/* Scripted answers are taken in call order, statuses are judged, and a failure ends the event there. */
static void test_answers(void **state)
{
    (void)state;
    static const char chain[] =
        "local a = t.deliver { url = 'https://a.example/1' }:wait() t.deliver { url = 'https://a.example/' "
        ".. t.json.decode(a.body).id .. a.headers['x-y'] }:wait()";
    assert_non_null(
        strstr(render(chain, "[{\"status\":200,\"headers\":{\"X-Y\":\"z\"},\"body\":{\"id\":7}}]"),
               "https://a.example/7z"));
    assert_non_null(strstr(render(chain, "[{\"status\":503}]"),
                           "{\"outcome\":\"retry\",\"reason\":\"http_503\",\"requests\":[{"));
    assert_null(strstr(tg_buf_cstr(&shown), "https://a.example/7"));
    assert_non_null(strstr(render(chain, "[{\"status\":422,\"body\":\"x\"}]"),
                           "{\"outcome\":\"reject\",\"reason\":\"http_422\""));
    assert_non_null(
        strstr(render(chain, "[{\"status\":0}]"), "{\"outcome\":\"retry\",\"reason\":\"network_error\""));
    assert_non_null(
        strstr(render(chain, "[{\"status\":401}]"), "{\"outcome\":\"retry\",\"reason\":\"http_401\""));
    assert_non_null(
        strstr(render("t.deliver { url = 'https://a.example/1' } t.deliver { url = 'https://a.example/2' }",
                      "[{},{\"status\":500}]"),
               "\"outcome\":\"retry\""));
}

/* Requests of a batch show as joined alone; split and judge decide. */
static void test_batch(void **state)
{
    (void)state;
    static const char script[] =
        HEAD "return { name = 'T', hosts = {'a.example'}, batches = { b = { join = function(items) return { "
             "body = table.concat(items, ',') } end, "
             "split = function(r) return { r.body == 'no' and { 'reject', 'said_no' } or 'ok' } end } }, "
             "judge = function(r) if r.status == 418 then return 'ok' end end, "
             "on = { track = function(e) t.deliver { url = 'https://a.example/', batch = 'b', item = "
             "t.json.encode(e.event) } end } }";
    assert_string_equal(render_with(script, "", "{\"event\":\"Buy\"}", "", true),
                        "{\"outcome\":\"deliver\",\"reason\":null,\"requests\":[{\"method\":\"POST\",\"url\":"
                        "\"https://a.example/\","
                        "\"headers\":{\"Content-Type\":\"application/"
                        "octet-stream\"},\"body\":\"\\\"Buy\\\"\",\"batch\":\"b\"}]}");
    assert_non_null(strstr(render_with(script, "", "{}", "[{\"status\":200,\"body\":\"no\"}]", true),
                           "\"outcome\":\"reject\",\"reason\":\"said_no\""));
    assert_non_null(
        strstr(render_with(script, "", "{}", "[{\"status\":418}]", true), "\"outcome\":\"deliver\""));
}

static const char *render_many(const char *script, size_t n, const char *const *names, const char *responses)
{
    struct world *w = world_new(0, 0);
    struct tg_event events[8];
    char bodies[8][64];
    struct tg_response *scripted = NULL;
    struct tg_err err = {0, ""};
    size_t n_responses = 0;
    load(w, script, "");
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "{\"event\":\"%s\"}", names[i]);
        events[i] = event_of(bodies[i]);
    }
    assert_ok(tg_render_responses(tg_str_of(responses), &scripted, &n_responses, &err));
    struct tg_render_in in = {w->dests[0], events, scripted, n_responses, false, true};
    tg_buf_fini(&shown);
    shown = TG_BUF_INIT(1 << 20);
    assert_ok(tg_render_many(&in, n, &shown, &err));
    tg_render_responses_free(scripted, n_responses);
    world_free(w);
    assert_ok(tg_json_validate(tg_buf_str(&shown), 100, NULL, &err));
    return tg_buf_cstr(&shown);
}

/* How often `part` stands in what was shown. */
static int times(const char *part)
{
    int n = 0;
    for (const char *at = tg_buf_cstr(&shown); (at = strstr(at, part)); at++)
        n++;
    return n;
}

#define MANY                                                                                                 \
    HEAD "return { name = 'T', hosts = {'a.example'}, batches = { b = { max_items = 3, join = "              \
         "function(items) for _, i in ipairs(items) do if i == 'unjoinable' then error('no join') end end "  \
         "return { body = table.concat(items, ' ') } end, "                                                  \
         "split = function(r, items) if r.status == 400 then return #items == 1 and { 'reject' } or nil "    \
         "end local out = {} for i in ipairs(items) do out[i] = items[i] == r.body and { 'reject', "         \
         "'said_no', 'not ' .. items[i] } or 'ok' end return out end } }, "                                  \
         "on = { track = function(e) if e.event == 'skip' then t.skip('no') end "                            \
         "t.deliver { url = 'https://a.example/token', share = true }:wait() "                               \
         "t.deliver { url = 'https://a.example/', batch = 'b', item = e.event } end } }"

/* Events under way together: what they share is asked for once, batches hold several, split judges each, a
 * batch that failed whole is halved before the others go on. */
static void test_many(void **state)
{
    (void)state;
    static const char *const abcd[] = {"A", "skip", "B", "C", "D"};
    render_many(MANY, 5, abcd, "[{},{\"body\":\"B\"},{\"status\":503}]");
    assert_non_null(strstr(tg_buf_cstr(&shown),
                           "\"outcomes\":[{\"outcome\":\"deliver\",\"reason\":null},"
                           "{\"outcome\":\"skip\",\"reason\":\"no\"},"
                           "{\"outcome\":\"reject\",\"reason\":\"said_no\",\"message\":\"not B\"},"
                           "{\"outcome\":\"deliver\",\"reason\":null},"
                           "{\"outcome\":\"retry\",\"reason\":\"http_503\"}]"));
    assert_int_equal(times("/token"), 1);
    assert_int_equal(times("\"body\":\"A B C\""), 1);
    assert_int_equal(times("\"body\":\"D\""), 1);

    render_many(MANY, 5, abcd, "[{},{\"status\":400},{},{\"status\":400},{},{\"status\":400}]");
    assert_int_equal(times("\"outcome\":\"reject\",\"reason\":\"http_400\""), 1); /* A B C, A, B C, B, C, D */
    assert_int_equal(times("\"body\":"), 6);
    assert_true(strstr(tg_buf_cstr(&shown), "\"body\":\"C\"") <
                strstr(tg_buf_cstr(&shown), "\"body\":\"D\""));
}

/* What fails for all fails each; what join cannot take is found by halving, and is an error of that event. */
static void test_many_failures(void **state)
{
    (void)state;
    static const char *const some[] = {"A", "unjoinable", "C"};
    render_many(MANY, 3, some, "[{\"status\":503}]");
    assert_int_equal(times("{\"outcome\":\"retry\",\"reason\":\"http_503\"}"), 3);
    assert_int_equal(times("\"method\""), 1);
    assert_non_null(
        strstr(render_many(MANY, 3, some, "[]"), "{\"outcome\":\"error\",\"reason\":\"script_error\","));
    assert_int_equal(times("\"outcome\":\"deliver\""), 2);
    assert_int_equal(times("no join"), 2); /* of the event, and of the whole */
    assert_string_equal(render_many(MANY, 0, NULL, "[]"),
                        "{\"outcome\":\"deliver\",\"reason\":null,\"outcomes\":[],\"requests\":[]}");
}

/* Secrets show only when they are asked for. */
static void test_masking(void **state)
{
    (void)state;
    static const char script[] =
        HEAD "return { name = 'T', hosts = {'a.example'}, settings = { key = { type = 'string', secret = "
             "true } }, on = { track = function(e, s) "
             "t.deliver { url = 'https://a.example/' .. s.key, query = { k = s.key }, headers = { "
             "Authorization = 'Bearer abc', X = s.key }, json = { k = s.key } } end } }";
    tg_mask_clear();
    const char *text = render_with(script, "{\"key\":\"hunter22\"}", "{}", "", false);
    assert_null(strstr(text, "hunter22"));
    assert_null(strstr(text, "Bearer"));
    assert_non_null(strstr(text, "\"json\":{\"k\":\"***\"}"));
    text = render_with(script, "{\"key\":\"hunter22\"}", "{}", "", true);
    assert_non_null(strstr(text, "https://a.example/hunter22"));
    assert_non_null(strstr(text, "Bearer abc"));
    tg_mask_clear();
}

/* Answers that cannot be read are refused with their number. */
static void test_bad_responses(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "[7]", "[{},{\"status\":\"x\"}]", "[{\"status\":900}]",
                                        "[",  "x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct tg_response *r;
        struct tg_err err;
        size_t n;
        assert_int_not_equal(tg_render_responses(tg_str_of(texts[i]), &r, &n, &err), TG_OK);
        assert_non_null(strstr(err.msg, "responses"));
        assert_null(r);
    }
}

/* --- fixtures --- */

static int load_fixture(const char *text, struct tg_fixture *f, struct tg_err *err)
{
    char path[] = "/tmp/fixture.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    int rc = tg_fixture_load(path, f, err);
    unlink(path);
    return rc;
}

/* Tables become JSON, JSON text stays what it is. */
static void test_fixture(void **state)
{
    (void)state;
    struct tg_fixture f;
    struct tg_err err;
    assert_ok(load_fixture("return { name = 'n', settings = { a = 1 }, event = [[{\"x\": []}]], at = "
                           "'2026-01-02', responses = { { status = 200 } }, "
                           "expect = { outcome = 'skip' }, allow_private = true }",
                           &f, &err));
    assert_string_equal(f.name, "n");
    assert_string_equal(f.settings, "{\"a\":1}");
    assert_string_equal(f.event, "{\"x\": []}");
    assert_string_equal(f.at, "2026-01-02");
    assert_string_equal(f.responses, "[{\"status\":200}]");
    assert_string_equal(f.expect, "{\"outcome\":\"skip\"}");
    assert_true(f.allow_private);
    tg_fixture_fini(&f);
    assert_ok(load_fixture("return { event = { type = 'track' } }", &f, &err));
    assert_string_equal(f.settings, "{}");
    assert_string_equal(f.event, "{\"type\":\"track\"}");
    assert_non_null(strstr(f.name, "fixture."));
    assert_null(f.expect);
    tg_fixture_fini(&f);
}

/* What is wrong with a fixture is said with its file and line. */
static void test_bad_fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"return {", ":1: unexpected symbol"},
        {"return 7", "a fixture returns a table"},
        {"return {}", "event: required"},
        {"return { event = {}, expcet = {} }", "unknown key 'expcet'; did you mean 'expect'?"},
        {"return { event = {}, settings = 7 }", "settings: a table is wanted"},
        {"return { event = {}, settings = 'x' }", "settings: JSON, byte 0"},
        {"return { event = { 1, x = 2 } }", "event:"},
        {"print('x')", "attempt to call global 'print'"},
        {"while true do end", "it does not end"},
        {"local s = 'x' while true do s = s .. s end", "memory"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tg_fixture f;
        struct tg_err err;
        int rc = load_fixture(rows[i].text, &f, &err);
        assert_true(rc == TG_SCRIPT || rc == TG_NOMEM);
        if (!strstr(err.msg, rows[i].says))
            print_message("%s\n", err.msg);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
    struct tg_fixture f;
    struct tg_err err;
    assert_int_equal(tg_fixture_load("/nowhere/x.lua", &f, &err), TG_NOTFOUND);
}

int main(void)
{
    tg_log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),  cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_many_failures),
        cmocka_unit_test(test_masking), cmocka_unit_test(test_bad_responses),
        cmocka_unit_test(test_fixture), cmocka_unit_test(test_bad_fixtures),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tg_buf_fini(&shown);
    return rc;
}
