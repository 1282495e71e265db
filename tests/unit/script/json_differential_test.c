/* The packaged lua-cjson as the oracle of our codec: on generated documents both must read the same values
 * and read each other's output; on damaged ones ours may be stricter, never more lenient. Left out is what
 * lua-cjson does not do right: numbers of more than 14 digits (it prints no more), and lone surrogates (it
 * refuses them). */
#include "base/buf.h"
#include "script/primitives.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

enum { DOCUMENTS = 3000, DEPTH = 6 };

static const char prelude[] =
    "local cjson = require 'cjson'\n"
    "local function same(a, b, path)\n"
    "  if type(a) == 'userdata' and a ~= json.null then a = json.tonumber(a) end\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    if a ~= b then error(('%s: %s, not %s'):format(path, tostring(a), tostring(b)), 0) end\n"
    "    return\n"
    "  end\n"
    "  for k, v in pairs(a) do same(v, b[k], path .. '.' .. tostring(k)) end\n"
    "  for k in pairs(b) do if a[k] == nil then error(path .. ': lacks ' .. tostring(k), 0) end end\n"
    "end\n"
    "function agree(text)\n"
    "  local ours, theirs = json.decode(text), cjson.decode(text)\n"
    "  same(ours, theirs, 'decoded')\n"
    "  same(cjson.decode(json.encode(ours)), theirs, 'ours read by theirs')\n"
    "  same(json.decode(cjson.encode(theirs)), ours, 'theirs read by ours')\n"
    "  local once = json.encode(ours)\n"
    "  same(json.encode(json.decode(once)), once, 'encoded again')\n"
    "end\n"
    "function stricter(text)\n"
    "  local ours, why = json.try_decode(text)\n"
    "  local good, theirs = pcall(cjson.decode, text)\n"
    "  if why == nil then\n"
    "    if good then same(ours, theirs, 'decoded')\n"
    "    elseif not text:find('\\\\u[dD][89a-fA-F]') then error('only lua-cjson refuses: ' .. theirs, 0) "
    "end\n"
    "  end\n"
    "  return why == nil\n"
    "end\n";

static uint64_t next(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static unsigned pick(uint64_t *seed, unsigned n)
{
    return (unsigned)(next(seed) % n);
}

static void add(struct tg_buf *out, const char *text)
{
    assert_int_equal(tg_buf_adds(out, text), TG_OK);
}

static void add_space(struct tg_buf *out, uint64_t *seed)
{
    static const char *const spaces[] = {" ", "\n", "\t", "\r\n  "};
    if (pick(seed, 6) == 0)
        add(out, spaces[pick(seed, 4)]);
}

static void add_string(struct tg_buf *out, uint64_t *seed)
{
    static const char *const parts[] = {"a",
                                        "key",
                                        "0123456789abcdef",
                                        " ",
                                        "/",
                                        "\\/",
                                        "\\n",
                                        "\\t",
                                        "\\\"",
                                        "\\\\",
                                        "\\b\\f\\r",
                                        "\\u0041",
                                        "\\u00e9",
                                        "\\u20AC",
                                        "\\ud83d\\ude00",
                                        "\\u0000",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\x7f",
                                        "[{,:}]",
                                        "1",
                                        "null",
                                        "\\u001f"};
    add(out, "\"");
    for (unsigned n = pick(seed, 5); n > 0; n--)
        add(out, parts[pick(seed, sizeof parts / sizeof parts[0])]);
    add(out, "\"");
}

static void add_number(struct tg_buf *out, uint64_t *seed)
{
    const char *sign = pick(seed, 3) ? "" : "-";
    unsigned long long digits = next(seed) % 10000000000ULL >> pick(seed, 34);
    int rc;
    switch (pick(seed, 4)) {
    case 0:
        rc = tg_buf_printf(out, "%s%llu", sign, digits);
        break;
    case 1:
        rc = tg_buf_printf(out, "%s%llu.%03u", sign, digits, pick(seed, 1000));
        break;
    case 2:
        rc = tg_buf_printf(out, "%s%llue%+d", sign, digits, (int)pick(seed, 40) - 20);
        break;
    default:
        rc = tg_buf_printf(out, "%s0.%05u", sign, pick(seed, 100000));
    }
    assert_int_equal(rc, TG_OK);
}

static void add_value(struct tg_buf *out, uint64_t *seed, unsigned depth);

static void add_container(struct tg_buf *out, uint64_t *seed, unsigned depth, bool object)
{
    unsigned n = pick(seed, pick(seed, 8) ? 5 : 60);
    add(out, object ? "{" : "[");
    for (unsigned i = 0; i < n; i++) {
        add_space(out, seed);
        if (object) {
            add_string(out, seed);
            add_space(out, seed);
            add(out, ":");
        }
        add_value(out, seed, depth + 1);
        if (i + 1 < n)
            add(out, ",");
    }
    add_space(out, seed);
    add(out, object ? "}" : "]");
}

static void add_value(struct tg_buf *out, uint64_t *seed, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    unsigned kind = pick(seed, 10);
    add_space(out, seed);
    if (depth < DEPTH && kind < (depth < 2 ? 7 : 3))
        add_container(out, seed, depth, kind % 2 == 0);
    else if (kind < 6)
        add_string(out, seed);
    else if (kind < 9)
        add_number(out, seed);
    else
        add(out, words[pick(seed, 3)]);
    add_space(out, seed);
}

/* lua-cjson wants a container at the top of some versions; ours takes anything. */
static void make_document(struct tg_buf *out, uint64_t *seed)
{
    tg_buf_clear(out);
    add_container(out, seed, 0, pick(seed, 2));
}

static bool call(lua_State *L, const char *function, const struct tg_buf *text)
{
    lua_getglobal(L, function);
    lua_pushlstring(L, text->data, text->len);
    if (lua_pcall(L, 1, 1, 0))
        fail_msg("%s\n%.*s", lua_tostring(L, -1), (int)text->len, text->data);
    bool result = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return result;
}

static int set_up(void **state)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    tg_lua_open_json(L);
    lua_setglobal(L, "json");
    if (luaL_dostring(L, prelude))
        fail_msg("%s", lua_tostring(L, -1));
    *state = L;
    return 0;
}

static int tear_down(void **state)
{
    lua_close(*state);
    return 0;
}

/* Both codecs read a good document alike, and each reads what the other writes. */
static void test_agrees_on_good_documents(void **state)
{
    uint64_t seed = 20260102;
    struct tg_buf text = TG_BUF_INIT(1 << 20);
    for (int i = 0; i < DOCUMENTS; i++) {
        make_document(&text, &seed);
        (void)call(*state, "agree", &text);
    }
    tg_buf_fini(&text);
}

static void damage(struct tg_buf *text, uint64_t *seed)
{
    static const char bytes[] = "{}[]:,\"\\0123456789eE+-. \ntrufalsn\x80\xc3\xff\x01u";
    for (unsigned n = 1 + pick(seed, 2); n > 0 && text->len > 1; n--) {
        unsigned at = pick(seed, (unsigned)text->len);
        if (pick(seed, 3) == 0) {
            memmove(text->data + at, text->data + at + 1, text->len - at - 1);
            text->len--;
        } else {
            text->data[at] = bytes[pick(seed, sizeof bytes - 1)];
        }
    }
}

/* Of damaged documents ours accepts none that lua-cjson refuses, and what both accept is the same value. Most
 * are refused, some are still JSON. */
static void test_is_stricter_on_damaged_documents(void **state)
{
    uint64_t seed = 7;
    struct tg_buf text = TG_BUF_INIT(1 << 20);
    int good = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
        make_document(&text, &seed);
        damage(&text, &seed);
        good += call(*state, "stricter", &text);
    }
    assert_in_range(good, DOCUMENTS / 100, DOCUMENTS * 3 / 4);
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_agrees_on_good_documents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_is_stricter_on_damaged_documents, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
