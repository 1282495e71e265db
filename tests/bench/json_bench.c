/* Decode, map and encode one track event of about 1.1 KB, with our codec and with the packaged lua-cjson, in
 * a LuaJIT whose compiler is off, as scripts run in the relay. Prints microseconds per event, the best of
 * several rounds, and the ratio. Both codecs run the same Lua code on the same text in one process, taking
 * turns.
 *
 *     make build/release/libscript.a build/release/libbase.a
 *     cc -O2 -D_GNU_SOURCE -Isrc $(pkg-config --cflags luajit) tests/bench/json_bench.c \
 *        build/release/libscript.a build/release/libbase.a $(pkg-config --libs luajit) -lm -o
 * build/json_bench */
#include "script/json_read.h"
#include "script/json_write.h"
#include "script/primitives.h"

#include "base/clock.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>

enum { EVENTS = 20000, ROUNDS = 7 };

static const char event[] =
    "{\"anonymousId\":\"f0a1c2d3-1111-4222-8333-abcdefabcdef\",\"userId\":\"user-90210\",\"messageId\":"
    "\"ajs-next-1712345678901-7b3c1f0e-aaaa-bbbb-cccc-1234567890ab\",\"type\":\"track\",\"event\":\"Order "
    "Completed\","
    "\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"sentAt\":\"2026-01-02T03:04:06.001Z\",\"properties\":{"
    "\"order_id\":"
    "\"50314b8e9bcf000000000000\",\"total\":27.5,\"subtotal\":22.5,\"revenue\":25.0,\"shipping\":3,\"tax\":2,"
    "\"discount\":2.5,\"coupon\":\"hasbros\",\"currency\":\"USD\",\"products\":[{\"product_id\":"
    "\"507f1f77bcf86cd799439011\",\"sku\":\"45790-32\",\"name\":\"Monopoly: 3rd "
    "Edition\",\"price\":19,\"quantity\":1,"
    "\"category\":\"Games\"},{\"product_id\":\"505bd76785ebb509fc183733\",\"sku\":\"46493-32\",\"name\":"
    "\"Uno Card Game\","
    "\"price\":3.99,\"quantity\":2}]},\"context\":{\"ip\":\"203.0.113.7\",\"locale\":\"en-GB\",\"userAgent\":"
    "\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 "
    "Safari/537.36\",\"library\":"
    "{\"name\":\"analytics.js\",\"version\":\"next-1.70.0\"},\"page\":{\"path\":\"/checkout/"
    "done\",\"referrer\":"
    "\"https://shop.example/cart\",\"search\":\"?irclickid=abc\",\"title\":\"Thank you\",\"url\":"
    "\"https://shop.example/checkout/done?irclickid=abc\"}},\"integrations\":{\"All\":true}}";

/* What both codecs do with the event. The script host's way is `push`, which reads text that was validated
 * before, and `write`, which writes into a buffer. */
static const char script[] =
    "local text, codecs, push, write = ...\n"
    "local function map(e)\n"
    "  local p, c = e.properties, e.context\n"
    "  local items = {}\n"
    "  for i, x in ipairs(p.products) do\n"
    "    items[i] = { sku = x.sku, price = x.price, quantity = x.quantity, name = x.name }\n"
    "  end\n"
    "  return { event = e.event, orderId = p.order_id, amount = p.total, currency = p.currency, coupon = "
    "p.coupon,\n"
    "    customer = e.userId, ip = c.ip, agent = c.userAgent, url = c.page.url, time = e.timestamp, items = "
    "items }\n"
    "end\n"
    "local jobs = {}\n"
    "for name, json in pairs(codecs) do\n"
    "  local decode, encode, body = json.decode, json.encode, map(json.decode(text))\n"
    "  jobs[name .. ' decode'] = function(n) for _ = 1, n do decode(text) end end\n"
    "  jobs[name .. ' encode'] = function(n) for _ = 1, n do encode(body) end end\n"
    "  jobs[name .. ' all'] = function(n) for _ = 1, n do encode(map(decode(text))) end end\n"
    "end\n"
    "jobs['event all'] = function(n) for _ = 1, n do write(map(push(text))) end end\n"
    "jobs['event decode'] = function(n) for _ = 1, n do push(text) end end\n"
    "return jobs\n";

static int push(lua_State *L)
{
    struct tg_str text;
    text.p = lua_tolstring(L, 1, &text.n);
    return tg_lua_push_json(L, text, TG_JSON_NULL_AS_NIL);
}

static int write_json(lua_State *L)
{
    static struct tg_buf out = TG_BUF_INIT(1 << 20);
    char why[256];
    tg_buf_clear(&out);
    return tg_lua_encode_json(L, 1, &out, why, sizeof why) ? luaL_error(L, "%s", why) : 0;
}

static double run(lua_State *L, int jobs, const char *name)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_getfield(L, jobs, name);
    lua_pushinteger(L, EVENTS);
    int64_t begin = tg_thread_cpu_us();
    lua_call(L, 1, 0);
    return (double)(tg_thread_cpu_us() - begin) / EVENTS;
}

static int measure(lua_State *L)
{
    static const char *const names[] = {"tidegate decode", "cjson decode", "event decode", "tidegate encode",
                                        "cjson encode",    "tidegate all", "cjson all",    "event all"};
    enum { JOBS = sizeof names / sizeof names[0] };
    double best[JOBS];
    luaL_openlibs(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    if (luaL_loadstring(L, script))
        return lua_error(L);
    lua_pushlstring(L, event, sizeof event - 1);
    lua_newtable(L);
    tg_lua_open_json(L);
    lua_setfield(L, -2, "tidegate");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "cjson");
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, push);
    lua_pushcfunction(L, write_json);
    lua_call(L, 4, 1);
    int jobs = lua_gettop(L);
    for (int i = 0; i < ROUNDS * JOBS; i++) {
        double us = run(L, jobs, names[i % JOBS]);
        if (i < JOBS || us < best[i % JOBS])
            best[i % JOBS] = us;
    }
    printf("one event of %zu bytes, LuaJIT with the compiler off, us of CPU\n", sizeof event - 1);
    printf("%-24s %9s %9s %9s\n", "", "tidegate", "lua-cjson", "ratio");
    printf("%-24s %9.2f %9.2f %9.2f\n", "decode", best[0], best[1], best[0] / best[1]);
    printf("%-24s %9.2f %9s %9.2f\n", "decode, validated before", best[2], "", best[2] / best[1]);
    printf("%-24s %9.2f %9.2f %9.2f\n", "encode", best[3], best[4], best[3] / best[4]);
    printf("%-24s %9.2f %9.2f %9.2f\n", "decode + map + encode", best[5], best[6], best[5] / best[6]);
    printf("%-24s %9.2f %9s %9.2f\n", "as the host does it", best[7], "", best[7] / best[6]);
    return 0;
}

int main(void)
{
    lua_State *L = luaL_newstate();
    if (!L || lua_cpcall(L, measure, NULL)) {
        fprintf(stderr, "%s\n", L ? lua_tostring(L, -1) : "out of memory");
        return 1;
    }
    lua_close(L);
    return 0;
}
