#include "script/primitives.h"

#include "base/time.h"
#include "script/args.h"

#include <lauxlib.h>
#include <math.h>

static int time_now(lua_State *L)
{
    lua_pushnumber(L, (double)tg_lua_now(L));
    return 1;
}

/* time.parse(text) -> ms | nil, message. What a sender wrote may be anything, so that no type of it is
 * misuse. */
static int time_parse(lua_State *L)
{
    int64_t ms;
    struct tg_str text;
    luaL_checkany(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        lua_pushnil(L);
        lua_pushfstring(L, "time.parse: text expected, got %s", luaL_typename(L, 1));
        return 2;
    }
    text.p = lua_tolstring(L, 1, &text.n);
    if (!tg_time_parse(text, &ms))
        return tg_push_failure(L, "time.parse", "not an ISO 8601 time");
    lua_pushnumber(L, (double)ms);
    return 1;
}

static int push_formatted(lua_State *L, int64_t ms)
{
    struct tg_str format = tg_arg_text(L, 2, "time.format", "format");
    if (strlen(format.p) != format.n)
        return luaL_error(L, "time.format: argument 2 (format): contains a NUL");
    struct tg_buf out =
        tg_scratch(L, 8 * format.n); /* the longest conversion makes twelve characters of two */
    if (tg_time_strftime(&out, format.p, ms))
        return luaL_error(
            L,
            "time.format: argument 2 (format): only %%Y %%m %%d %%H %%M %%S %%L %%s %%j %%a %%b "
            "%%y %%e and %%%% are known, got \"%s\"",
            format.p);
    lua_pushlstring(L, out.data, out.len);
    return 1;
}

/* time.format(ms, format?) -> text | nil, message. Without a format ISO 8601 in UTC with milliseconds. */
static int time_format(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TNUMBER)
        return tg_arg_error(L, 1, "time.format", "ms", "a number");
    double ms = floor(lua_tonumber(L, 1));
    if (!(ms >= -62167219200000.0 && ms <= 253402300799999.0))
        return tg_push_failure(L, "time.format", "not within the years 0000 to 9999");
    if (!lua_isnoneornil(L, 2))
        return push_formatted(L, (int64_t)ms);
    char text[TG_TIME_LEN + 1];
    tg_time_format((int64_t)ms, text);
    lua_pushlstring(L, text, TG_TIME_LEN);
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", time_now},
    {"parse", time_parse},
    {"format", time_format},
    {NULL, NULL},
};

int tg_lua_open_time(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, "time");
    return 1;
}
