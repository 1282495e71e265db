/* Loading a destination: everything that is wrong with a script or its settings is said, at once, with where
 * it is; what is right arrives as plain C. */
#include "base/mask.h"
#include "script/world.h"

#define SETTINGS(rows) "return { name = 'T', settings = { " rows " }, on = { track = function() end } }"

static void expect_lines(const char *script, const char *settings, const char *lines)
{
    struct world *w = world_new(0, 0);
    assert_string_equal(problems_of(w, script, settings), lines);
    world_free(w);
}

static void expect_within(const char *script, const char *says)
{
    struct world *w = world_new(0, 0);
    const char *got = problems_of(w, script, "");
    if (!strstr(got, says))
        print_message("%s\n  says: %s", script, got);
    assert_non_null(strstr(got, says));
    world_free(w);
}

/* A script that does not compile, or raises, is told with file and line. */
static void test_broken_script(void **state)
{
    (void)state;
    expect_lines("local x = = 1", "", "t/init.lua:1: unexpected symbol near '='\n");
    expect_within("\nerror('boom')", "t/init.lua:2: boom");
    expect_within(
        "return 7",
        "destinations/t/init.lua: the script must return a table { name, settings, on, … }, not number");
    script_limit_us = BRIEF_US;
    expect_within("while true do end", "the script runs longer than 100 ms");
    script_limit_us = PATIENT_US;
    struct world *w = world_new(16 << 20, 0);
    assert_non_null(strstr(problems_of(w, "local x = 'x' while true do x = x .. x end", ""),
                           "more memory than it may have"));
    load(w, SETTINGS(""), ""); /* the next one gets a new state */
    world_free(w);
}

/* An enum whose values are a text, or become one, is told of as any other mistake. */
static void test_enum_without_list(void **state)
{
    (void)state;
    expect_lines(SETTINGS("a = { type = 'enum', values = 'abc', default = 'b' }"), "",
                 "destinations/t/init.lua: settings.a: an enum needs values, a list of texts\n");
    expect_within("local n = 0 " SETTINGS("a = setmetatable({ type = 'enum', default = 'b' }, { __index = "
                                          "function(_, key) if key == 'values' then n = n + 1 return n == 1 "
                                          "and { 'a' } or 'abc' end end })"),
                  "settings.a.default: one of these is wanted");
}

/* A row that takes its neighbours away while it is read cannot make the reader use their freed names. */
static void test_rows_that_vanish(void **state)
{
    (void)state;
    expect_within("local rates, done = {}, false "
                  "rates.a = setmetatable({ per_second = 1 }, { __index = function() "
                  "if done then return end done = true "
                  "for n in pairs(rates) do if n ~= 'a' then rates[n] = nil end end "
                  "for i = 1, 4000 do local s = ('x'):rep(2000 + i) end end }) "
                  "for i = 1, 20 do rates[('rate_%d_'):format(i) .. ('y'):rep(40)] = { per_second = 1 } end "
                  "return { name = 'T', settings = {}, rates = rates, on = { track = function() end } }",
                  "rates.rate_20_yyyy");
}

/* Each part of the contract is checked, and a misspelt name gets the nearest right one. */
static void test_contract(void **state)
{
    (void)state;
    expect_lines("return { nam = 'T', on = { trak = function() end, page = 1 }, hosts = 7, concurrency = 0, "
                 "transparent = 1 }",
                 "",
                 "destinations/t/init.lua: unknown key 'nam'; did you mean 'name'?\n"
                 "destinations/t/init.lua: name: a text is wanted, not nil\n"
                 "destinations/t/init.lua: transparent: true or false is wanted\n"
                 "destinations/t/init.lua: concurrency: concurrency: a number above 0 is wanted, or the name "
                 "of a setting that holds one\n"
                 "destinations/t/init.lua: hosts: a list of host names is wanted\n"
                 "destinations/t/init.lua: on.page: a function is wanted, not number\n"
                 "destinations/t/init.lua: on: unknown event type 'trak'; did you mean 'track'?\n");
    expect_within("return { name = 'T' }", "on: required");
    expect_within("return { name = 'T', on = {} }", "no event type has a handler");
    expect_within("return { name = 'T', hosts = { 'https://a.example' }, on = { track = function() end } }",
                  "'https://a.example' is not a host name");
    expect_within("return { name = 'T', check = 1, on = { track = function() end } }",
                  "check: a function is wanted");
    expect_within("return { name = 'T', rates = { a = { per_second = 1, per_hour = 2, brst = 1, reset = "
                  "'soon', account = { 'sid' } } }, on = { track = function() end } }",
                  "unknown key 'brst'; did you mean 'burst'?");
    expect_within("return { name = 'T', rates = { a = { per_second = 1, per_hour = 2 } }, on = { track = "
                  "function() end } }",
                  "one of per_second, per_minute and per_hour");
    expect_within(
        "return { name = 'T', rates = { a = { per_second = -1 } }, on = { track = function() end } }",
        "per_second: a number above 0");
    expect_within("return { name = 'T', rates = { a = { per_second = 1, account = 'sid' } }, on = { track = "
                  "function() end } }",
                  "there is none of the name 'sid'");
    expect_within("return { name = 'T', rates = { a = { per_second = 1, reset = 'soon' } }, on = { track = "
                  "function() end } }",
                  "reset is \"seconds\"");
    expect_within(
        "return { name = 'T', batches = { a = { max_items = 'size' } }, on = { track = function() end } }",
        "max_items: a number above 0");
    expect_within(
        "return { name = 'T', batches = { a = { max_items = 1e300 } }, on = { track = function() end } }",
        "max_items: 1000000000 is the most");
    expect_within("return { name = 'T', batches = { a = { } }, on = { track = function() end } }",
                  "join: a function is wanted");
}

/* A schema that is wrong is told row by row. */
static void test_schema(void **state)
{
    (void)state;
    expect_lines(SETTINGS("a = { typ = 'string' }, b = 1, c = { type = 'enum' }, d = { type = 'integer', "
                          "default = 'x' }, e = { type = 'text' }"),
                 "",
                 "destinations/t/init.lua: settings.a: unknown key 'typ'; did you mean 'type'?\n"
                 "destinations/t/init.lua: settings.a: type must be one of string, integer, number, boolean, "
                 "array, text-map, url, enum\n"
                 "destinations/t/init.lua: settings.b: a table { type = …, … } is wanted\n"
                 "destinations/t/init.lua: settings.c: an enum needs values, a list of texts\n"
                 "destinations/t/init.lua: settings.d.default: a whole number is wanted\n"
                 "destinations/t/init.lua: settings.e: type must be one of string, integer, number, boolean, "
                 "array, text-map, url, enum\n");
}

static const char ALL[] =
    "local t = require 'tidegate' return { name = 'T', hosts = { 'a.example', '*.b.example', '{domain}' }, "
    "settings = { s = { type = 'string', required = true }, i = { type = 'integer', min = 1, max = 10 }, "
    "n = { type = 'number' }, b = { type = 'boolean' }, a = { type = 'array' }, m = { type = 'text-map' }, u "
    "= { type = 'url' }, "
    "e = { type = 'enum', values = { 'x', 'y' } }, d = { type = 'array', default = { 'p' } }, domain = { "
    "type = 'string', default = '' } }, "
    "on = { track = function(event, settings) local keys = {} for k in pairs(settings) do keys[#keys + 1] = "
    "k end t.skip(t.json.encode(settings)) end } }";

/* Every wrong setting is named by its path. */
static void test_settings_problems(void **state)
{
    (void)state;
    expect_lines(ALL,
                 "{\"i\":11,\"n\":\"x\",\"b\":\"yes\",\"a\":{\"k\":1},\"m\":\"x\",\"u\":\"http://"
                 "a.example\",\"e\":\"z\",\"q\":1,\"domian\":\"x\"}",
                 "destinations.t.settings.a: a list of texts is wanted, not a table with keys\n"
                 "destinations.t.settings.b: true or false is wanted\n"
                 "destinations.t.settings.e: one of these is wanted: x y\n"
                 "destinations.t.settings.i: 11 is too large: 10 at most\n"
                 "destinations.t.settings.m: an object of texts is wanted\n"
                 "destinations.t.settings.n: a number is wanted\n"
                 "destinations.t.settings.s: required\n"
                 "destinations.t.settings.u: the address must be https (http needs egress.allow_private)\n"
                 "destinations.t.settings.domian: unknown key; did you mean 'domain'?\n"
                 "destinations.t.settings.q: unknown key\n");
    expect_lines(ALL, "{\"s\":\"\"}", "destinations.t.settings.s: required\n");
    expect_lines(
        ALL, "[1]",
        "destinations.t.settings: an object of settings is wanted\ndestinations.t.settings.s: required\n");
    expect_lines(ALL, "{\"s\":true,\"i\":1.5,\"a\":[[]],\"m\":{\"a\":[]}}",
                 "destinations.t.settings.a: a list of texts is wanted, not a table\n"
                 "destinations.t.settings.i: a whole number is wanted\n"
                 "destinations.t.settings.m: an object of texts is wanted: each name with a text\n"
                 "destinations.t.settings.s: a text is wanted, not a boolean\n");
    expect_lines(ALL, "{\"s\":\"x\",\"domain\":\"https://x\"}",
                 "destinations.t.settings: domain: a host name is wanted, such as track.example.com\n");
}

static const char *settings_of(const char *settings)
{
    static struct deed d;
    struct world *w = world_new(0, 0);
    load(w, ALL, settings);
    start(w, 0, "{}", &d);
    deed_free(&d);
    world_free(w);
    return d.reason;
}

/* Values that mean the type become it; defaults are filled in; what is empty counts as not given. */
static void test_settings_converted(void **state)
{
    (void)state;
    assert_string_equal(settings_of("{\"s\":7}"), "{\"d\":[\"p\"],\"domain\":\"\",\"s\":\"7\"}");
    assert_string_equal(
        settings_of("{\"s\":12345678901234567890,\"i\":\"4\",\"n\":\" 0.5 \",\"b\":\"TRUE\"}"),
        "{\"b\":true,\"d\":[\"p\"],\"domain\":\"\",\"i\":4,\"n\":0.5,\"s\":\"12345678901234567890\"}");
    assert_string_equal(
        settings_of("{\"s\":\"x\",\"a\":\" p, q ,,r\",\"d\":[1,\"\",\" z \"],\"m\":{\"a\":1,\"b\":true}}"),
        "{\"a\":[\"p\",\"q\",\"r\"],\"d\":[\"1\",\"z\"],\"domain\":\"\",\"m\":{\"a\":\"1\",\"b\":\"true\"},"
        "\"s\":\"x\"}");
    assert_string_equal(
        settings_of("{\"s\":\"x\",\"i\":null,\"e\":\"\",\"m\":[],\"u\":\" https://c.example/p \"}"),
        "{\"d\":[\"p\"],\"domain\":\"\",\"m\":{},\"s\":\"x\",\"u\":\"https://c.example/p\"}");
}

/* check says what the schema cannot: a text, or a list; "key: …" names the setting. */
static void test_check(void **state)
{
    (void)state;
    static const char script[] =
        "return { name = 'T', settings = { a = { type = 'string', default = 'x' } }, check = function(s) "
        "if s.a == 'list' then return { 'a: bad', 'all bad' } end if s.a == 'raise' then error('oops') end "
        "if s.a == 'one' then return 'wrong: thing' end end, "
        "on = { track = function() end } }";
    expect_lines(script, "{\"a\":\"list\"}",
                 "destinations.t.settings.a: bad\ndestinations.t.settings: all bad\n");
    expect_lines(script, "{\"a\":\"one\"}", "destinations.t.settings: wrong: thing\n");
    struct world *w = world_new(0, 0);
    assert_non_null(strstr(problems_of(w, script, "{\"a\":\"raise\"}"), "t/init.lua:1: check: oops"));
    load(w, script, "{}");
    world_free(w);
}

/* The configuration's rates go before the script's: what a row leaves out is the script's, but a speed comes
 * with a burst of its own. A row that means nothing is told. */
static void test_configured_rates(void **state)
{
    (void)state;
    static const char script[] =
        "return { name = 'T', settings = { sid = { type = 'string' } }, rates = { a = { per_hour = 3600, "
        "burst = 9, "
        "account = { 'sid' }, reset = 'epoch' }, b = { per_second = 1 } }, on = { track = function() end } }";
    struct world *w = world_new(0, 0);
    w->rates = "{\"a\":{\"per_second\":20}}";
    load(w, script, "{\"sid\":\"S1\"}");
    const struct tg_rate *a = &w->dests[0]->rates[0];
    assert_true(a->per_second == 20 && a->burst == 20);
    assert_string_equal(a->account_key, "t/a/S1");
    assert_int_equal(a->reset, TG_RESET_EPOCH);
    assert_true(w->dests[0]->rates[1].per_second == 1);
    w->rates = "{\"a\":{\"burst\":2,\"reset\":\"seconds\"}}";
    load(w, script, "{\"sid\":\"S1\"}");
    a = &w->dests[1]->rates[0];
    assert_true(a->per_second == 1 && a->burst == 2);
    assert_int_equal(a->reset, TG_RESET_SECONDS);
    w->rates = "{\"a\":{\"per_second\":0,\"brst\":1},\"b\":5,\"c\":{\"per_second\":1}}";
    assert_string_equal(
        problems_of(w, script, ""),
        "destinations.t.rates.a: unknown key 'brst'; did you mean 'burst'?\n"
        "destinations.t.rates.a: per_second: a number above 0 is wanted, or the name of a setting "
        "that holds one\n"
        "destinations.t.rates.b: a table { per_second | per_minute | per_hour, … } is wanted\n"
        "destinations.t.rates.c: the script has no rate of this name; it has: a, b\n");
    world_free(w);
}

/* The contract as C: hosts with those of settings, rates per second with their account, batches, concurrency.
 */
static void test_contract_in_c(void **state)
{
    (void)state;
    static const char script[] =
        "return { name = 'Some Partner', transparent = true, hosts = { 'a.example', '{domain}', '{other}' }, "
        "concurrency = 4, "
        "settings = { domain = { type = 'string' }, other = { type = 'string', default = '' }, base = { type "
        "= 'url' }, sid = { type = 'string' }, every = { type = 'integer', default = 50 } }, "
        "rates = { account = { per_hour = 7200, burst = 9, account = { 'sid' }, reset = 'seconds' }, own = { "
        "per_minute = 120, reset = 'epoch' } }, "
        "batches = { b = { join = function() end, max_wait_ms = 'every' } }, on = { track = function() end, "
        "delete = function() end } }";
    struct world *w = world_new(0, 0);
    load(w, script, "{\"domain\":\"t.example\",\"base\":\"https://c.example:8443/x\",\"sid\":\"S1\"}");
    const struct tg_dest *d = w->dests[0];
    assert_string_equal(d->name, "t");
    assert_string_equal(d->integration, "Some Partner");
    assert_true(d->transparent);
    assert_int_equal(d->accepts, 1u << TG_TRACK | 1u << TG_DELETE);
    assert_string_equal(d->hosts[0], "a.example");
    assert_string_equal(d->hosts[1], "t.example");
    assert_string_equal(d->hosts[2], "c.example");
    assert_null(d->hosts[3]);
    assert_int_equal(d->n_rates, 2);
    assert_string_equal(d->rates[0].name, "account");
    assert_true(d->rates[0].per_second == 2 && d->rates[0].burst == 9);
    assert_string_equal(d->rates[0].account_key, "t/account/S1");
    assert_int_equal(d->rates[0].reset, TG_RESET_SECONDS);
    assert_string_equal(d->rates[1].account_key, "t/own@t");
    assert_true(d->rates[1].per_second == 2 && d->rates[1].burst == 2);
    assert_int_equal(d->rates[1].reset, TG_RESET_EPOCH);
    assert_int_equal(d->n_batches, 1);
    assert_int_equal(d->batches[0].max_wait_ms, 50);
    assert_int_equal(d->batches[0].max_items, 100);
    assert_false(d->batches[0].has_split);
    assert_int_equal(d->concurrency, 4);
    struct tg_buf json = TG_BUF_INIT(1 << 20);
    assert_int_equal(tg_dest_describe(d, &json), TG_OK);
    assert_str(tg_json_get(tg_buf_str(&json), "accepts"), "[\"track\",\"delete\"]");
    assert_str(tg_json_path(tg_buf_str(&json), TG_STR("rates.account.per_second")), "2");
    assert_str(tg_json_path(tg_buf_str(&json), TG_STR("settings.every.default")), "50");
    tg_buf_fini(&json);
    world_free(w);
}

/* Values of secret settings are masked from then on. */
static void test_secrets(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct tg_buf out = TG_BUF_INIT(1000);
    tg_mask_clear();
    load(w, SETTINGS("k = { type = 'string', secret = true }, m = { type = 'text-map', secret = true }"),
         "{\"k\":\"hunter22\",\"m\":{\"a\":\"swordfish\"}}");
    assert_int_equal(tg_mask_text(&out, TG_STR("x hunter22 y swordfish aHVudGVyMjI= z")), TG_OK);
    assert_buf(&out, "x *** y *** *** z");
    tg_buf_fini(&out);
    tg_mask_clear();
    world_free(w);
}

int main(void)
{
    tg_log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_script),
        cmocka_unit_test(test_enum_without_list),
        cmocka_unit_test(test_rows_that_vanish),
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_settings_problems),
        cmocka_unit_test(test_settings_converted),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_configured_rates),
        cmocka_unit_test(test_contract_in_c),
        cmocka_unit_test(test_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
