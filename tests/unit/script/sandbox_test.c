/* What scripts cannot do: leave the sandbox, change what they share with others, run or grow without limit.
 */
#include "script/world.h"

/* What the handler's error says; the run must have ended as `end`. */
static void expect_end(const char *code, enum tg_run_end end, const char *says)
{
    static struct deed d;
    script_limit_us = end == TG_RUN_TIMEOUT ? BRIEF_US : PATIENT_US;
    run_code(code, "{\"event\":\"x\",\"properties\":{\"a\":1}}", &d);
    script_limit_us = PATIENT_US;
    if (d.end != end || (says && !strstr(d.message, says)))
        print_message("%s\n  ended %d, reason %s: %s\n", code, (int)d.end, d.reason, d.message);
    assert_int_equal(d.end, end);
    if (says)
        assert_non_null(strstr(d.message, says));
}

static void fails(const char *code, const char *says)
{
    expect_end(code, TG_RUN_ERROR, says);
}

/* Nothing of what opens the process is there, under its global name. */
static void test_no_dangerous_globals(void **state)
{
    (void)state;
    static const char *const names[] = {
        "io",         "os",     "debug",    "ffi",    "jit",       "package",  "load",
        "loadstring", "dofile", "loadfile", "xpcall", "coroutine", "newproxy", "getfenv",
        "setfenv",    "rawset", "module",   "_G",     "print",     "gcinfo",   "collectgarbage"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char code[100], says[100];
        snprintf(code, sizeof code, "local x = %s", names[i]);
        snprintf(says, sizeof says, "there is no global '%s'", names[i]);
        fails(code, says);
    }
}

/* Functions of the libraries that leak or cannot be bounded are not there either. */
static void test_no_dangerous_members(void **state)
{
    (void)state;
    assert_string_equal(
        value_of("t.skip(tostring(string.dump) .. tostring(math.random) .. tostring(math.randomseed) .. "
                 "tostring(table.move) .. tostring(('').dump))",
                 "{}"),
        "nilnilnilnilnil");
}

/* The metatable of all strings is out of reach, and so are those of shared tables. */
static void test_metatables_are_locked(void **state)
{
    (void)state;
    assert_string_equal(value_of("t.skip(tostring(getmetatable('')))", "{}"), "locked");
    assert_string_equal(value_of("t.skip(tostring(getmetatable(string)))", "{}"), "locked");
    assert_string_equal(value_of("t.skip(tostring(getmetatable(t)))", "{}"), "locked");
    fails("setmetatable(string, {})", "protected metatable");
    fails("setmetatable(t, nil)", "protected metatable");
    assert_string_equal(value_of("t.skip(type(getmetatable(event)))", "{}"), "nil");
    assert_string_equal(
        value_of("t.skip(type(getmetatable(event.properties)))", "{\"properties\":{\"a\":1}}"), "nil");
}

/* Tables that scripts share cannot be written, by no way. */
static void test_shared_tables_are_read_only(void **state)
{
    (void)state;
    fails("string.upper = nil", "read-only");
    fails("t.deliver = 1", "read-only");
    fails("t.json.encode = 1", "read-only");
    fails("t.extra = 1", "read-only");
    fails("table.insert(t, 1)", "read-only");
    fails("table.insert(string, 1)", "read-only");
    fails("table.sort(t.json)", "read-only");
    fails("table.remove(t)", "read-only");
    fails("t.json.array_mt.x = 1", "cannot be changed");
    fails("table.insert(t.json.array_mt, 1)", "read-only");
}

/* Writing a global is an error that names it; reading an unknown one too, with the nearest name. */
static void test_globals(void **state)
{
    (void)state;
    fails("total = 1", "'total' is written as a global");
    fails("local x = tostirng(1)", "there is no global 'tostirng'; did you mean 'tostring'?");
    fails("string = nil", "'string' is written as a global");
    fails("require = nil", "");
}

/* Messages name the script's file and line. */
static void test_errors_name_file_and_line(void **state)
{
    (void)state;
    static struct deed d;
    run_code("\n\nerror('broken')", "{}", &d);
    assert_int_equal(d.end, TG_RUN_ERROR);
    assert_string_equal(d.reason, "script_error");
    assert_non_null(strstr(d.message, "t/init.lua:3: broken"));
    assert_non_null(strstr(d.message, "stack traceback"));
}

/* Errors that are not text are told of, too. */
static void test_errors_without_text(void **state)
{
    (void)state;
    fails("error({})", "error with a table");
    fails("error()", "error with a nil");
    fails("error(setmetatable({}, { __tostring = function() error('x') end }))", "error with a table");
}

/* pcall catches ordinary errors, also across wait-free calls, and gives what the function returned. */
static void test_pcall(void **state)
{
    (void)state;
    assert_string_equal(
        value_of("local ok, a, b = pcall(function(x) return x, 2 end, 1) t.skip(tostring(ok) .. a .. b)",
                 "{}"),
        "true12");
    assert_string_equal(value_of("local ok, e = pcall(error, 'x', 0) t.skip(tostring(ok) .. e)", "{}"),
                        "falsex");
}

/* skip, reject and retry end the handler whatever is wrapped round them. */
static void test_ends_cannot_be_caught(void **state)
{
    (void)state;
    static struct deed d;
    run_code("pcall(t.skip, 'a') t.reject('b')", "{}", &d);
    assert_int_equal(d.end, TG_RUN_SKIP);
    assert_string_equal(d.reason, "a");
    run_code("while true do pcall(function() pcall(t.reject, 'r', 'why') end) end", "{}", &d);
    assert_int_equal(d.end, TG_RUN_REJECT);
    assert_string_equal(d.reason, "r");
    assert_string_equal(d.message, "why");
    run_code("table.sort({3,2,1}, function() t.retry('later', 2.5) end)", "{}", &d);
    assert_int_equal(d.end, TG_RUN_RETRY);
    assert_int_equal(d.retry_ms, 2500);
    run_code("setmetatable({}, { __index = function() t.skip('m') end }).x = ('a'):gsub('a', function() "
             "t.skip('g') end)",
             "{}", &d);
    assert_string_equal(d.reason, "g");
}

/* A loop is stopped, also one that catches its own end. */
static void test_loops_are_stopped(void **state)
{
    (void)state;
    expect_end("while true do end", TG_RUN_TIMEOUT, "longer than");
    expect_end("repeat local ok = pcall(function() while true do end end) until false", TG_RUN_TIMEOUT, NULL);
    expect_end("local function f() return pcall(f) end while true do f() end", TG_RUN_TIMEOUT, NULL);
    expect_end("for i = 1, 1e12 do local s = ('x'):upper() end", TG_RUN_TIMEOUT, NULL);
    expect_end("table.sort({1,2,3}, function() while true do end end)", TG_RUN_TIMEOUT, NULL);
    expect_end("local m = setmetatable({}, { __index = function() while true do end end }) pcall(function() "
               "return m.x end)",
               TG_RUN_TIMEOUT, NULL);
}

/* After a script was stopped the next event runs as if nothing had been. */
static void test_stopped_is_over(void **state)
{
    (void)state;
    struct world *w = world_new(0, BRIEF_US);
    struct deed d;
    load(w,
         HEAD ON "if event.event == 'loop' then while true do end end for i = 1, 1000 do local x = i end "
                 "t.skip('fine')" OFF,
         "");
    for (int i = 0; i < 3; i++) {
        start(w, 0, "{\"event\":\"loop\"}", &d);
        assert_int_equal(d.end, TG_RUN_TIMEOUT);
        assert_string_equal(d.reason, "script_timeout");
        deed_free(&d);
        start(w, 0, "{\"event\":\"x\"}", &d);
        assert_int_equal(d.end, TG_RUN_SKIP);
        deed_free(&d);
    }
    world_free(w);
}

/* Recursion without end and results without bound are errors of the script. */
static void test_stack_is_bounded(void **state)
{
    (void)state;
    fails("local function f() return 1 + f() end f()", "stack overflow");
    fails("return unpack({}, 1, 1e7)", "too many results");
    assert_string_equal(
        value_of("local function f(n) if n > 100 then t.skip('deep') end return 1 + f(n + 1) end f(1)", "{}"),
        "deep");
}

/* Strings that would be large at once are refused, pattern subjects too; plain find takes any. */
static void test_strings_are_bounded(void **state)
{
    (void)state;
    fails("local s = ('x'):rep(1e9)", "string.rep");
    fails("local s = ('x'):rep(1e7, 'abc')", "string.rep");
    fails("local s = ('x'):rep(300000):find('y+')", "string.find: the subject");
    fails("local s = ('x'):rep(300000):gsub('y', '')", "string.gsub: the subject");
    fails("for x in ('x'):rep(300000):gmatch('y') do end", "string.gmatch: the subject");
    fails("local s = ('x'):match(('y'):rep(2000))", "string.match: the pattern");
    assert_string_equal(value_of("t.skip(tostring((('x'):rep(300000) .. 'y'):find('y', 1, true)))", "{}"),
                        "300001");
    assert_string_equal(
        value_of("t.skip((('a,b'):gsub(',', ';')) .. ('%d'):rep(2):format(1, 2) .. ('x'):rep(3, '-'))", "{}"),
        "a;b12x-x-x");
    assert_string_equal(
        value_of(
            "local n = '' for k, v in ('a=1,b=2'):gmatch('(%w+)=(%w+)') do n = n .. k .. v end t.skip(n)",
            "{}"),
        "a1b2");
}

/* A list of rows that answers otherwise when it is read again cannot mislead the C code that sizes its memory
 * by the first answer. */
static void test_shifty_rows(void **state)
{
    (void)state;
    fails("local n = 0 local row = setmetatable({ to = 'a' }, { __index = function(_, key) if key ~= 'from' "
          "then return end n = n + 1 if n == 1 then return 'x' end local l = {} for i = 1, 4000 do l[i] = "
          "'a' .. i .. '.b' .. i end return l end }) t.map(event, { row })",
          "'from' is a path");
    fails("local rows = { { to = 'a', from = 'event', as = { function(v) return v end } } } t.map(event, "
          "rows) rows[1].as = 12345.678 t.map(event, rows)",
          "'as' is no list any more");
    assert_string_equal(
        value_of(
            "for n = 1, 40 do local rows = setmetatable({}, { __mode = 'v' }) for i = 1, 400 do rows[i] "
            "= { to = 'a' .. i, from = 'b' .. i .. '.c' } end pcall(t.map, event, rows) end t.skip('ok')",
            "{}"),
        "ok");
}

/* A request whose fields come from a function that delivers itself is one of two, both whole. */
static void test_deliver_within_deliver(void **state)
{
    (void)state;
    static struct deed d;
    run_code(
        "local function part(path, headers) return setmetatable({ method = 'GET' }, { __index = "
        "function(_, key) if key == 'url' then return 'https://a.example/' .. path end if key == 'method' "
        "then return 'GET' end if key == 'headers' then return headers() end end }) end "
        "t.deliver(part('outer', function() t.deliver(part('inner', function() return { i = 'in' } end)) "
        "return { o = 'out' } end))",
        "{}", &d);
    assert_int_equal(d.end, TG_RUN_DONE);
    assert_int_equal(d.n_requests, 2);
}

/* So deep that the C stack could end, functions that call each other through the library are an error. */
static void test_c_stack_is_bounded(void **state)
{
    (void)state;
    fails(
        "local function f(e) return t.map(e, { { to = 'a', from = 'event', as = function() return f(e) end } "
        "}) end f(event)",
        "too deeply");
    fails("local function f() return (('a'):gsub('a', f)) end f()", "too deeply");
    fails("local x x = setmetatable({}, { __index = function() return t.deliver(x) end }) t.deliver(x)",
          NULL);
    fails("local function f(a, b) table.sort({ 2, 1, 3 }, f) return a < b end f(1, 2)", NULL);
}

/* Moving items from far below the first is an error, not a loop in C that nothing can stop. */
static void test_insert_has_bounds(void **state)
{
    (void)state;
    fails("table.insert({ 1 }, -2000000000, 1)", "out of bounds");
    assert_string_equal(value_of("local l = { 'b' } table.insert(l, 1, 'a') t.skip(table.concat(l))", "{}"),
                        "ab");
}

/* Memory without end is a clean failure, and not to be caught. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    static struct deed d;
    static const char *const bombs[] = {
        "local x = {} while true do x[#x + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "while true do pcall(function() local s = ('x'):rep(8e6) while true do s = s .. s end end) end",
        "local x = {} for i = 1, 1e9 do x[i] = i end",
        "local x = {} for i = 1, 4000 do x[i] = ('x'):rep(100000 + i) end local y = table.concat(x)",
    };
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct world *w = world_new(32 << 20, 0);
        char script[1000];
        snprintf(script, sizeof script, HEAD ON "if event.event == 'bomb' then %s end t.skip('fine')" OFF,
                 bombs[i]);
        load(w, script, "");
        start(w, 0, "{\"event\":\"bomb\"}", &d);
        if (d.end != TG_RUN_MEMORY)
            print_message("%s: %d %s %s\n", bombs[i], (int)d.end, d.reason, d.message);
        assert_int_equal(d.end, TG_RUN_MEMORY);
        assert_string_equal(d.reason, "script_memory");
        deed_free(&d);
        assert_true(tg_host_memory(w->host) < 2 << 20); /* the state is a new one */
        start(w, 0, "{\"event\":\"x\"}", &d);
        assert_string_equal(d.reason, "fine");
        deed_free(&d);
        world_free(w);
    }
}

/* JSON of tables that contain themselves is an error. */
static void test_cycles(void **state)
{
    (void)state;
    fails("local x = {} x.x = x t.json.encode(x)", "");
    fails("local x = {} x.x = x t.deliver { url = 'https://a.example/', json = x }", "deliver: json");
}

/* Modules: the library's, the script's own, lua-cjson; everything else says what there is. */
static void test_require(void **state)
{
    (void)state;
    fails("require 'os'", "there is no such module");
    fails("require 'tidegate.core'", "there is no such module");
    fails("require 'tidegat'", "did you mean \"tidegate\"?");
    fails("require '.helpers'", "the script has no file helpers.lua");
    fails("require '../secret'", "the script has no file of that name");
    fails("require '..secret'", "the script has no file of that name");
    struct world *w = world_new(0, 0);
    struct deed d;
    static const struct tg_script_file files[] = {
        {"init.lua",
         "x/init.lua",
         {"local t, h = require 'tidegate', require '.helpers' return { name = 'T', on = { track = "
          "function() "
          "t.skip(h.word .. tostring(require '.helpers' == h) .. require '.sub.deep') end } }",
          162}},
        {"helpers.lua", "x/helpers.lua", {"return { word = 'w' }", 21}},
        {"sub/deep.lua", "x/sub/deep.lua", {"return 'd'", 10}}};
    struct tg_script_file all[3];
    memcpy(all, files, sizeof all);
    for (int i = 0; i < 3; i++)
        all[i].text.n = strlen(all[i].text.p);
    struct tg_script_source source = {"x", all, 3};
    struct tg_dest_spec spec = {"x", "settings", TG_STR("{}"), &source, NULL, NULL};
    assert_int_equal(tg_dest_load(w->host, &spec, &w->dests[0], &w->problems), TG_OK);
    w->n_dests = 1;
    start(w, 0, "{}", &d);
    assert_string_equal(d.reason, "wtrued");
    deed_free(&d);
    world_free(w);
}

/* lua-cjson sees events whole; its configuration is nobody else's. */
static void test_cjson(void **state)
{
    (void)state;
    static struct deed d;
    run_code(
        "local ok, cjson = pcall(require, 'cjson') if not ok then t.skip(cjson:match('not installed')) end "
        "t.skip(cjson.encode(event.properties) .. cjson.decode('[1,2]')[2] .. tostring(cjson.new))",
        "{\"properties\":{\"a\":1}}", &d);
    if (strcmp(d.reason, "not installed") != 0)
        assert_string_equal(d.reason, "{\"a\":1}2nil");
}

/* Bytecode is not taken as a script. */
static void test_no_bytecode(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    assert_non_null(strstr(problems_of(w, "\x1bLJ\x02", ""), "attempt to load chunk with wrong mode"));
    world_free(w);
}

/* The watch cell is set while a script runs, and only then. */
static void test_watch_cell(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    load(w, HEAD ON "t.skip('x')" OFF, "");
    start(w, 0, "{}", &d);
    assert_int_equal(w->watch.since_us, 0);
    assert_int_equal(w->watch.seq, 7);
    assert_string_equal(w->watch.destination, "t");
    deed_free(&d);
    world_free(w);
}

int main(void)
{
    tg_log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_dangerous_globals),
        cmocka_unit_test(test_no_dangerous_members),
        cmocka_unit_test(test_metatables_are_locked),
        cmocka_unit_test(test_shared_tables_are_read_only),
        cmocka_unit_test(test_globals),
        cmocka_unit_test(test_errors_name_file_and_line),
        cmocka_unit_test(test_errors_without_text),
        cmocka_unit_test(test_pcall),
        cmocka_unit_test(test_ends_cannot_be_caught),
        cmocka_unit_test(test_loops_are_stopped),
        cmocka_unit_test(test_stopped_is_over),
        cmocka_unit_test(test_stack_is_bounded),
        cmocka_unit_test(test_strings_are_bounded),
        cmocka_unit_test(test_shifty_rows),
        cmocka_unit_test(test_deliver_within_deliver),
        cmocka_unit_test(test_insert_has_bounds),
        cmocka_unit_test(test_c_stack_is_bounded),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_require),
        cmocka_unit_test(test_cjson),
        cmocka_unit_test(test_no_bytecode),
        cmocka_unit_test(test_watch_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
