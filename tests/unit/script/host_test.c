/* The script host as the delivery engine sees it: handlers run and ask for deliveries, wait for them, end in
 * each of their ways, and what one does costs the others nothing. */
#include "script/world.h"

static const char EVENT[] = "{\"event\":\"Buy\",\"properties\":{\"total\":12.50}}";

static struct tg_response answer(int status, const char *body)
{
    static char names[2][6] = {"X-One", "x-one"}, values[2][2] = {"1", "2"};
    static const struct tg_header headers[] = {{names[0], values[0]}, {names[1], values[1]}};
    return (struct tg_response){
        .status = status, .headers = headers, .n_headers = 2, .body = tg_str_of(body)};
}

static void settle(struct deed *d, unsigned call, int status, const char *body)
{
    struct tg_response r = answer(status, body);
    tg_run_settle(d->run, call, &r);
}

/* A handler's delivery reaches the engine complete, and the handler ends. */
static void test_delivers(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w,
         HEAD ON
         "t.deliver { url = 'https://a.example/x', query = { b = 76.0, a = 'c d', e = '' }, json = { z = "
         "event.event, a = event.properties.total } }" OFF,
         "");
    start(w, 0, EVENT, &d);
    assert_true(d.ended);
    assert_int_equal(d.end, TG_RUN_DONE);
    assert_int_equal(d.n_requests, 1);
    assert_string_equal(d.requests[0]->method, "POST");
    assert_string_equal(d.requests[0]->url, "https://a.example/x?a=c%20d&b=76");
    assert_string_equal(d.requests[0]->body, "{\"a\":12.5,\"z\":\"Buy\"}");
    assert_int_equal(d.requests[0]->body_kind, TG_BODY_JSON);
    assert_int_equal(d.requests[0]->n_headers, 1);
    assert_string_equal(d.requests[0]->headers[0].name, "Content-Type");
    assert_string_equal(d.requests[0]->headers[0].value, "application/json");
    assert_int_equal(d.requests[0]->call, 1);
    deed_free(&d);
    world_free(w);
}

/* A handler that delivers nothing is a skip. */
static void test_nothing_is_a_skip(void **state)
{
    (void)state;
    struct deed d;
    run_code("local x = event.event", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_SKIP);
    assert_string_equal(d.reason, "no_request");
}

/* Reason, message and seconds arrive. */
static void test_ends(void **state)
{
    (void)state;
    struct deed d;
    run_code("t.skip('no_identity')", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_SKIP);
    assert_string_equal(d.reason, "no_identity");
    run_code("t.reject('bad_total', 'total is ' .. event.properties.total)", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_REJECT);
    assert_string_equal(d.message, "total is 12.5");
    run_code("t.retry('not_yet', 30)", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_RETRY);
    assert_int_equal(d.retry_ms, 30000);
}

/* Misuse of the ends is an error of the script. */
static void test_ends_misused(void **state)
{
    (void)state;
    static const char *const codes[] = {"t.skip()",         "t.skip('')",        "t.skip({})",
                                        "t.retry('x', -1)", "t.retry('x', 1e9)", "t.reject(('x'):rep(200))"};
    struct deed d;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        run_code(codes[i], EVENT, &d);
        assert_int_equal(d.end, TG_RUN_ERROR);
    }
}

/* What was queued before a handler failed or skipped is not sent. */
static void test_failure_sends_nothing(void **state)
{
    (void)state;
    struct deed d;
    run_code("t.deliver { url = 'https://a.example/' } error('x')", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_ERROR);
    assert_int_equal(d.n_requests, 0);
    run_code("t.deliver { url = 'https://a.example/' } t.skip('x')", EVENT, &d);
    assert_int_equal(d.n_requests, 0);
}

/* A chain: each wait is answered before the next delivery is made, and the responses are read. */
static void test_chain(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w,
         HEAD ON "local a = t.deliver { url = 'https://a.example/1', json = {} }:wait() "
                 "local ok, b = pcall(function() return t.deliver { url = 'https://a.example/' .. a.body, "
                 "method = 'PUT' }:wait() end) "
                 "t.skip(b.status .. b.headers['x-one'] .. tostring(ok))" OFF,
         "");
    start(w, 0, EVENT, &d);
    assert_false(d.ended);
    assert_int_equal(d.n_requests, 1);
    settle(&d, 1, 200, "two");
    assert_false(d.ended);
    assert_int_equal(d.n_requests, 2);
    assert_string_equal(d.requests[1]->url, "https://a.example/two");
    assert_int_equal(d.requests[1]->call, 2);
    settle(&d, 2, 204, "");
    assert_true(d.ended);
    assert_string_equal(d.reason, "2041, 2true");
    deed_free(&d);
    world_free(w);
}

/* Two deliveries under way; answers may come in any order, before or after they are waited for. */
static void test_answers_in_any_order(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w,
         HEAD ON
         "local a, b = t.deliver { url = 'https://a.example/1' }, t.deliver { url = 'https://a.example/2' } "
         "t.skip(a:wait().body .. b:wait().body .. a:wait().body)" OFF,
         "");
    start(w, 0, EVENT, &d);
    assert_int_equal(d.n_requests, 2);
    settle(&d, 2, 200, "B");
    assert_false(d.ended);
    settle(&d, 9, 200, "?");
    settle(&d, 1, 200, "A");
    assert_true(d.ended);
    assert_string_equal(d.reason, "ABA");
    deed_free(&d);
    world_free(w);
}

/* Responses of an earlier attempt answer the same calls without sending; repeatable calls are sent again,
 * whatever their number. */
static void test_saved_responses(void **state)
{
    (void)state;
    static const char script[] =
        HEAD ON "if event.event == 'Buy' or not t.cache.get('token') then t.deliver { url = "
                "'https://a.example/token', repeatable = true }:wait() "
                "t.cache.set('token', 'x', 60) end "
                "local a = t.deliver { url = 'https://a.example/search?nonce=' .. t.random_string(8), json = "
                "{} }:wait() "
                "t.deliver { url = 'https://a.example/change', json = { id = a.body } }:wait()" OFF;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_buf saved = TG_BUF_INIT(1 << 20);
    struct tg_event ev = event_of("{\"event\":\"First\"}");
    load(w, script, "");
    start_with(w, 0, &ev, "", &d);
    settle(&d, 1, 200, "");
    settle(&d, 2, 200, "id \xc3\xa9\"7");
    assert_int_equal(d.n_requests, 3);
    assert_int_equal(tg_run_responses(d.run, &saved), TG_OK); /* the third has failed */
    deed_free(&d);

    start_with(w, 0, &ev, tg_buf_cstr(&saved), &d); /* the token is cached now: numbers have shifted */
    assert_int_equal(d.n_requests, 1);
    assert_string_equal(d.requests[0]->url, "https://a.example/change");
    assert_string_equal(d.requests[0]->body, "{\"id\":\"id \xc3\xa9\\\"7\"}");
    deed_free(&d);

    ev = event_of(EVENT);
    start_with(w, 0, &ev, tg_buf_cstr(&saved), &d);
    assert_int_equal(d.n_requests, 1);
    assert_string_equal(d.requests[0]->url, "https://a.example/token");
    assert_int_equal(d.requests[0]->repeatable, true);
    deed_free(&d);
    tg_buf_fini(&saved);
    world_free(w);
}

/* A call is known again by its address, whatever else is asked for at the retry, and in whatever order. */
static void test_saved_responses_in_another_order(void **state)
{
    (void)state;
    static const char script[] =
        HEAD ON "local function ask(path, n) t.deliver { url = 'https://a.example/' .. path, json = n } end "
                "local first = not t.cache.get('seen') t.cache.set('seen', true) "
                "if first then ask('hello', 0) ask('a', 1) ask('b', 2) ask('a', 3) "
                "else ask('b', 2) ask('a', 1) ask('a', 3) ask('a', 4) end" OFF;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_buf saved = TG_BUF_INIT(1 << 20), again = TG_BUF_INIT(1 << 20);
    struct tg_event ev = event_of(EVENT);
    load(w, script, "");
    start_with(w, 0, &ev, "", &d);
    assert_int_equal(d.n_requests, 4);
    for (unsigned i = 1; i <= 3; i++)
        settle(&d, i, 200, "");
    assert_int_equal(tg_run_responses(d.run, &saved), TG_OK);
    deed_free(&d);
    start_with(w, 0, &ev, tg_buf_cstr(&saved), &d);
    assert_int_equal(d.n_requests, 2); /* the second and the third a; hello, the first a and b are done */
    assert_string_equal(d.requests[0]->body, "3");
    assert_string_equal(d.requests[1]->body, "4");
    settle(&d, 3, 200, "");
    assert_int_equal(tg_run_responses(d.run, &again), TG_OK);
    for (int i = 0, n = 0; i < 4; i++) { /* b, a, a, hello: what was not asked for now is still known */
        static const char *const part[] = {"\"n\":1", "\"n\":1", "\"n\":2", "\"n\":1"};
        const char *at = strstr(tg_buf_cstr(&again) + n, part[i]);
        assert_non_null(at);
        n = (int)(at - tg_buf_cstr(&again)) + 1;
    }
    deed_free(&d);
    tg_buf_fini(&saved);
    tg_buf_fini(&again);
    world_free(w);
}

/* The run knows when it is not good any more, and a
 * refused one is forgotten, but not its successor. */
static void test_tokens(void **state)
{
    (void)state;
    static const char script[] =
        HEAD ON "local text = t.cache.get('login') "
                "if not text then "
                "text = t.deliver { url = 'https://a.example/login', share = true, repeatable = true "
                "}:wait().body "
                "t.cache.set('login', text, 30) end "
                "t.token_used('login') "
                "t.deliver { url = 'https://a.example/do', headers = { Authorization = text } }" OFF;
    struct world *w = world_new(0, 0);
    struct deed d[3];
    load(w, script, "");
    start(w, 0, EVENT, &d[0]);
    assert_true(d[0].requests[0]->share);
    assert_int_equal(tg_run_tokens(d[0].run), TG_TOKENS_NONE);
    assert_false(tg_run_refuse_tokens(d[0].run));
    settle(&d[0], 1, 200, "one");
    assert_int_equal(tg_run_tokens(d[0].run), TG_TOKENS_GOOD);
    start(w, 0, EVENT, &d[1]);
    assert_int_equal(d[1].n_requests, 1);
    assert_string_equal(d[1].requests[0]->headers[0].value, "one");
    assert_true(tg_run_refuse_tokens(d[1].run));
    assert_int_equal(tg_run_tokens(d[0].run), TG_TOKENS_GONE);
    start(w, 0, EVENT, &d[2]);
    settle(&d[2], 1, 200, "two");
    assert_true(tg_run_refuse_tokens(d[0].run));
    assert_int_equal(tg_run_tokens(d[2].run), TG_TOKENS_GOOD);
    for (int i = 0; i < 3; i++)
        deed_free(&d[i]);
    world_free(w);
}

/* A saved response of another address is not taken for the answer: the script has changed. */
static void test_saved_responses_of_another_script(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_buf saved = TG_BUF_INIT(1 << 20);
    struct tg_event ev = event_of(EVENT);
    load(w, HEAD ON "t.deliver { url = 'https://a.example/old' }" OFF, "");
    load(w, HEAD ON "t.deliver { url = 'https://a.example/new' }" OFF, "");
    start_with(w, 0, &ev, "", &d);
    settle(&d, 1, 200, "x");
    assert_int_equal(tg_run_responses(d.run, &saved), TG_OK);
    deed_free(&d);
    start_with(w, 1, &ev, tg_buf_cstr(&saved), &d);
    assert_int_equal(d.n_requests, 1);
    deed_free(&d);
    start_with(w, 0, &ev, "[{\"n\":1},{},7,\"x\"]", &d); /* damaged ones count for nothing */
    assert_int_equal(d.n_requests, 1);
    deed_free(&d);
    tg_buf_fini(&saved);
    world_free(w);
}

/* The retry row is bounded: the largest bodies are cut, binary ones survive. */
static void test_saved_responses_are_bounded(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_buf saved = TG_BUF_INIT(1 << 20);
    struct tg_event ev = event_of(EVENT);
    char *large = tg_malloc(200001);
    memset(large, 'x', 200000);
    large[200000] = '\0';
    load(w,
         HEAD ON "local a = t.deliver { url = 'https://a.example/1' }:wait() local b = t.deliver { url = "
                 "'https://a.example/2' }:wait() "
                 "t.deliver { url = 'https://a.example/3', json = { #a.body, a.cut or false, "
                 "t.hex.encode(b.body) } }" OFF,
         "");
    start_with(w, 0, &ev, "", &d);
    settle(&d, 1, 200, large);
    settle(&d, 2, 200, "\xff\x01");
    assert_string_equal(d.requests[2]->body, "[200000,false,\"ff01\"]");
    assert_int_equal(tg_run_responses(d.run, &saved), TG_OK);
    assert_true(saved.len <= 64 * 1024);
    deed_free(&d);
    start_with(w, 0, &ev, tg_buf_cstr(&saved), &d);
    assert_int_equal(d.n_requests, 1);
    assert_non_null(strstr(d.requests[0]->body, ",true,\"ff01\"]"));
    deed_free(&d);
    tg_free(large);
    tg_buf_fini(&saved);
    world_free(w);
}

/* A run may be freed while its handler waits, and its event be read by nobody afterwards. */
static void test_freed_while_waiting(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w,
         "local t, kept = require 'tidegate' " ON
         "if kept then t.skip(tostring(kept.event)) end kept = event "
         "t.deliver { url = 'https://a.example/' }:wait()" OFF,
         "");
    start(w, 0, EVENT, &d);
    deed_free(&d);
    start(w, 0, EVENT, &d);
    assert_int_equal(d.end, TG_RUN_ERROR);
    assert_non_null(strstr(d.message, "belongs to an earlier call"));
    deed_free(&d);
    world_free(w);
}

/* A handle of another event cannot be waited for, nor what is no handle. */
static void test_wait_misused(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w,
         "local t, kept = require 'tidegate' " ON
         "if kept then kept:wait() end kept = t.deliver { url = 'https://a.example/' }" OFF,
         "");
    start(w, 0, EVENT, &d);
    assert_int_equal(d.end, TG_RUN_DONE);
    deed_free(&d);
    start(w, 0, EVENT, &d);
    assert_int_equal(d.end, TG_RUN_ERROR);
    assert_non_null(strstr(d.message, "earlier event"));
    deed_free(&d);
    world_free(w);
    run_code("t.deliver({ url = 'https://a.example/' }).wait({})", EVENT, &d);
    assert_non_null(strstr(d.message, "wait: call it on what deliver returned"));
    run_code("table.sort({2,1}, function() t.deliver({ url = 'https://a.example/' }):wait() end)", EVENT, &d);
    assert_int_equal(d.end, TG_RUN_ERROR);
}

/* --- deliver's checks --- */

static void misuse(const char *fields, const char *says)
{
    struct deed d;
    char code[2000];
    snprintf(code, sizeof code, "t.deliver { %s }", fields);
    run_code(code, EVENT, &d);
    if (d.end != TG_RUN_ERROR || !strstr(d.message, says))
        print_message("%s: %d %s %s\n", fields, (int)d.end, d.reason, d.message);
    assert_int_equal(d.end, TG_RUN_ERROR);
    assert_non_null(strstr(d.message, says));
}

/* Each misuse of deliver is named. */
static void test_deliver_misused(void **state)
{
    (void)state;
    misuse("", "url: text expected, got nil");
    misuse("url = ''", "url: text expected, got nothing");
    misuse("url = 'https://a.example/', jsn = {}", "unknown field 'jsn'; did you mean 'json'?");
    misuse("'https://a.example/'", "fields have names");
    misuse("url = 'ftp://a.example/'", "deliver: url:");
    misuse("url = 'http://a.example/'", "https only");
    misuse("url = 'https://b.example/'", "does not name host 'b.example'");
    misuse("url = 'https://a.example.evil.example/'", "does not name host");
    misuse("url = 'https://u:p@a.example/'", "deliver: url:");
    misuse("url = 'https://a.example/ x'", "deliver: url:");
    misuse("url = 'https://a.example/#x'", "fragment");
    misuse("url = 'https://a.example/', method = 'GETT'", "'GETT' is none of");
    misuse("url = 'https://a.example/', method = 'get'", "'get' is none of");
    misuse("url = 'https://a.example/', json = {}, body = 'x'", "only one of json, form and body");
    misuse("url = 'https://a.example/', body = {}", "body: text expected, got table");
    misuse("url = 'https://a.example/', form = 'x'", "form: a table { name = value } expected");
    misuse("url = 'https://a.example/', form = { 1 }", "names must be text");
    misuse("url = 'https://a.example/', form = { c = function() end }", "field c: text, number");
    misuse("url = 'https://a.example/', query = { a = 0/0 }", "field a: a finite number");
    misuse("url = 'https://a.example/', json = { f = print_ }", "no global 'print_'");
    misuse("url = 'https://a.example/', json = { f = t.deliver }", "deliver: json");
    misuse("url = 'https://a.example/', headers = { ['A B'] = 'x' }", "'A B' is not a header name");
    misuse("url = 'https://a.example/', headers = { Host = 'x' }", "'Host' is set by the relay itself");
    misuse("url = 'https://a.example/', headers = { ['content-length'] = 1 }", "set by the relay itself");
    misuse("url = 'https://a.example/', headers = { X = {} }", "'X' is a table");
    misuse("url = 'https://a.example/', rate = 'fast'", "the script's rates have no 'fast'");
    misuse("url = 'https://a.example/', batch = 'all', item = 1", "the script's batches have no 'all'");
    misuse("url = 'https://a.example/', repeatable = 1", "repeatable: true or false expected");
    misuse("url = 'https://a.example/', key = {}", "key: text expected");
    misuse("url = 'https://a.example/', secret = {}", "secret: text expected");
}

/* A line break in a header value ends the event, not the script. */
static void test_header_break(void **state)
{
    (void)state;
    static const char *const values[] = {"'a\\r\\nX: y'", "'a\\nb'", "'a\\0b'", "'\\127'"};
    struct deed d;
    for (int i = 0; i < 4; i++) {
        char code[200];
        snprintf(code, sizeof code, "pcall(t.deliver, { url = 'https://a.example/', headers = { X = %s } })",
                 values[i]);
        run_code(code, EVENT, &d);
        assert_int_equal(d.end, TG_RUN_REJECT);
        assert_string_equal(d.reason, "invalid_header_value");
        assert_int_equal(d.n_requests, 0);
    }
}

static const char *form_of(const char *fields)
{
    static char text[2000];
    struct world *w = world_new(0, 0);
    struct deed d;
    char code[2000];
    snprintf(code, sizeof code, HEAD ON "t.deliver { url = 'https://a.example/', form = { %s } }" OFF,
             fields);
    load(w, code, "");
    start(w, 0, "{\"properties\":{\"big\":12345678901234567890}}", &d);
    if (d.end != TG_RUN_DONE)
        print_message("%s\n", d.message);
    assert_int_equal(d.end, TG_RUN_DONE);
    snprintf(text, sizeof text, "%s", d.requests[0]->body);
    assert_int_equal(strlen(d.requests[0]->body), d.requests[0]->body_len);
    deed_free(&d);
    world_free(w);
    return text;
}

/* Forms: sorted, percent-encoded, plain numbers, nothing for empty values. */
static void test_form(void **state)
{
    (void)state;
    assert_string_equal(form_of("b = 76.0, a = 0.1, c = true, d = false, e = '', f = t.json.null"),
                        "a=0.1&b=76&c=true&d=false");
    assert_string_equal(form_of("x = 1e21, y = 1e-7, z = -0.0, w = 12345678901234"),
                        "w=12345678901234&x=1000000000000000000000&y=0.0000001&z=0");
    assert_string_equal(form_of("['a b'] = 'c&d=e+f/\\195\\169~-_.'"), "a%20b=c%26d%3De%2Bf%2F%C3%A9~-_.");
    assert_string_equal(form_of("a = { 1, 'x', '' }"), "a=1&a=x");
    assert_string_equal(form_of("big = event.properties.big"), "big=12345678901234567890");
    assert_string_equal(form_of(""), "");
}

static const char *url_of(const char *fields)
{
    static char text[2000];
    struct world *w = world_new(0, 0);
    struct deed d;
    char code[2000];
    snprintf(code, sizeof code, HEAD ON "t.deliver { %s }" OFF, fields);
    load(w, code, "");
    start(w, 0, EVENT, &d);
    assert_int_equal(d.end, TG_RUN_DONE);
    snprintf(text, sizeof text, "%s %s", d.requests[0]->method, d.requests[0]->url);
    deed_free(&d);
    world_free(w);
    return text;
}

/* A query goes behind the one that the address has. */
static void test_query(void **state)
{
    (void)state;
    assert_string_equal(url_of("url = 'https://a.example'"), "GET https://a.example");
    assert_string_equal(url_of("url = 'https://A.EXAMPLE/x', query = {}"), "GET https://A.EXAMPLE/x");
    assert_string_equal(url_of("url = 'https://a.example/x?y', query = { a = 1 }"),
                        "GET https://a.example/x?y&a=1");
    assert_string_equal(url_of("url = 'https://a.example/x?', query = { a = 1 }"),
                        "GET https://a.example/x?a=1");
    assert_string_equal(url_of("url = 'https://a.example/x?y&', query = { a = '' }"),
                        "GET https://a.example/x?y&");
    assert_string_equal(url_of("url = 'https://a.example:8443/', method = 'DELETE'"),
                        "DELETE https://a.example:8443/");
    assert_string_equal(url_of("url = 'https://a.example/', body = ''"), "POST https://a.example/");
}

/* --- batches and verdicts --- */

static const char BATCHING[] = HEAD
    "return { name = 'T', hosts = {'a.example'}, settings = { size = { type = 'integer', default = 3 } }, "
    "batches = { all = { max_items = 'size', max_bytes = 1000, max_wait_ms = 20, "
    "join = function(items, settings) if items[1] == 'bad' then error('no join') end return { json = { list "
    "= items, n = settings.size }, headers = { ['X-N'] = #items } } end, "
    "split = function(response, items) if response.body == 'few' then return {} end "
    "if response.body == 'all' then return nil end "
    "return { 'ok', { 'reject', 'bad ' .. items[2].a, response.body == 'odd' and {} or 'said so' }, "
    "{ outcome = 'retry', [response.body == 'typo' and 'reasn' or 'reason'] = 'later', message = 12 } } end "
    "} }, "
    "judge = function(response, request) if response.status == 200 and response.body == 'no' then return "
    "'reject', 'said_no', request.method .. ' with A ' .. request.headers.a end "
    "if response.body == 'odd' then return 'perhaps' end "
    "if response.body == 'row' then return { 'reject', 'said_row', 'by place' } end "
    "if response.body == 'named' then return { outcome = 'retry', reason = 'said_name' } end "
    "if response.body == 'typo' then return { outcom = 'retry' } end if response.body == 'loop' then while "
    "true do end "
    "end end, "
    "on = { track = function(event) t.deliver { url = 'https://a.example/b', headers = { A = 'b' }, batch = "
    "'all', item = event.properties.item } end } }";

/* Items of a batch go to join, whose body and headers make the request; they survive what becomes of the
 * state. */
static void test_join(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d[3];
    struct tg_request *joined, *requests[3];
    struct tg_err err;
    load(w, BATCHING, "");
    assert_int_equal(w->dests[0]->n_batches, 1);
    assert_int_equal(w->dests[0]->batches[0].max_items, 3);
    assert_int_equal(w->dests[0]->batches[0].max_wait_ms, 20);
    assert_true(w->dests[0]->batches[0].has_split);
    static const char *const bodies[] = {"{\"properties\":{\"item\":\"text\"}}",
                                         "{\"properties\":{\"item\":{\"a\":[]}}}",
                                         "{\"properties\":{\"item\":7}}"};
    for (int i = 0; i < 3; i++) {
        start(w, 0, bodies[i], &d[i]);
        requests[i] = d[i].requests[0];
        assert_int_equal(requests[i]->body_kind, TG_BODY_NONE);
        assert_true(requests[i]->item != 0);
    }
    assert_int_equal(requests[1]->item_bytes, strlen("{\"a\":[]}"));
    assert_int_equal(tg_dest_join(w->dests[0], requests, 3, &joined, &err), TG_OK);
    assert_string_equal(joined->body, "{\"list\":[\"text\",{\"a\":[]},7],\"n\":3}");
    assert_int_equal(joined->n_headers, 3);
    assert_string_equal(joined->url, "https://a.example/b");
    tg_request_free(&joined);
    for (int i = 0; i < 3; i++)
        deed_free(&d[i]);
    start(w, 0, "{\"properties\":{\"item\":\"bad\"}}", &d[0]);
    assert_int_equal(tg_dest_join(w->dests[0], d[0].requests, 1, &joined, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "no join"));
    assert_null(joined);
    deed_free(&d[0]);
    world_free(w);
}

/* split gives one outcome per item, or nil for a call that failed as a whole; else it is an error. */
static void test_split(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_err err;
    struct tg_verdict each[3];
    load(w, BATCHING, "");
    start(w, 0, "{\"properties\":{\"item\":{\"a\":\"x\"}}}", &d);
    struct tg_request *requests[3] = {d.requests[0], d.requests[0], d.requests[0]};
    struct tg_response r = answer(200, "");
    assert_int_equal(tg_dest_split(w->dests[0], requests, 3, &r, each, &err), 1);
    assert_int_equal(each[0].outcome, TG_OUTCOME_OK);
    assert_int_equal(each[1].outcome, TG_OUTCOME_REJECT);
    assert_string_equal(each[1].reason, "bad x");
    assert_string_equal(each[1].message, "said so");
    assert_int_equal(each[2].outcome, TG_OUTCOME_RETRY);
    assert_string_equal(each[2].reason, "later");
    assert_string_equal(each[2].message, "12");
    r = answer(200, "odd"); /* what the partner sends as a message may be anything */
    assert_int_equal(tg_dest_split(w->dests[0], requests, 3, &r, each, &err), 1);
    assert_string_equal(each[1].message, "");
    r = answer(200, "typo");
    assert_int_equal(tg_dest_split(w->dests[0], requests, 3, &r, each, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "an outcome has no 'reasn'; did you mean 'reason'?"));
    r = answer(200, "few");
    assert_int_equal(tg_dest_split(w->dests[0], requests, 3, &r, each, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "a list of 3 outcomes"));
    r = answer(200, "all");
    assert_int_equal(tg_dest_split(w->dests[0], requests, 3, &r, each, &err), 0);
    deed_free(&d);
    world_free(w);
}

/* judge decides, or leaves it to the status; what it may not say is an error, and it is stopped as handlers
 * are. */
static void test_judge(void **state)
{
    (void)state;
    struct world *w = world_new(0, BRIEF_US);
    struct deed d;
    struct tg_err err;
    struct tg_verdict v;
    load(w, BATCHING, "");
    start(w, 0, "{\"properties\":{\"item\":1}}", &d);
    struct tg_response r = answer(200, "no");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), 1);
    assert_int_equal(v.outcome, TG_OUTCOME_REJECT);
    assert_string_equal(v.reason, "said_no");
    assert_string_equal(v.message, "POST with A b");
    r = answer(500, "");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), 0);
    r = answer(200, "odd");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "not perhaps"));
    r = answer(200, "loop");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "longer than"));
    deed_free(&d);
    world_free(w);
}

/* judge may give its outcome as split does, in a table by place or by name, whose misspelt parts are told. */
static void test_judge_table(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_err err;
    struct tg_verdict v;
    load(w, BATCHING, "");
    start(w, 0, "{\"properties\":{\"item\":1}}", &d);
    struct tg_response r = answer(200, "row");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), 1);
    assert_int_equal(v.outcome, TG_OUTCOME_REJECT);
    assert_string_equal(v.reason, "said_row");
    assert_string_equal(v.message, "by place");
    r = answer(200, "named");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), 1);
    assert_int_equal(v.outcome, TG_OUTCOME_RETRY);
    assert_string_equal(v.reason, "said_name");
    assert_string_equal(v.message, "");
    r = answer(200, "typo");
    assert_int_equal(tg_dest_judge(w->dests[0], d.requests[0], &r, &v, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "judge: an outcome has no 'outcom'; did you mean 'outcome'?"));
    deed_free(&d);
    world_free(w);
}

/* --- neighbours --- */

/* When a script has used up the memory, runs of other scripts are ended as to be tried again, and run again.
 */
static void test_rebuild(void **state)
{
    (void)state;
    struct world *w = world_new(24 << 20, 0);
    struct deed waiting, bomb, again;
    load(w, HEAD ON "t.skip(t.deliver { url = 'https://a.example/' }:wait().body)" OFF, "");
    load_as(w, "b", HEAD ON "local x = {} for i = 1, 1e9 do x[i] = { i } end" OFF, "");
    assert_int_equal(w->n_dests, 2);
    start(w, 0, EVENT, &waiting);
    assert_false(waiting.ended);
    start(w, 1, EVENT, &bomb);
    assert_int_equal(bomb.end, TG_RUN_MEMORY);
    assert_true(waiting.ended);
    assert_int_equal(waiting.end, TG_RUN_RETRY);
    assert_string_equal(waiting.reason, "state_rebuilt");
    assert_int_equal(waiting.retry_ms, TG_RUN_LOST);
    settle(&waiting, 1, 200, "late"); /* nobody waits any more */
    start(w, 0, EVENT, &again);
    settle(&again, 1, 200, "fine");
    assert_string_equal(again.reason, "fine");
    deed_free(&waiting);
    deed_free(&bomb);
    deed_free(&again);
    world_free(w);
}

/* Two destinations of one script share nothing but what is read-only; settings are written in vain. */
static void test_isolation(void **state)
{
    (void)state;
    static const char script[] =
        "local t, count = require 'tidegate', 0 return { name = 'T', settings = { a = { type = 'string' }, m "
        "= { type = 'text-map' } }, "
        "on = { track = function(event, settings) count = count + 1 local was = settings.a .. (settings.m.x "
        "or 'nil') settings.a = 'z' settings.m.x = 'z' "
        "local c = t.cache.get('c') t.cache.set('c', settings.a) t.skip(count .. was .. tostring(c)) end } }";
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w, script, "{\"a\":\"1\",\"m\":{\"x\":\"y\"}}");
    load_as(w, "u", script, "{\"a\":\"2\",\"m\":{}}");
    start(w, 0, EVENT, &d);
    assert_string_equal(d.reason, "11ynil");
    deed_free(&d);
    start(w, 0, EVENT, &d);
    assert_string_equal(d.reason, "21yz");
    deed_free(&d);
    start(w, 1, EVENT, &d);
    assert_string_equal(d.reason, "12nilnil");
    deed_free(&d);
    world_free(w);
}

/* Functions of handlers cannot be called while the script loads or judges. */
static void test_phases(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    assert_non_null(strstr(problems_of(w, HEAD "t.deliver { url = 'https://a.example/' }", ""),
                           "deliver is for handlers"));
    assert_non_null(strstr(problems_of(w, HEAD "pcall(t.skip, 'x') t.skip('x')", ""), "end a handler"));
    assert_non_null(strstr(problems_of(w, HEAD "t.raw({})", ""), "raw is for handlers"));
    world_free(w);
}

/* The integrations object's entry for the destination is the handler's third argument. */
static void test_options(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d = {0};
    struct tg_err err;
    struct tg_event ev = event_of(EVENT);
    load(w,
         HEAD "return { name = 'T', on = { track = function(event, settings, options) t.skip(options and "
              "options.list or 'none') end } }",
         "");
    assert_int_equal(
        tg_run_start(w->dests[0], &ev, 1, TG_STR("{\"list\":\"l7\"}"), TG_STR(""), &ops, &d, &d.run, &err),
        TG_OK);
    assert_string_equal(d.reason, "l7");
    deed_free(&d);
    start(w, 0, EVENT, &d);
    assert_string_equal(d.reason, "none");
    deed_free(&d);
    ev.type = TG_GROUP;
    assert_int_equal(tg_run_start(w->dests[0], &ev, 1, TG_STR(""), TG_STR(""), &ops, &d, &d.run, &err),
                     TG_UNSUPPORTED);
    world_free(w);
}

/* Idle work collects what runs have left; a heap that stays high is replaced. */
static void test_idle(void **state)
{
    (void)state;
    struct world *w = world_new(16 << 20, 0);
    struct deed d;
    load(w,
         "local t, kept = require 'tidegate', {} " ON
         "for i = 1, 300 do kept[#kept + 1] = ('x'):rep(10000 + #kept) end t.skip('x')" OFF,
         "");
    for (int i = 0; i < 3; i++) {
        start(w, 0, EVENT, &d);
        deed_free(&d);
    }
    assert_true(tg_host_memory(w->host) > 8 << 20);
    for (int i = 0; i < 50; i++)
        tg_host_idle(w->host);
    assert_true(tg_host_memory(w->host) < 2 << 20);
    start(w, 0, EVENT, &d);
    assert_string_equal(d.reason, "x");
    deed_free(&d);
    world_free(w);
}

/* Without memory every call answers so, and nothing is lost or leaked. */
static int one_event(void *arg)
{
    (void)arg;
    static const struct tg_script_file file = {
        "tidegate.lua", "lua/tidegate.lua", {library_text, sizeof library_text - 1}};
    struct tg_script_file init = {"init.lua", "t/init.lua", tg_str_of(BATCHING)};
    struct tg_script_source source = {"t", &init, 1};
    struct tg_dest_spec spec = {"t", "settings", TG_STR("{\"size\":2}"), &source, NULL, NULL};
    struct tg_host_options o = {
        .library = {"lua", &file, 1}, .fixed_now = TG_NO_TIME, .soft_limit_us = 10000000};
    struct tg_host *host = NULL;
    struct tg_dest *dest = NULL;
    struct tg_problems problems;
    struct tg_err err;
    struct deed d = {0};
    tg_problems_init(&problems);
    int rc = tg_host_new(&o, &host, &err);
    if (!rc && tg_dest_load(host, &spec, &dest, &problems))
        rc = TG_NOMEM;
    if (!rc) {
        struct tg_event ev = event_of("{\"properties\":{\"item\":{\"a\":1}}}");
        rc = tg_run_start(
            dest, &ev, 1, TG_STR(""),
            TG_STR("[{\"n\":4,\"what\":1,\"status\":200,\"headers\":{\"a\":\"b\"},\"body\":\"x\"}]"), &ops,
            &d, &d.run, &err);
        if (!rc && d.end == TG_RUN_MEMORY)
            rc = TG_NOMEM;
        if (!rc && d.n_requests == 0) {
            print_message("%d %s %s\n", (int)d.end, d.reason, d.message);
            rc = TG_INVALID;
        }
        if (!rc) {
            struct tg_request *joined;
            rc = tg_dest_join(dest, d.requests, 1, &joined, &err) ? TG_NOMEM : TG_OK;
            tg_request_free(&joined);
        }
        deed_free(&d);
    }
    tg_dest_free(&dest);
    tg_host_free(&host);
    tg_problems_fini(&problems);
    return rc;
}

static void test_torture(void **state)
{
    (void)state;
    tg_torture(one_event, NULL);
}

int main(void)
{
    tg_log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivers),
        cmocka_unit_test(test_nothing_is_a_skip),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_misused),
        cmocka_unit_test(test_failure_sends_nothing),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_answers_in_any_order),
        cmocka_unit_test(test_saved_responses),
        cmocka_unit_test(test_saved_responses_in_another_order),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_saved_responses_of_another_script),
        cmocka_unit_test(test_saved_responses_are_bounded),
        cmocka_unit_test(test_freed_while_waiting),
        cmocka_unit_test(test_wait_misused),
        cmocka_unit_test(test_deliver_misused),
        cmocka_unit_test(test_header_break),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_judge_table),
        cmocka_unit_test(test_rebuild),
        cmocka_unit_test(test_isolation),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
