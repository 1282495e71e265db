#include "config/loader.h"
#include "tg_test.h"

#include "base/mem.h"
#include "config/example.h"
#include "config/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Evaluates a text; *report gets the problems, one a line. */
static struct tg_config *load(const char *lua, char *report, size_t size)
{
    struct tg_config_text text = {
        .path = (char *)"/etc/tidegate/tidegate.lua", .text = (char *)lua, .len = strlen(lua)};
    struct tg_problems problems;
    struct tg_buf out = TG_BUF_INIT(65536);
    tg_problems_init(&problems);
    struct tg_config *c = tg_config_load(&text, &problems);
    assert_ok(tg_problems_print(&problems, &out));
    assert_true(!c == tg_problems_any(&problems));
    (void)snprintf(report, size, "%.*s", TG_STR_ARG(tg_buf_str(&out)));
    tg_buf_fini(&out);
    tg_problems_fini(&problems);
    for (size_t i = 0; i < text.n_inputs; i++) {
        tg_free(text.inputs[i].name);
        tg_free(text.inputs[i].value);
    }
    tg_free(text.inputs);
    return c;
}

static void assert_problem(const char *lua, const char *wanted)
{
    char report[65536];
    struct tg_config *c = load(lua, report, sizeof report);
    if (!strstr(report, wanted))
        fail_msg("wanted \"%s\", got:\n%s", wanted, report);
    assert_null(c);
}

#define SOURCES "sources = { { name = 'web', write_key = 'k' } }"

/* A minimal file gets every default. */
static void test_defaults(void **state)
{
    char report[4096];
    (void)state;
    struct tg_config *c = load("return { " SOURCES " }", report, sizeof report);
    assert_string_equal(report, "");
    assert_int_equal(c->n_listen, 1);
    assert_string_equal(c->listen[0].addr, "127.0.0.1:8080");
    assert_string_equal(c->admin, "127.0.0.1:9080");
    assert_true(c->workers >= 1);
    assert_string_equal(c->spool.path, "/etc/tidegate/./spool");
    assert_int_equal(c->spool.max_bytes, 10737418240);
    assert_int_equal(c->limits.body, 4194304);
    assert_int_equal(c->limits.event, 524288);
    assert_int_equal(c->dedup.window_ms, 86400000);
    assert_int_equal(c->limits.batch, 20000);
    assert_true(!c->sources[0].limits.body && !c->sources[0].limits.event && !c->sources[0].limits.batch);
    assert_true(c->sources[0].enabled && c->sources[0].record_ip && !c->sources[0].trusted);
    tg_config_free(&c);
}

/* The printed example is a configuration that loads. */
static void test_example_loads(void **state)
{
    char report[4096];
    struct tg_buf text = TG_BUF_INIT(1024 * 1024);
    (void)state;
    assert_ok(tg_config_example(&text));
    struct tg_config *c = load(tg_buf_cstr(&text), report, sizeof report);
    assert_string_equal(report, "");
    assert_non_null(c);
    assert_int_equal(c->n_sources, 1);
    assert_int_equal(c->n_destinations, 1);
    tg_config_free(&c);
    tg_buf_fini(&text);
}

/* Every option of the design's own example arrives where it belongs. */
static void test_full(void **state)
{
    char report[4096];
    (void)state;
    (void)setenv("TG_TEST_KEY", "from-env", 1);
    struct tg_config *c =
        load("return { listen = { '127.0.0.1:1', { addr = '0.0.0.0:2', cert = 'relay.crt', key = '/k.key' } "
             "}, admin = 'off', workers = 3,\n"
             "spool = { path = '/var/spool/tg', max_bytes = '1GiB', sync = 'interval:250' }, egress = { "
             "allow_private = { '10.0.0.0/8' } },\n"
             "limits = { body = 65536, event = '8KiB' }, scripts = { './mine' }, stop_time = '2s',\n"
             "sources = { { name = 'web', write_key = env('TG_TEST_KEY'), write_keys = { 'old' }, "
             "allowed_origins = { 'https://a.example' }, rate = 5, limits = { body = '32KiB', event = 4096, "
             "batch = 7 } } "
             "},\n"
             "destinations = { b = { script = 'impact', sources = { 'web' }, settings = { n = 1, list = { "
             "'x' }, t = {} },\n"
             "  backlog = { max_bytes = '20%', on_full = 'drop_oldest' }, retry = { first = '2s' } }, a = { "
             "enabled = false } } }",
             report, sizeof report);
    assert_string_equal(report, "");
    assert_int_equal(c->n_listen, 2);
    assert_string_equal(c->listen[1].cert, "/etc/tidegate/relay.crt");
    assert_string_equal(c->listen[1].key, "/k.key");
    assert_null(c->admin);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->spool.sync, TG_SPOOL_SYNC_INTERVAL);
    assert_int_equal(c->spool.sync_interval_ms, 250);
    assert_true(c->egress.allow_private);
    assert_string_equal(c->egress.private_ok.v[0], "10.0.0.0/8");
    assert_string_equal(c->scripts.v[0], "/etc/tidegate/./mine");
    assert_int_equal(c->sources[0].write_keys.n, 2);
    assert_string_equal(c->sources[0].write_keys.v[0], "from-env");
    assert_int_equal(c->sources[0].limits.body, 32768);
    assert_int_equal(c->sources[0].limits.event, 4096);
    assert_int_equal(c->sources[0].limits.batch, 7);
    assert_string_equal(c->destinations[0].name, "a");
    assert_string_equal(c->destinations[0].script, "a");
    assert_false(c->destinations[0].enabled);
    assert_string_equal(c->destinations[1].script, "impact");
    assert_string_equal(c->destinations[1].settings, "{\"list\":[\"x\"],\"n\":1,\"t\":{}}");
    assert_true(c->destinations[1].backlog.max_bytes.percent == 20);
    assert_int_equal(c->destinations[1].backlog.on_full, TG_BACKLOG_DROP_OLDEST);
    assert_int_equal(c->destinations[1].retry.first_ms, 2000);
    assert_int_equal(c->destinations[1].retry.deadline_ms, 14400000);
    tg_config_free(&c);
}

/* Each mistake is named with its path, and says what would be right. */
static void test_problems(void **state)
{
    (void)state;
    assert_problem("return 5", "must return a table");
    assert_problem("return {", "tidegate.lua:1:");
    assert_problem("return { sources = {} }", "sources: must be a list with at least one source");
    assert_problem("return {}", "sources: required");
    assert_problem("return { lisen = {}, " SOURCES " }", "lisen: unknown option; did you mean 'listen'?");
    assert_problem("return { limits = { body = 'big' }, " SOURCES " }",
                   "limits.body: must be a size such as \"4MiB\"");
    assert_problem("return { limits = { body = 1 }, " SOURCES " }",
                   "limits.body: is 1; it must be from 1024 to");
    assert_problem("return { workers = 'many', " SOURCES " }", "workers: must be a number, or \"auto\"");
    assert_problem("return { workers = 1.5, " SOURCES " }", "workers: must be a whole number");
    assert_problem("return { spool = { sync = 'often' }, " SOURCES " }", "spool.sync: must be \"group\"");
    assert_problem("return { listen = { 'here' }, " SOURCES " }", "listen[1]: \"here\" is not an address");
    assert_problem("return { listen = { { addr = ':1', cert = 'x' } }, " SOURCES " }", "key is missing");
    assert_problem("return { admin = '0.0.0.0:1', " SOURCES " }", "admin_token: required");
    assert_problem("return { sources = { { name = 'a b', write_key = 'k' } } }",
                   "sources[1].name: use 1 to 63 letters");
    assert_problem("return { sources = { { name = 'a' } } }", "sources[1].write_key: required");
    assert_problem(
        "return { sources = { { name = 'a', write_key = 'k' }, { name = 'b', write_key = 'k' } } }",
        "sources[2].write_key: is also a key of source 'a'");
    assert_problem("return { " SOURCES ", destinations = { d = { sources = { 'nobody' } } } }",
                   "destinations.d.sources[1]: there is no source 'nobody'");
    assert_problem("return { " SOURCES ", destinations = { { } } }", "each destination needs a name");
    assert_problem("return { " SOURCES ", destinations = { d = { backlog = { max_bytes = '200%' } } } }",
                   "destinations.d.backlog.max_bytes: must be a share");
    assert_problem(
        "return { " SOURCES ", destinations = { d = { dead = { on_full = 'wait' } } } }",
        "destinations.d.dead.on_full: must be one of: stop_ingest drop_oldest, not the string \"wait\"");
    assert_problem("return { x = env('TG_TEST_SURELY_UNSET') }",
                   "env(\"TG_TEST_SURELY_UNSET\"): the environment variable is not set");
    assert_problem("return { x = file('no/such') }", "file(\"no/such\")");
    assert_problem("return { egress = { allow_private = { '::1', '10.0.0.0/33' } }, " SOURCES " }",
                   "egress.allow_private[2]: \"10.0.0.0/33\"");
    assert_problem("return { sources = { { name = 'a', write_key = 'k', trusted_proxies = { 'here' } } } }",
                   "sources[1].trusted_proxies[1]: \"here\" is not an address");
    for (const char *const *wrong =
             (const char *const[]){"shop.example", "https://", "://a", "https://a/", "NULL", "", NULL};
         *wrong; wrong++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "return { sources = { { name = 'a', write_key = 'k', "
                       "allowed_origins = { 'https://a:8', 'null', '*', 'app://b', '%s' } } } }",
                       *wrong);
        assert_problem(text, "sources[1].allowed_origins[5]: \"");
    }
}

/* Values that are missing are all told, with their lines, and so is what else is wrong; nothing is said of
 * the values themselves. */
static void test_missing_values(void **state)
{
    char report[4096];
    (void)state;
    struct tg_config *c =
        load("return { listen = env('TG_TEST_UNSET_A'),\n workers = env('TG_TEST_UNSET_B'), "
             "nonsense = 1,\n"
             "sources = { { name = 'web', write_key = file('no/such') } } }",
             report, sizeof report);
    assert_null(c);
    assert_string_equal(
        report,
        "/etc/tidegate/tidegate.lua:1: env(\"TG_TEST_UNSET_A\"): the environment variable is not set; set it "
        "or "
        "give a default: env(\"TG_TEST_UNSET_A\", \"…\")\n"
        "/etc/tidegate/tidegate.lua:2: env(\"TG_TEST_UNSET_B\"): the environment variable is not set; set it "
        "or "
        "give a default: env(\"TG_TEST_UNSET_B\", \"…\")\n"
        "/etc/tidegate/tidegate.lua:3: file(\"no/such\"): /etc/tidegate/no/such: No such file or directory\n"
        "nonsense: unknown option\n");
}

/* A filter is a table, kept as JSON, or a function, which is only noted; anything else is refused by path. */
static void test_filters(void **state)
{
    char report[4096];
    (void)state;
    struct tg_config *c =
        load("return { " SOURCES ", destinations = { a = { script = 'webhook', consent = 'ads', "
             "filter = { sample = 0.5, drop = { 'properties.a' } } }, b = { script = 'webhook', "
             "filter = function(e) return e.never end }, c = { script = 'webhook', filter = {} } } }",
             report, sizeof report);
    assert_string_equal(report, "");
    assert_string_equal(c->destinations[0].filter, "{\"drop\":[\"properties.a\"],\"sample\":0.5}");
    assert_int_equal(c->destinations[0].consent.n, 1);
    assert_false(c->destinations[0].has_filter);
    assert_true(c->destinations[1].has_filter && !c->destinations[1].filter);
    assert_string_equal(c->destinations[2].filter, "{}");
    tg_config_free(&c);
    assert_problem("return { " SOURCES ", destinations = { a = { filter = 'x' } } }",
                   "destinations.a.filter");
    assert_problem("return { " SOURCES ", destinations = { a = { filter = { sample = 2 } } } }", "0 to 1");
    assert_problem("return { " SOURCES ", destinations = { a = { filter = { allow = { 'userId' } } } } }",
                   "begin with properties");
}

/* All of them at once, not only the first. */
static void test_all_at_once(void **state)
{
    char report[4096];
    (void)state;
    struct tg_config *c =
        load("return { workers = 0, limits = { body = true }, nonsense = 1 }", report, sizeof report);
    assert_null(c);
    assert_non_null(strstr(report, "workers:"));
    assert_non_null(strstr(report, "limits.body:"));
    assert_non_null(strstr(report, "nonsense:"));
    assert_non_null(strstr(report, "sources: required"));
}

/* The file sees env and file, nothing else; endless loops and memory balloons end with an error. */
static void test_sandbox(void **state)
{
    (void)state;
    assert_problem("os.exit(1)", "os");
    assert_problem("return { sources = { { name = 'w', write_key = 'k', limits = { event = '1MiB' } } } }",
                   "sources[1].limits.event: is 1048576, more than limits.event (524288)");
    assert_problem("return { limits = { batch = 10 }, sources = { { name = 'w', write_key = 'k', limits = { "
                   "batch = 11 } } } }",
                   "sources[1].limits.batch");
    assert_problem("return string.rep('x', 10)", "string");
    assert_problem("return getfenv", "must return a table");
    assert_problem("\27LJ", "tidegate.lua");
    assert_problem("while true do end", "runs too long");
    assert_problem("local t = {} for i = 1, 1e9 do t[i] = { i } end", "");
}

/* A sealed text gives the same values whatever the environment says now. */
static void test_sealed(void **state)
{
    const char *lua = "return { sources = { { name = 'web', write_key = env('TG_TEST_KEY') } } }";
    struct tg_config_text text = {.path = (char *)"x.lua", .text = (char *)lua, .len = strlen(lua)};
    struct tg_problems problems;
    (void)state;
    tg_problems_init(&problems);
    (void)setenv("TG_TEST_KEY", "first", 1);
    struct tg_config *c = tg_config_load(&text, &problems);
    assert_string_equal(c->sources[0].write_keys.v[0], "first");
    tg_config_free(&c);
    (void)setenv("TG_TEST_KEY", "second", 1);
    text.sealed = true;
    c = tg_config_load(&text, &problems);
    assert_string_equal(c->sources[0].write_keys.v[0], "first");
    tg_config_free(&c);
    tg_free(text.inputs[0].name);
    tg_free(text.inputs[0].value);
    tg_free(text.inputs);
    tg_problems_fini(&problems);
}

/* Sizes and times as people write them. */
static void test_units(void **state)
{
    double v;
    (void)state;
    assert_true(tg_parse_size(TG_STR("4MiB"), &v) && v == 4194304);
    assert_true(tg_parse_size(TG_STR("1.5 GB"), &v) && v == 1.5e9);
    assert_true(tg_parse_size(TG_STR("512"), &v) && v == 512);
    assert_false(tg_parse_size(TG_STR("MiB"), &v));
    assert_false(tg_parse_size(TG_STR("1 parsec"), &v));
    assert_false(tg_parse_size(TG_STR("1..2MiB"), &v));
    assert_false(tg_parse_size(TG_STR("-1"), &v));
    assert_true(tg_parse_duration(TG_STR("500ms"), &v) && v == 500);
    assert_true(tg_parse_duration(TG_STR("7d"), &v) && v == 7 * 86400000.0);
    assert_false(tg_parse_duration(TG_STR("8"), &v));
    assert_false(tg_parse_duration(TG_STR(""), &v));
}

/* Whatever allocation fails, nothing is leaked and nothing crashes. */
static void test_torture(void **state)
{
    (void)state;
    for (long n = 1; n < 4000; n++) {
        const char *lua = "return { listen = '127.0.0.1:1', " SOURCES
                          ", destinations = { d = { settings = { a = { 1 } } } } }";
        struct tg_config_text text = {.path = (char *)"x.lua", .text = (char *)lua, .len = strlen(lua)};
        struct tg_problems problems;
        tg_problems_init(&problems);
        tg_mem_fail_after(n);
        struct tg_config *c = tg_config_load(&text, &problems);
        int failed = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_true(c || tg_problems_any(&problems));
        tg_config_free(&c);
        tg_problems_fini(&problems);
        if (!failed)
            return;
    }
    fail_msg("it never passed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),          cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_example_loads),  cmocka_unit_test(test_full),
        cmocka_unit_test(test_problems),       cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_filters),        cmocka_unit_test(test_sandbox),
        cmocka_unit_test(test_sealed),         cmocka_unit_test(test_torture),
        cmocka_unit_test(test_missing_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
