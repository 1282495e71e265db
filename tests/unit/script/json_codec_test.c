#include "script/json_read.h"
#include "script/json_write.h"
#include "script/primitives.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Helpers that the chunks below use. */
static const char prelude[] =
    "function raises(want, f, ...)\n"
    "  local ok, why = pcall(f, ...)\n"
    "  assert(not ok, 'no error, but wanted: ' .. want)\n"
    "  assert(tostring(why):find(want, 1, true), 'wanted: ' .. want .. '\\ngot: ' .. tostring(why))\n"
    "end\n"
    "function same(got, want)\n"
    "  if got ~= want then error('got: ' .. tostring(got) .. '\\nwanted: ' .. tostring(want), 2) end\n"
    "end\n"
    "function again(text) return json.encode(json.decode(text)) end\n";

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    tg_lua_open_json(L);
    lua_setglobal(L, "json");
    assert_int_equal(luaL_dostring(L, prelude), 0);
    return L;
}

static int set_up(void **state)
{
    *state = open_state();
    return 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

static void run(lua_State *L, const char *chunk)
{
    int top = lua_gettop(L);
    if (luaL_dostring(L, chunk))
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, top);
}

/* Decoding and encoding again gives the same document: arrays stay arrays, objects objects, digits digits. */
static void test_keeps_documents(void **state)
{
    static const char *const texts[] = {
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{\"a\":[]}",
        "{\"a\":{}}",
        "[[],{},[[],{}]]",
        "{\"a\":{\"b\":{\"c\":[{}]}}}",
        "null",
        "true",
        "false",
        "[null]",
        "{\"a\":null}",
        "\"\"",
        "\"text\"",
        "\"a/b\"",
        "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "0",
        "-0",
        "1",
        "-1",
        "0.1",
        "-0.5",
        "19.99",
        "1e21",
        "1.5e300",
        "1e-7",
        "0.000001",
        "5e-324",
        "1.7976931348623157e308",
        "123456789012345",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "12345678901234567",
        "-12345678901234567",
        "18446744073709551615",
        "123456789012345678901234567890",
        "3.14159265358979323846",
        "0.1000000000000000000000000000001",
        "1e400",
        "-1e400",
        "1e-400",
        "0.30000000000000004",
        "[12345678901234567,{\"id\":98765432109876543}]",
        "[1,2,3]",
        "[[1],[2,[3]]]",
        "{\"\":0}",
        "{\"1\":\"a\",\"10\":\"b\",\"2\":\"c\"}",
        "{\"A\":1,\"a\":2,\"aa\":3,\"abcdefgh\":4,\"abcdefghi\":5,\"b\":6,\"\xc3\xa9\":7}",
    };
    lua_State *L = *state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        lua_getglobal(L, "again");
        lua_pushstring(L, texts[i]);
        if (lua_pcall(L, 1, 1, 0))
            fail_msg("%s: %s", texts[i], lua_tostring(L, -1));
        assert_string_equal(lua_tostring(L, -1), texts[i]);
        lua_pop(L, 1);
    }
}

/* What may be written in several ways comes back in one: keys sorted by bytes, numbers shortest, no white
 * space. */
static void test_writes_one_form(void **state)
{
    run(*state, "same(again ' { \"b\" : [ 1 , 2.0 ] ,\\n\"a\":1e2 } ', '{\"a\":100,\"b\":[1,2]}')\n"
                "same(again '[0.10000000000000001,1.0,100e-2,1E3,0e9,-0.0]', '[0.1,1,1,1000,0,-0]')\n"
                "same(again '\"\\\\u0041\\\\/\\\\ud83d\\\\ude00\"', '\"A/\\240\\159\\152\\128\"')\n"
                "same(again '{\"a\":1,\"b\":2,\"a\":3}', '{\"a\":3,\"b\":2}')\n"
                "same(json.encode { z = 1, aa = 2, a = 3, Z = 4, [''] = 5 }, "
                "'{\"\":5,\"Z\":4,\"a\":3,\"aa\":2,\"z\":1}')\n"
                "same(json.encode { ['a\\0b'] = 1, a = 2, ['a\\0'] = 3 }, "
                "'{\"a\":2,\"a\\\\u0000\":3,\"a\\\\u0000b\":1}')\n"
                "same(json.encode(1e15), '1000000000000000') same(json.encode(2^53), '9007199254740992')\n"
                "same(json.encode(0.1 + 0.2), '0.30000000000000004') same(json.encode(1e21), '1e21')\n"
                "same(json.encode(nil), 'null') same(json.encode('x'), '\"x\"')\n");
}

/* Values arrive as scripts expect them. */
static void test_decodes_values(void **state)
{
    run(*state,
        "local v = json.decode "
        "'{\"s\":\"x\",\"n\":1.5,\"t\":true,\"f\":false,\"z\":null,\"a\":[1,null,3],\"o\":{}}'\n"
        "same(v.s, 'x') same(v.n, 1.5) same(v.t, true) same(v.f, false) same(v.z, json.null)\n"
        "same(#v.a, 3) same(v.a[2], json.null) same(next(v.o), nil)\n"
        "same(getmetatable(v.a), json.array_mt) same(getmetatable(v.o), nil)\n"
        "same(json.decode '\"\\\\ud800\"', '\\239\\191\\189') same(json.decode '\"a\\\\u0000b\"', 'a\\0b')\n"
        "same(json.decode ' 7 ', 7) same(1 / json.decode '-0', -math.huge)\n");
}

/* Bad text raises from decode and is a result of try_decode, with the byte; a wrong argument always raises.
 */
static void test_reports_bad_text(void **state)
{
    run(*state, "raises('JSON, byte 5: expected a value', json.decode, '{\"a\":tru}')\n"
                "local v, why = json.try_decode('[1,]')\n"
                "same(v, nil) same(why, 'JSON, byte 3: expected a value')\n"
                "same(json.try_decode('[1]')[1], 1)\n"
                "for _, bad in ipairs { '', 'nul', '01', '[1', '{\"a\"}', '\"\\255\"', "
                "'\"\\237\\160\\128\"', '{}x', '[NaN]', '1\\0' } do\n"
                "  assert(not pcall(json.decode, bad), bad) same((json.try_decode(bad)), nil)\n"
                "end\n"
                "raises('string expected', json.decode) raises('string expected', json.try_decode, {})\n");
}

/* Depth and size end with an error, on the way in and on the way out. */
static void test_is_bounded(void **state)
{
    run(*state, "local deep = ('['):rep(128) .. (']'):rep(128)\n"
                "same(again(deep), deep)\n"
                "raises('nested deeper than 128 levels', json.decode, '[' .. deep .. ']')\n"
                "raises('nested deeper than 128 levels', json.encode, { json.decode(deep) })\n"
                "local mixed = ('{\"a\":['):rep(64) .. (']}'):rep(64)\n"
                "same(again(mixed), mixed)\n"
                "local loop = {} loop.self = loop\n"
                "raises('JSON: self.self.self.self.self.self.self.self.self.self.self.self…: nested deeper "
                "than 128 levels; '\n"
                "  .. 'does a table contain itself?', json.encode, loop)\n"
                "local big = ('x'):rep(16 * 1024 * 1024)\n"
                "raises('are more than 16777216', json.decode, '\"' .. big .. '\"')\n"
                "local text, why = json.try_encode { a = big }\n"
                "same(text, nil) same(why, 'JSON: a: the text would be longer than 16777216 bytes')\n"
                "local most = ('x'):rep(16 * 1024 * 1024 - 2)\n"
                "same(#json.encode(most), 16777216) same(json.decode(json.encode(most)), most)\n"
                "same(json.encode { 1 }, '[1]')\n");
}

/* What JSON cannot say is named by its path. */
static void test_names_the_path(void **state)
{
    run(*state,
        "local function bad(value, want)\n"
        "  raises('JSON: ' .. want, json.encode, value)\n"
        "  local text, why = json.try_encode(value)\n"
        "  same(text, nil) same(why:sub(1, #want + 6), 'JSON: ' .. want)\n"
        "end\n"
        "bad(0/0, 'NaN is not a JSON number')\n"
        "bad({ a = { b = { 1, math.huge } } }, 'a.b[2]: inf is not a JSON number')\n"
        "bad({ { x = -math.huge } }, '[1].x: -inf is not a JSON number')\n"
        "bad({ f = print }, 'f: a function value cannot be JSON')\n"
        "bad({ coroutine.create(print) }, '[1]: a thread value cannot be JSON')\n"
        "bad({ u = newproxy() }, 'u: a userdata value cannot be JSON')\n"
        "bad({ u = newproxy(true) }, 'u: a userdata value cannot be JSON')\n"
        "bad({ list = { 1, nil, 3 } }, 'list: an array with keys that are not 1 to 1 without holes')\n"
        "bad({ list = { [1] = 1, [5] = 5 } }, 'list: an array with keys that are not 1 to 1 without holes')\n"
        "bad({ list = { [0] = 1 } }, 'list: an array with keys that are not 1 to 0 without holes')\n"
        "bad({ list = { 1, 2, x = 3 } }, 'list: an array with keys that are not 1 to 2 without holes')\n"
        "bad({ list = { 1, [1.5] = 3 } }, 'list: an array with keys')\n"
        "bad({ list = json.array { x = 1 } }, 'list: an array with keys that are not 1 to 0 without holes')\n"
        "bad({ o = { [true] = 1 } }, 'o: an object with a key that is a boolean')\n"
        "bad({ [1e300] = 1 }, 'an array with keys')\n"
        "bad({ s = 'ab\\255' }, 's: invalid UTF-8 at byte 3 of a string')\n"
        "bad({ ['k\\128'] = 1 }, 'k\\128: invalid UTF-8 at byte 2 of a string')\n"
        "for _, s in ipairs { '\\192\\128', '\\237\\160\\128', '\\244\\144\\128\\128', '\\195', "
        "'\\224\\159\\191', '\\254' } do\n"
        "  bad(s, 'invalid UTF-8 at byte 1 of a string')\n"
        "end\n"
        "local mixed = { a = 1, b = 2 } mixed[3] = 1\n"
        "assert(not json.try_encode(mixed))\n"
        "raises('value expected', json.encode) raises('value expected', json.try_encode)\n");
}

/* Arrays are told by their mark, and by their first key. */
static void test_tells_arrays(void **state)
{
    run(*state,
        "same(json.encode {}, '{}') same(json.encode(json.array()), '[]') same(json.encode(json.array {}), "
        "'[]')\n"
        "same(json.encode(json.empty_array), '[]') same(json.encode(setmetatable({}, json.array_mt)), '[]')\n"
        "same(json.encode(setmetatable({}, json.empty_array_mt)), '[]')\n"
        "same(json.encode(setmetatable({ a = 1 }, json.empty_array_mt)), '{\"a\":1}')\n"
        "same(json.encode { a = json.array(), b = json.empty_array, c = {} }, "
        "'{\"a\":[],\"b\":[],\"c\":{}}')\n"
        "local list = {} for i = 3, 1, -1 do list[i] = i end\n"
        "same(json.encode(list), '[1,2,3]')\n"
        "local t = { 1 } same(json.array(t), t) same(json.encode(t), '[1]')\n"
        "local gone = json.decode '[1]' gone[1] = nil same(json.encode(gone), '[]')\n"
        "assert(json.is_array(json.decode '[]')) assert(json.is_array { 1 }) "
        "assert(json.is_array(json.empty_array))\n"
        "assert(json.is_array(setmetatable({}, json.empty_array_mt)))\n"
        "assert(not json.is_array {}) assert(not json.is_array { a = 1 }) assert(not "
        "json.is_array(json.null))\n"
        "assert(not json.is_array 'x') assert(not json.is_array()) assert(not json.is_array(json.decode "
        "'{}'))\n"
        "raises('table expected', json.array, 1)\n");
}

/* The marks are shared by all scripts of a state: none can change them, nor unlock a locked table by marking
 * it. */
static void test_guards_the_marks(void **state)
{
    run(*state, "raises('cannot be changed', function() json.array_mt.__index = {} end)\n"
                "raises('cannot be changed', function() json.empty_array_mt.__newindex = print end)\n"
                "raises('protected', setmetatable, json.array_mt, {})\n"
                "local locked = setmetatable({}, { __metatable = false })\n"
                "raises('protected', json.array, locked)\n"
                "same(getmetatable(json.decode '12345678901234567'), false)\n");
}

/* Exact numbers show their digits, count as doubles, and are the same value when they are written alike. */
static void test_exact_numbers(void **state)
{
    run(*state, "local v = json.decode "
                "'{\"id\":12345678901234567,\"same\":12345678901234567,\"other\":12345678901234569}'\n"
                "same(type(v.id), 'userdata') same(tostring(v.id), '12345678901234567')\n"
                "same(v.id .. '', '12345678901234567') same('id-' .. v.id, 'id-12345678901234567') same(v.id "
                ".. v.other .. 1,\n"
                "  '12345678901234567123456789012345691')\n"
                "same(('%s'):format(v.id), '12345678901234567')\n"
                "assert(v.id == v.same) assert(v.id ~= v.other) same(({ [v.id] = 7 })[v.same], 7)\n"
                "collectgarbage() assert(v.id == json.decode '12345678901234567')\n"
                "same(v.id + 0, 12345678901234568) same(2 * v.id, 24691357802469136) same(v.id - v.id, 0) "
                "same(-v.id, -12345678901234568)\n"
                "same(v.id / 1, 12345678901234568) same(v.id % 10, 8) same(v.id ^ 1, 12345678901234568) "
                "same(v.id + '1', 12345678901234568 + 1)\n"
                "assert(json.decode '12345678901234567' < json.decode '123456789012345678')\n"
                "assert(json.decode '12345678901234567' <= v.id) assert(not (v.id < v.id))\n"
                "same(json.tonumber(v.id), 12345678901234568) same(json.decode '1e400' + 0, math.huge) "
                "same(json.decode '-1e400' * 1, -math.huge)\n"
                "same(json.tonumber('0x10'), 16) same(json.tonumber('ff', 16), 255) same(json.tonumber(3), "
                "3) same(json.tonumber('x'), nil)\n"
                "same(json.tonumber({}), nil)\n"
                "raises('arithmetic on an exact number and a table value', function() return v.id + {} end)\n"
                "raises('attempt to concatenate a table value', function() return v.id .. {} end)\n"
                "raises('compare', function() return v.id < 1 end)\n");
}

/* A script makes a number from digits, exact or plain, whichever holds it. */
static void test_makes_numbers(void **state)
{
    run(*state, "same(json.encode { id = json.number '12345678901234567' }, '{\"id\":12345678901234567}')\n"
                "same(json.number '12', 12) same(json.number(1.5), 1.5) same(json.number ' 7 ', 7)\n"
                "assert(json.number '12345678901234567' == json.decode '12345678901234567')\n"
                "local x = json.number '12345678901234567' same(json.number(x), x)\n"
                "for _, bad in ipairs { '', '0x10', '1.', 'NaN', '\"1\"', '[1]', 'null', '1 2', '+1' } do "
                "same(json.number(bad), nil) end\n"
                "same(json.number {}, nil) same(json.number(true), nil)\n");
}

/* Containers larger than what is collected on the stack are complete, and the last member of a name counts.
 */
static void test_large_containers(void **state)
{
    run(*state, "for _, n in ipairs { 1, 22, 23, 24, 25, 26, 47, 48, 49, 50, 1000, 100000 } do\n"
                "  local items, members, sorted = {}, {}, {}\n"
                "  for i = 1, n do\n"
                "    items[i] = tostring(i)\n"
                "    members[i] = ('\"k%06d\":%d'):format(n - i, i)\n"
                "    sorted[i] = ('\"k%06d\":%d'):format(i - 1, n - i + 1)\n"
                "  end\n"
                "  local array = '[' .. table.concat(items, ',') .. ']'\n"
                "  same(again(array), array) same(#json.decode(array), n)\n"
                "  local object = '{' .. table.concat(members, ',') .. '}'\n"
                "  same(again(object), '{' .. table.concat(sorted, ',') .. '}')\n"
                "  local twice = '{' .. table.concat(members, ',') .. ',\"k000000\":\"last\"}'\n"
                "  same(json.decode(twice).k000000, 'last')\n"
                "end\n");
}

/* Objects that begin alike come by a learnt shape after a while; members that are missing, new, doubled,
 * null, in another order or written with escapes are read as ever. The names are told apart from Lua's words.
 */
static void test_reads_shapes(void **state)
{
    run(*state,
        "local names = { 'head', 'a', 'end', 'b c', 'q\\\\u0041', 'deep', 'list', '\xc3\xa9', "
        "'long_name_of_a_member', "
        "'', 'function', ']]', 'x.y', \"'\", '7', 'z' }\n"
        "local seed = 1\n"
        "local function random(n) seed = (seed * 16807) % 2147483647 return seed % n + 1 end\n"
        "local function value(name, depth)\n"
        "  local kind = random(6)\n"
        "  if kind == 1 then return 'null', 'null' end\n"
        "  if kind == 2 and depth < 3 then return object(depth + 1) end\n"
        "  if kind == 3 then return '[ 1,{\"head\":2}]', '[1,{\"head\":2}]' end\n"
        "  local text = kind == 4 and '12345678901234567' or '\"' .. name .. random(9) .. '\"'\n"
        "  return text, (text:gsub('\\\\u0041', 'A'))\n"
        "end\n"
        "function object(depth)\n"
        "  local texts, byname, keys = {}, {}, {}\n"
        "  for i, name in ipairs(names) do\n"
        "    if i == 1 or random(8) > 1 then\n"
        "      local at = random(12) == 1 and random(i) or i\n"
        "      name = names[at]\n"
        "      local text, want = value(name, depth)\n"
        "      texts[#texts + 1] = '\"' .. name .. '\"' .. (random(9) == 1 and ' : ' or ':') .. text\n"
        "      name = name:gsub('\\\\u0041', 'A')\n"
        "      if not byname[name] then keys[#keys + 1] = name end\n"
        "      byname[name] = want\n"
        "    end\n"
        "  end\n"
        "  table.sort(keys)\n"
        "  for i, key in ipairs(keys) do keys[i] = '\"' .. key .. '\":' .. byname[key] end\n"
        "  return '{' .. table.concat(texts, random(5) == 1 and ' , ' or ',') .. '}', "
        "'{' .. table.concat(keys, ',') .. '}'\n"
        "end\n"
        "for i = 1, 2000 do\n"
        "  local text, want = object(1)\n"
        "  same(again(text), want)\n"
        "  same(again('[' .. text .. ']'), '[' .. want .. ']')\n"
        "end\n");
}

/* A shape that is learnt in the middle of an object of the same beginning leaves that one whole. */
static void test_learns_within(void **state)
{
    run(*state,
        "local text = '{\"k\":1,\"b\":2}'\n"
        "for i = 1, 300 do\n"
        "  local other = i % 2 == 0 and '\"c\"' or '\"d' .. i % 7 .. '\"'\n"
        "  text = '{\"k\":' .. text .. ',' .. other .. ':[{\"k\":0,' .. other .. ':1}],\"z\":' .. i .. '}'\n"
        "  same(#again(text), #text)\n"
        "  same(json.decode(text).z, i)\n"
        "  if i % 100 == 0 then text = '{\"k\":1,\"c\":2}' end\n"
        "end\n");
}

/* Same prefixes, prefixes of one another, and many keys are put in byte order. */
static void test_sorts_keys(void **state)
{
    run(*state,
        "for _, n in ipairs { 2, 5, 12, 13, 40 } do\n"
        "  local t, keys = {}, {}\n"
        "  for i = 1, n do\n"
        "    local key = ('longprefix'):sub(1, i % 11) .. ('x'):rep(i % 3) .. string.char(97 + i % 7, 65 + i "
        "% 26)\n"
        "    if not t[key] then t[key] = { inner = i, a = { z = i, b = 1 } } keys[#keys + 1] = key end\n"
        "  end\n"
        "  table.sort(keys, function(a, b) return a < b end)\n"
        "  local want = {}\n"
        "  for i, key in ipairs(keys) do\n"
        "    want[i] = ('\"%s\":{\"a\":{\"b\":1,\"z\":%d},\"inner\":%d}'):format(key, t[key].inner, "
        "t[key].inner)\n"
        "  end\n"
        "  same(json.encode(t), '{' .. table.concat(want, ',') .. '}')\n"
        "end\n");
}

/* Metamethods do not take part. */
static void test_reads_raw_tables(void **state)
{
    run(*state,
        "local t = setmetatable({ a = 1 }, { __index = { b = 2 }, __len = error, __tostring = error })\n"
        "same(json.encode(t), '{\"a\":1}')\n"
        "same(json.encode(setmetatable({}, { __index = { 1 } })), '{}')\n");
}

struct push_call {
    struct tg_str text;
    unsigned flags;
};

static int call_push(lua_State *L)
{
    const struct push_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushliteral(L, "below");
    int made = tg_lua_push_json(L, call->text, call->flags);
    return lua_gettop(L) == 2 && made == 1 ? 1 : luaL_error(L, "the stack is not level");
}

static int push(lua_State *L, struct tg_str text, unsigned flags)
{
    struct push_call call = {text, flags};
    lua_pushcfunction(L, call_push);
    lua_pushlightuserdata(L, &call);
    return lua_pcall(L, 1, 1, 0);
}

/* Events are read with null as nil: members go, the last of a name counts, and items keep their places. */
static void test_reads_null_as_nil(void **state)
{
    lua_State *L = *state;
    assert_int_equal(
        push(L, TG_STR("{\"a\":null,\"b\":[null,{\"c\":null}],\"d\":1,\"d\":null,\"e\":null,\"e\":2}"),
             TG_JSON_NULL_AS_NIL),
        0);
    lua_setglobal(L, "v");
    run(L, "same(v.a, nil) same(v.b[1], json.null) same(next(v.b[2]), nil) same(v.d, nil) same(v.e, 2) "
           "same(#v.b, 2)\n"
           "same(json.encode(v), '{\"b\":[null,{}],\"e\":2}')");
    assert_int_equal(push(L, TG_STR("null"), TG_JSON_NULL_AS_NIL), 0);
    assert_true(lua_isnil(L, -1));
    assert_int_equal(push(L, TG_STR("null"), 0), 0);
    assert_int_equal(lua_type(L, -1), LUA_TLIGHTUSERDATA);
    assert_int_equal(push(L, TG_STR("{\"a\":null}"), 0), 0);
    lua_setglobal(L, "v");
    run(L, "same(v.a, json.null)");
}

/* Text validated with a deeper limit than the codec's, or not at all, ends with an error or a value, never
 * worse. */
static void test_reading_is_safe(void **state)
{
    static const char *const texts[] = {"",         "[",    "[1",  "[}", "{",    "{\"a", "{\"a\"", "{\"a\":",
                                        "{\"a\":}", "[nul", "tru", "\"", "\"\\", "[,]",  "{]"};
    lua_State *L = *state;
    char deep[600];
    memset(deep, '[', 300);
    memset(deep + 300, ']', 300);
    assert_int_not_equal(push(L, tg_str_n(deep, sizeof deep), 0), 0);
    assert_non_null(strstr(lua_tostring(L, -1), "nested deeper than 128 levels"));
    for (size_t i = 0; i < COUNT(texts); i++) {
        char *copy = tg_memdup(texts[i], strlen(texts[i]));
        assert_non_null(copy);
        (void)push(L, tg_str_n(copy, strlen(texts[i])), TG_JSON_NULL_AS_NIL);
        tg_free(copy);
        lua_settop(L, 0);
    }
}

/* From C: the text is added to the buffer, the stack stays level, and any index will do. */
static void test_encodes_from_c(void **state)
{
    lua_State *L = *state;
    struct tg_buf out = TG_BUF_INIT(64);
    char why[128] = "";
    assert_int_equal(tg_buf_adds(&out, "body="), TG_OK);
    assert_int_equal(luaL_dostring(L, "return { b = 1, a = { 'x' } }"), 0);
    lua_pushnil(L);
    assert_int_equal(tg_lua_encode_json(L, -2, &out, why, sizeof why), TG_OK);
    assert_true(tg_str_is(tg_buf_str(&out), "body={\"a\":[\"x\"],\"b\":1}"));
    assert_int_equal(lua_gettop(L), 2);
    tg_buf_clear(&out);
    assert_int_equal(tg_lua_encode_json(L, 1, &out, why, sizeof why), TG_OK);
    assert_true(tg_str_is(tg_buf_str(&out), "{\"a\":[\"x\"],\"b\":1}"));
    tg_buf_fini(&out);
}

/* From C: a fault leaves the buffer and the stack as they were and says why, whatever room there is for it.
 */
static void test_reports_faults_to_c(void **state)
{
    lua_State *L = *state;
    struct tg_buf out = TG_BUF_INIT(32);
    char why[128] = "";
    assert_int_equal(tg_buf_adds(&out, "kept"), TG_OK);
    assert_int_equal(luaL_dostring(L, "return { a = { b = { 1, print } } }, { a = ('x'):rep(40) }"), 0);
    assert_int_equal(tg_lua_encode_json(L, 1, &out, why, sizeof why), TG_INVALID);
    assert_string_equal(why, "a.b[2]: a function value cannot be JSON");
    assert_int_equal(tg_lua_encode_json(L, 2, &out, why, sizeof why), TG_TOOBIG);
    assert_string_equal(why, "a: the text would be longer than 32 bytes");
    for (size_t n = 0; n < 12; n++)
        assert_int_equal(tg_lua_encode_json(L, 1, &out, why, n), TG_INVALID);
    assert_string_equal(why, "a.b[2]: a ");
    assert_true(tg_str_is(tg_buf_str(&out), "kept"));
    assert_int_equal(lua_gettop(L), 2);
    tg_buf_fini(&out);
}

/* A text that just fits is written, and one byte less of room is "too big", at every size. */
static void test_fits_exactly(void **state)
{
    lua_State *L = *state;
    char why[128];
    assert_int_equal(luaL_dostring(L, "return { z = { 'a', 1.5, true, json.null, {}, json.array() }, a = "
                                      "'x\"y', m = { b = 1, a = 2 } }"),
                     0);
    const char *want = "{\"a\":\"x\\\"y\",\"m\":{\"a\":2,\"b\":1},\"z\":[\"a\",1.5,true,null,{},[]]}";
    for (size_t max = 0; max <= strlen(want); max++) {
        struct tg_buf out = TG_BUF_INIT(max);
        int rc = tg_lua_encode_json(L, 1, &out, why, sizeof why);
        assert_int_equal(rc, max < strlen(want) ? TG_TOOBIG : TG_OK);
        tg_buf_fini(&out);
    }
}

/* Failing allocations of our own are results; nothing leaks and the codec goes on. */
static void test_survives_our_allocations(void **state)
{
    lua_State *L = *state;
    run(L, "value = {} for i = 1, 200 do value['key' .. i] = { i, 'a\\nb', { z = 1, a = 2 } } end expected = "
           "json.encode(value)\n"
           "big = json.encode { ('\\n'):rep(300000) }");
    for (long n = 1;; n++) {
        assert_true(n < 1000);
        tg_mem_fail_after(n);
        int rc =
            luaL_dostring(L, "local got = json.encode(value) assert(got == expected)\n"
                             "assert(json.decode(big)[1] == ('\\n'):rep(300000))\n"
                             "round = (round or 0) + 1\n"
                             "for i = 1, 9 do local t = json.decode('{\"k' .. round .. '\":1,\"b\":[2]}') "
                             "assert(t.b[1] == 2 and t['k' .. round] == 1) end");
        bool failed = tg_mem_failed();
        tg_mem_fail_after(0);
        if (rc)
            assert_non_null(strstr(lua_tostring(L, -1), "memory"));
        lua_settop(L, 0);
        if (!failed) {
            assert_int_equal(rc, 0);
            break;
        }
    }
    run(L, "same(json.encode(value), expected)");
}

struct budget {
    long left; /* allocations; negative: no limit */
};

static void *limited_alloc(void *arg, void *p, size_t old, size_t size)
{
    struct budget *b = arg;
    (void)old;
    if (size == 0) {
        tg_free(p);
        return NULL;
    }
    if (size > old && b->left >= 0 && b->left-- <= 0) {
        b->left = 0;
        return NULL;
    }
    return tg_realloc(p, size);
}

/* One more than it takes to learn it, and one read by it. */
#define SHAPED "{\"one\":1,\"two\":[\"2\"]},"

static int work(lua_State *L)
{
    static struct tg_buf out = TG_BUF_INIT(4096);
    static const struct tg_str text =
        TG_STR("{\"a\":[1,12345678901234567,\"x\\ny\",{\"b\":[[]]}],\"c\":{"
               "\"d\":null},\"long\":\"\\u0041 long string\",\"shape\":[" SHAPED SHAPED SHAPED SHAPED SHAPED
                   SHAPED SHAPED SHAPED SHAPED "{}]}");
    char why[64];
    tg_lua_open_json(L);
    tg_lua_push_json(L, text, 0);
    tg_buf_clear(&out);
    if (tg_lua_encode_json(L, -1, &out, why, sizeof why))
        return luaL_error(L, "%s", why);
    tg_buf_fini(&out);
    return 0;
}

/* Lua running out of memory at any point of opening, reading and writing is a Lua error and nothing else. */
static void test_survives_lua_allocations(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        assert_true(n < 2000);
        struct budget budget = {-1};
        lua_State *L = lua_newstate(limited_alloc, &budget);
        assert_non_null(L);
        budget.left = n;
        int rc = lua_cpcall(L, work, NULL);
        bool failed = budget.left == 0;
        budget.left = -1;
        if (!failed)
            assert_int_equal(rc, 0);
        if (rc) { /* the same state works again */
            assert_int_equal(rc, LUA_ERRMEM);
            assert_int_equal(lua_cpcall(L, work, NULL), 0);
        }
        lua_close(L);
        if (!failed)
            break;
    }
}

/* States do not know of each other, and opening twice gives tables that share their marks. */
static void test_serves_several_states(void **state)
{
    lua_State *L = *state, *other = open_state();
    run(other, "same(again '[12345678901234567,[]]', '[12345678901234567,[]]')");
    tg_lua_open_json(L);
    lua_setglobal(L, "json2");
    run(L, "same(json2.array_mt, json.array_mt) same(json2.encode(json.decode '[]'), '[]')\n"
           "same(json2.decode '12345678901234567', json.decode '12345678901234567')");
    lua_close(other);
    run(L, "same(again '[]', '[]')");
}

/* A state without the base library still gets the codec. */
static void test_needs_no_base_library(void **state)
{
    (void)state;
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    tg_lua_open_json(L);
    lua_setglobal(L, "json");
    assert_int_equal(
        luaL_dostring(L, "return json.tonumber('7') + json.tonumber(json.number '12345678901234567')"), 0);
    assert_true(lua_tonumber(L, -1) == 12345678901234575.0);
    assert_int_equal(luaL_dostring(L, "return json.tonumber({})"), 0);
    assert_true(lua_isnil(L, -1));
    lua_close(L);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_keeps_documents),
        CASE(test_writes_one_form),
        CASE(test_decodes_values),
        CASE(test_reports_bad_text),
        CASE(test_is_bounded),
        CASE(test_names_the_path),
        CASE(test_tells_arrays),
        CASE(test_guards_the_marks),
        CASE(test_exact_numbers),
        CASE(test_makes_numbers),
        CASE(test_large_containers),
        CASE(test_reads_shapes),
        CASE(test_learns_within),
        CASE(test_sorts_keys),
        CASE(test_reads_raw_tables),
        CASE(test_reads_null_as_nil),
        CASE(test_reading_is_safe),
        CASE(test_encodes_from_c),
        CASE(test_reports_faults_to_c),
        CASE(test_fits_exactly),
        CASE(test_survives_our_allocations),
        CASE(test_survives_lua_allocations),
        CASE(test_serves_several_states),
        CASE(test_needs_no_base_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
