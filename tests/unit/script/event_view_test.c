/* What a handler reads of an event: plain tables, the normalised fields, paths, first hits and mapped rows.
 */
#include "script/world.h"

static const char FULL[] = "{\"type\":\"track\",\"writeKey\":\"secret\",\"_metadata\":{},\"event\":\"Buy\","
                           "\"messageId\":\"own\",\"userId\":7,\"timestamp\":\"x\","
                           "\"nothing\":null,\"context\":{\"traits\":{\"email\":\"A@b.c\"},\"page\":[],"
                           "\"os\":\"iOS\",\"ip\":\"1.2.3.4\",\"a.b\":{\"c.d\":1}},"
                           "\"properties\":{\"total\":\"76.50\",\"n\":76.0,\"big\":12345678901234567890,"
                           "\"empty\":\"\",\"none\":null,\"no\":false,\"zero\":0,"
                           "\"list\":[],\"products\":[{\"sku\":\"s1\"},null,{\"sku\":\"s3\"}],\"a.b\":"
                           "\"dotted\",\"a\":{\"b\":\"deep\"},\"7\":\"seven\"},\"tags\":[\"x\",\"y\"]}";

#define READS(code, text) assert_string_equal(value_of("t.skip(" code ")", FULL), text)

/* Fields that ingest has normalised come from there, not from the body; the write key is not shown. */
static void test_normalised_fields(void **state)
{
    (void)state;
    READS("event.type .. event.messageId .. event.userId", "trackm-1u-1");
    READS("event.timestamp .. event.receivedAt", "2023-11-14T22:13:20.000Z2023-11-14T22:13:21.000Z");
    READS("tostring(event.sentAt) .. tostring(event.originalTimestamp)", "nilnil");
    READS("tostring(event.writeKey) .. tostring(event._metadata) .. tostring(event.anonymousId)",
          "nilnilnil");
    READS("event.event .. event.tags[2]", "Buyy");
}

/* JSON null reads as nil; other empty values survive. */
static void test_null_and_empty(void **state)
{
    (void)state;
    READS("tostring(event.nothing) .. tostring(event.properties.none)", "nilnil");
    READS("tostring(event.properties.no) .. event.properties.zero .. '[' .. event.properties.empty .. ']'",
          "false0[]");
    READS("type(event.properties.list) .. #event.properties.list .. event.properties.n", "table076");
    READS("t.json.encode(event.properties.list) .. t.json.encode { b = event.properties.big }",
          "[]{\"b\":12345678901234567890}");
}

/* The objects that scripts reach through read as empty tables when they are missing, [] or of another type;
 * nothing else does. */
static void test_default_objects(void **state)
{
    (void)state;
    static const char code[] = "local c = event.context for _, name in ipairs { 'traits', 'page', "
                               "'referrer', 'app', 'device', 'os' } do "
                               "assert(next(c[name]) == nil and c[name].x == nil, name) end for _, name in "
                               "ipairs { 'properties', 'traits', 'integrations' } do "
                               "assert(next(event[name]) == nil and event[name].x == nil, name) end "
                               "assert(c.network == nil and event.other == nil) "
                               "assert(next(t.get(event, 'context.traits')) == nil) assert(t.get(event, "
                               "'context.traits.email') == nil) t.skip('ok')";
    static const char *const bodies[] = {
        "{}",
        "{\"context\":[],\"properties\":[],\"traits\":[],\"integrations\":[]}",
        "{\"context\":null,\"properties\":null}",
        "{\"context\":\"x\",\"properties\":7,\"traits\":true,\"integrations\":[1]}",
        "{\"context\":{\"traits\":null,\"page\":[],\"referrer\":\"x\",\"app\":7,\"os\":[1]}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        assert_string_equal(value_of(code, bodies[i]), "ok");
}

/* pairs, ipairs, next, #, rawget, unpack, table functions and json.encode see events that were not looked at
 * before. */
static void test_untouched_tables(void **state)
{
    (void)state;
    static const char names[] =
        "local n = {} for k in pairs(%s) do n[#n + 1] = k end table.sort(n) t.skip(table.concat(n, ','))";
    char code[500];
    snprintf(code, sizeof code, names, "event");
    assert_string_equal(
        value_of(code, "{\"event\":\"Buy\",\"x\":1}"),
        "context,event,integrations,messageId,properties,receivedAt,timestamp,traits,type,userId,x");
    snprintf(code, sizeof code, names, "event.properties");
    assert_string_equal(value_of(code, "{\"properties\":{\"b\":1,\"a\":2}}"), "a,b");
    snprintf(code, sizeof code, names, "event.context");
    assert_string_equal(value_of(code, "{}"), "app,device,os,page,referrer,traits");
    READS("next(event.context.traits)", "email");
    READS("rawget(event, 'event') .. rawget(event.properties, 'total')", "Buy76.50");
    READS("type(unpack(event.properties.products))", "table");
    assert_string_equal(
        value_of("t.skip(t.json.encode(event.properties))", "{\"properties\":{\"b\":[],\"a\":{}}}"),
        "{\"a\":{},\"b\":[]}");
    assert_string_equal(value_of("t.skip(t.json.encode { x = event.properties, y = { event.traits } })",
                                 "{\"properties\":{\"b\":1},\"traits\":{\"q\":true}}"),
                        "{\"x\":{\"b\":1},\"y\":[{\"q\":true}]}");
    assert_string_equal(value_of("setmetatable(event.properties, { __index = function() return 'd' end }) "
                                 "t.skip(event.properties.a .. event.properties.z)",
                                 "{\"properties\":{\"a\":\"1\"}}"),
                        "1d");
}

/* Writes are the handler's own and are read back, before and after the first read. */
static void test_writes(void **state)
{
    (void)state;
    READS("(function() event.event = 'Other' event.properties.total = 1 event.properties.new = 2 "
          "return event.event .. event.properties.total .. event.properties.new .. event.properties.n end)()",
          "Other1276");
    READS("(function() event.properties = nil return tostring(event.properties) .. tostring(t.get(event, "
          "'properties.n')) end)()",
          "nilnil");
    READS("(function() event.properties = { n = 5 } return tostring(t.get(event, 'properties.n')) end)()",
          "5");
    READS("(function() event.properties.n = 6 return t.get(event, 'properties.n') .. t.first(event, { 'x', "
          "'properties.n' }) end)()",
          "66");
    READS("(function() table.insert(event.properties.list, 'i') return t.json.encode(event.properties.list) "
          "end)()",
          "[\"i\"]");
}

/* Members are looked at one by one before the event is filled: tables stay the same ones, what was changed in
 * them or taken out stays so, and all ways of reading see it. */
static void test_single_members(void **state)
{
    (void)state;
    READS(
        "tostring(event.properties == event.properties) .. tostring(event.tags == event.tags) .. event.event",
        "truetrueBuy");
    READS(
        "(function() local p = event.properties p.total = 5 return event.properties.total .. "
        "t.get(event, 'properties.total') .. t.map(event, { { to = 'x', from = { 'properties.total' } } }).x "
        ".. event.event end)()",
        "555Buy");
    READS(
        "(function() local p, n = event.properties, 0 p.new = 1 event.userId = nil for k in pairs(event) do "
        "n = n + 1 end return n .. tostring(event.userId) .. event.properties.new .. event.properties.n "
        "end)()",
        "10nil176");
    READS(
        "(function() local c = event.context event.context = nil local n = 0 for k, v in pairs(event) do n = "
        "n + (v == c and 1 or 0) end return tostring(event.context) .. n .. tostring(t.get(event, "
        "'context.ip')) end)()",
        "nil0nil");
    READS("(function() local c = event.context event.context = nil return tostring(event.context) end)()",
          "nil");
    READS("(function() local c = event.context event.context = { ip = 'new' } return event.context.ip .. "
          "t.get(event, 'context.ip') end)()",
          "newnew");
    READS("(function() local c = event.context c.app.x = 1 c.screen = { y = 2 } local names = {} for k in "
          "pairs(c) "
          "do names[#names + 1] = k end table.sort(names) return table.concat(names, ',') .. c.app.x .. "
          "c.screen.y .. tostring(c.network) .. type(c.os) .. t.get(event, 'context.app.x') end)()",
          "a.b,app,device,ip,os,page,referrer,screen,traits12niltable1");
    READS("t.json.encode(event.context)",
          "{\"a.b\":{\"c.d\":1},\"app\":{},\"device\":{},\"ip\":\"1.2.3.4\","
          "\"os\":{},\"page\":{},\"referrer\":{},\"traits\":{\"email\":\"A@b.c\"}}");
    READS("t.json.encode { event.context.traits, event.properties.products } .. "
          "tostring(event.nothing) .. tostring(event.none) .. tostring(event[1]) .. tostring(event[true])",
          "[{\"email\":\"A@b.c\"},[{\"sku\":\"s1\"},null,{\"sku\":\"s3\"}]]nilnilnilnil");
}

/* The envelope's context and integrations stand for the body's. */
static void test_replaced_members(void **state)
{
    (void)state;
    struct world *w = world_new(0, 0);
    struct deed d;
    struct tg_event ev = event_of("{\"context\":{\"ip\":\"9\"},\"integrations\":{\"x\":1}}");
    ev.context = TG_STR("{\"ip\":\"1\",\"traits\":{\"a\":\"b\"}}");
    ev.integrations = TG_STR("{\"All\":false}");
    load(w,
         HEAD ON "t.skip(t.get(event, 'context.ip') .. event.context.traits.a .. "
                 "tostring(event.integrations.All) .. tostring(event.integrations.x))" OFF,
         "");
    start_with(w, 0, &ev, "", &d);
    assert_string_equal(d.reason, "1bfalsenil");
    deed_free(&d);
    world_free(w);
}

/* Both ways of reading, from the bytes and from tables that were built, give the same for every path. */
static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
    } rows[] = {
        {"event", "Buy"},
        {"context.traits.email", "A@b.c"},
        {"context.ip", "1.2.3.4"},
        {"properties.total", "76.50"},
        {"properties.products.0.sku", "s1"},
        {"properties.products.2.sku", "s3"},
        {"properties.products.1.sku", "nil"},
        {"properties.products.1", "nil"},
        {"properties.products.9.sku", "nil"},
        {"properties.a.b", "dotted"},
        {"properties.7", "seven"},
        {"properties.none", "nil"},
        {"properties.no", "false"},
        {"properties.empty", ""},
        {"context.a.b.c.d", "nil"},
        {"tags.1", "y"},
        {"tags.x", "nil"},
        {"event.x", "nil"},
        {"properties.total.0", "nil"},
        {"properties..total", "nil"},
        {"nothing", "nil"},
        {"writeKey", "nil"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char code[500];
        snprintf(code, sizeof code, "t.skip('=' .. tostring(t.get(event, '%s')))", rows[i].path);
        assert_string_equal(value_of(code, FULL) + 1, rows[i].value);
        snprintf(code, sizeof code,
                 "for k in pairs(event.properties) do end for k in pairs(event.context) do end t.skip('=' .. "
                 "tostring(t.get(event, '%s')))",
                 rows[i].path);
        assert_string_equal(value_of(code, FULL) + 1, rows[i].value);
    }
}

/* The first value that is there wins; nil, empty texts and empty tables are passed over, false and 0 are not.
 */
static void test_first(void **state)
{
    (void)state;
    READS("t.first(event, { 'properties.none', 'properties.empty', 'properties.list', 'context.page', "
          "'properties.total' })",
          "76.50");
    READS("tostring(t.first(event, { 'properties.no', 'properties.total' }))", "false");
    READS("tostring(t.first(event, { 'properties.zero', 'properties.total' }))", "0");
    READS("tostring(t.first(event, { 'x', 'y' }))", "nil");
    READS("tostring(t.first(event, {}))", "nil");
}

static const char *map_of(const char *rows)
{
    char code[1000];
    snprintf(code, sizeof code, "t.skip(t.json.encode(t.map(event, { %s })))", rows);
    return value_of(code, FULL);
}

/* Rows fill a table; what is not there is left out, a default stands in. */
static void test_map(void **state)
{
    (void)state;
    assert_string_equal(map_of("{ to = 'a', from = 'event' }, { to = 'b', from = { 'x', 'properties.total' } "
                               "}, { to = 'c', from = 'x' }"),
                        "{\"a\":\"Buy\",\"b\":\"76.50\"}");
    assert_string_equal(
        map_of(
            "{ to = 'a', from = 'x', default = 'd' }, { to = 'b', from = 'properties.empty', default = 1 }"),
        "{\"a\":\"d\",\"b\":1}");
    assert_string_equal(map_of(""), "{}");
}

/* From the event's bytes, get and map give what they give once all has been read as tables: names with dots,
 * escapes, the last of equal names, indices, nothing where nothing is, and bodies of many members. */
static void test_bytes_and_tables_agree(void **state)
{
    (void)state;
    static const char code[] =
        "local paths = { 'event', 'type', 'messageId', 'timestamp', 'sentAt', 'writeKey', 'm9', 'tags.1', "
        "'tags.x', "
        "'x.y', 'event.x', 'messageId.x', 'context', 'context.ip', 'context.os', 'context.os.x', "
        "'context.page', "
        "'context.page.url', 'context.page.0', 'context.traits.email', 'context.a.b.c.d', 'context.a.b', "
        "'properties.a.b', 'properties.a', 'properties.twice', 'properties.gone', "
        "'properties.products.0.sku', "
        "'properties.products.1', 'properties.products.2.sku.x', "
        "'properties.products.9', "
        "'properties.products.sku', 'properties.7', 'properties.6', 'properties.k\195\169y', "
        "'properties.q\"', "
        "'properties.', 'properties..x', '.', '.x', 'properties.big', 'properties.text', 'traits', "
        "'traits.x', "
        "'integrations.All', 'p.q', 'p', 'p.r', 'context.network' } "
        "local function seen(v) return type(v) == 'table' and t.json.encode(v) or tostring(v) end "
        "local rows, texts, got = {}, {}, {} "
        "for i, p in ipairs(paths) do rows[i] = { to = p, from = { 'none.' .. p, p } } "
        "texts[i] = { to = p, from = p, as = 'string' } end "
        "local mapped = t.json.encode(t.map(event, texts)) "
        "if %d == 1 then for i, p in ipairs(paths) do got[i] = seen(t.get(event, p)) end end "
        "local whole = t.json.encode(t.map(event, rows)) "
        "t.json.encode(event) "
        "local function same(what, a, b) if a ~= b then error(what .. ': ' .. a .. ' / ' .. b) end end "
        "same('map', whole, t.json.encode(t.map(event, rows))) "
        "same('map as', mapped, t.json.encode(t.map(event, texts))) "
        "for i, p in ipairs(paths) do if got[i] then same(p, got[i], seen(t.get(event, p))) end end "
        "t.skip('ok')";
    static const char *const bodies[] = {
        FULL,
        "{}",
        "{\"context\":[],\"properties\":[1],\"traits\":\"x\",\"p.q\":1,\"p\":{\"q\":2,\"r\":{\"s\":3}},"
        "\"event\":null}",
        "{\"\\u0063ontext\":{\"\\u0069p\":\"1\",\"page\":{\"url\":\"u\\n\"}},\"ev\\u0065nt\":\"E\","
        "\"message\\u0049d\":\"own\","
        "\"properties\":{\"k\\u00e9y\":1,\"q\\\"\":2,\"twice\":1,\"twice\":{\"x\":2},\"gone\":1,\"gone\":"
        "null,\"\":{\"x\":4}}}",
        "{\"properties\":{\"a\":1},\"properties\":{\"a\":{\"b\":2}},\"event\":\"1\",\"event\":\"2\",\"\":{"
        "\"\":1,\"x\":2}}",
        "{\"m1\":1,\"m2\":2,\"m3\":3,\"m4\":4,\"m5\":5,\"m6\":6,\"m7\":7,\"m8\":8,\"m9\":9,\"event\":"
        "\"late\","
        "\"tags\":[null,\"b\"],\"m9\":\"last\",\"p\":{\"r\":[]}}",
    };
    for (size_t i = 0; i < 2 * (sizeof bodies / sizeof *bodies); i++) {
        char text[sizeof code + 8];
        struct deed d;
        snprintf(text, sizeof text, code, (int)(i % 2));
        run_code(text, bodies[i / 2], &d);
        if (d.end != TG_RUN_SKIP)
            print_message("%s: %s\n", bodies[i / 2], d.message);
        assert_int_equal(d.end, TG_RUN_SKIP);
    }
}

/* A list of rows is read once; one that has grown, or is another one, is read anew. */
static void test_rows_are_kept(void **state)
{
    (void)state;
    READS("(function() local rows, n = { { to = 'a', from = 'event' } }, {} "
          "n[1] = t.json.encode(t.map(event, rows)) n[2] = t.json.encode(t.map({ event = 'x' }, rows)) "
          "rows[2] = { to = 'b', from = 'type' } n[3] = t.json.encode(t.map(event, rows)) "
          "for i = 1, 300 do local r = t.map({ v = i }, { { to = 'n' .. i, from = 'v' } }) assert(r['n' .. "
          "i] == i) end "
          "return table.concat(n) end)()",
          "{\"a\":\"Buy\"}{\"a\":\"x\"}{\"a\":\"Buy\",\"b\":\"track\"}");
}

/* More paths than the C stack has room for. */
static void test_many_rows(void **state)
{
    (void)state;
    READS("(function() local rows, from = {}, { properties = {} } "
          "for i = 1, 500 do rows[i] = { to = 'r' .. i, from = { 'x.' .. i, 'properties.p' .. i } } "
          "from.properties['p' .. i] = i end local m = t.map(from, rows) "
          "for i = 1, 500 do assert(m['r' .. i] == i) end return 'ok' end)()",
          "ok");
}

/* Conversions: what they take, and that what they cannot is passed over. */
static void test_conversions(void **state)
{
    (void)state;
    static const struct {
        const char *value, *as, *result;
    } rows[] = {
        {"76.0", "'string'", "\"76\""},
        {"true", "'string'", "\"true\""},
        {"[1]", "'string'", ""},
        {"12345678901234567890", "'string'", "\"12345678901234567890\""},
        {"\" 76.50 \"", "'number'", "76.5"},
        {"\"76,50\"", "'number'", ""},
        {"\"0x10\"", "'number'", ""},
        {"\"inf\"", "'number'", ""},
        {"\"1e400\"", "'number'", ""},
        {"true", "'number'", ""},
        {"\"42\"", "'integer'", "42"},
        {"42.0", "'integer'", "42"},
        {"42.5", "'integer'", ""},
        {"\"TRUE\"", "'boolean'", "true"},
        {"0", "'boolean'", "false"},
        {"\"yes\"", "'boolean'", ""},
        {"\"2026-01-02T03:04:05+01:00\"", "'iso_time'", "\"2026-01-02T02:04:05.000Z\""},
        {"1767323045", "'iso_time'", "\"2026-01-02T03:04:05.000Z\""},
        {"1767323045678", "'unix_time'", "1767323045"},
        {"\"2026-01-02\"", "'unix_ms'", "1767312000000"},
        {"\"tomorrow\"", "'unix_time'", ""},
        {"1e300", "'iso_time'", ""},
        {"\" A@B.c \"", "{ 'trim', 'lower' }", "\"a@b.c\""},
        {"\"\xc3\x89x\"", "'upper'", "\"\xc3\x89X\""},
        {"\"  \"", "'trim'", ""},
        {"\" John.Doe@example.com \"", "{ 'trim', 'lower', 'sha1' }",
         "\"73ec53c4ba1747d485ae2a0d7bfafa6cda80a5a9\""},
        {"\"\"", "'sha256'", ""},
        {"\"abc\"", "'md5'", "\"900150983cd24fb0d6963f7d28e17f72\""},
        {"\"abc\"", "'sha256'", "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""},
        {"\"x\"", "function(v) return v .. 'y' end", "\"xy\""},
        {"\"x\"", "{ function(v) return nil end, 'string' }", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char code[500], body[200], want[200];
        snprintf(code, sizeof code,
                 "t.skip(t.json.encode(t.map(event, { { to = 'v', from = 'properties.v', as = %s } })))",
                 rows[i].as);
        snprintf(body, sizeof body, "{\"properties\":{\"v\":%s}}", rows[i].value);
        snprintf(want, sizeof want, *rows[i].result ? "{\"v\":%s}" : "{}", rows[i].result);
        assert_string_equal(value_of(code, body), want);
    }
    assert_string_equal(map_of("{ to = 'n', from = { 'event', 'properties.total' }, as = 'number' }"),
                        "{\"n\":76.5}");
}

/* A required row rejects with its name, or skips with the word that it gives. */
static void test_required(void **state)
{
    (void)state;
    struct deed d;
    run_code("t.map(event, { { to = 'order_id', from = 'x', required = true } })", FULL, &d);
    assert_int_equal(d.end, TG_RUN_REJECT);
    assert_string_equal(d.reason, "missing_order_id");
    run_code("t.map(event, { { to = 'order_id', from = 'x', required = 'no_order' } })", FULL, &d);
    assert_int_equal(d.end, TG_RUN_SKIP);
    assert_string_equal(d.reason, "no_order");
}

/* Wrong rows and paths are errors that say which. */
static void test_misuse(void **state)
{
    (void)state;
    static const struct {
        const char *code, *says;
    } rows[] = {
        {"t.get(event)", "a path is a text"},
        {"t.get(event, '')", "not an empty one"},
        {"t.get('x', 'y')", "table expected"},
        {"t.first(event, 'x')", "table expected"},
        {"t.map(event, { 1 })", "row 1: a row is a table"},
        {"t.map(event, { { to = 'a', from = 'b' }, { from = 'b' } })", "row 2: 'to' is the name"},
        {"t.map(event, { { to = 'a' } })", "row 1: 'from' is a path"},
        {"t.map(event, { { to = 'a', from = 'b', az = 1 } })", "row 1: unknown key 'az'; did you mean 'as'?"},
        {"t.map(event, { { to = 'a', from = 'b', as = 'strnig' } })",
         "there is no conversion 'strnig'; did you mean 'string'?"},
        {"t.map(event, { { to = 'a', from = { 1 } } })", "a path is a text"},
        {"t.map(event, { { to = 'a', from = 'b', required = 1 } })", "'required' is true"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct deed d;
        run_code(rows[i].code, FULL, &d);
        if (!strstr(d.message, rows[i].says))
            print_message("%s: %s\n", rows[i].code, d.message);
        assert_int_equal(d.end, TG_RUN_ERROR);
        assert_non_null(strstr(d.message, rows[i].says));
    }
}

/* raw gives the forward bytes, untouched by what the handler wrote. */
static void test_raw(void **state)
{
    (void)state;
    assert_string_equal(
        value_of("event.event = 'Other' t.skip((t.raw(event):gsub('2023[^\"]*', 'T')))",
                 "{\"event\":\"Buy\",\"writeKey\":\"k\",\"properties\":[ ],\"messageId\":\"m-1\"}"),
        "{\"event\":\"Buy\",\"properties\":[ "
        "],\"messageId\":\"m-1\",\"type\":\"track\",\"timestamp\":\"T\",\"receivedAt\":\"T\"}");
}

int main(void)
{
    tg_log_set_fd(-1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalised_fields),
        cmocka_unit_test(test_null_and_empty),
        cmocka_unit_test(test_default_objects),
        cmocka_unit_test(test_untouched_tables),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_single_members),
        cmocka_unit_test(test_replaced_members),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_bytes_and_tables_agree),
        cmocka_unit_test(test_rows_are_kept),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_raw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
