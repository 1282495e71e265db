/* json: the codec for Lua, with lua-cjson's interface and OpenResty's names.
 *
 *     json.decode(text)          the value; raises on text that is not JSON, naming the byte
 *     json.try_decode(text)      the value, or nil and the message
 *     json.encode(value)         the text; raises on what JSON cannot say, naming the path in the value
 *     json.try_encode(value)     the text, or nil and the message
 *     json.null                  JSON's null (as lua-cjson's: a light userdata NULL)
 *     json.array([t])            marks t (or a new table) as an array, so that it is [] when empty; returns
 * it json.is_array(t)           whether encode writes t as an array json.array_mt              the metatable
 * that marks arrays; decoded arrays carry it json.empty_array_mt        the metatable of tables that are []
 * when empty and judged as usual otherwise json.empty_array           a value that encodes as []
 *     json.number(v)             the number that a text writes ("12345678901234567"), exact; nil when it is
 *                                none
 *     json.tonumber(v [, base])  Lua's tonumber that also takes exact numbers (rounding to the nearest
 * double)
 *
 * What tables become is in json_write.h, what numbers become in json_exact.h. Text is at most
 * TG_LUA_JSON_MAX_BYTES long. */
#include "base/json.h"
#include "script/json_exact.h"
#include "script/json_read.h"
#include "script/json_state.h"
#include "script/json_write.h"
#include "script/primitives.h"

#include <lauxlib.h>

/* Pushes the value, or returns false with the message in the codec's err. */
static bool decode(lua_State *L, struct tg_json_state *s)
{
    struct tg_str text, value;
    text.p = luaL_checklstring(L, 1, &text.n);
    if (text.n > TG_LUA_JSON_MAX_BYTES) {
        tg_fail(&s->err, TG_TOOBIG, "JSON: %zu bytes are more than %d", text.n, (int)TG_LUA_JSON_MAX_BYTES);
        return false;
    }
    if (tg_json_validate(text, TG_JSON_MAX_DEPTH, &value, &s->err))
        return false;
    tg_lua_push_json(L, value, 0);
    tg_json_state_trim(s);
    return true;
}

static int json_decode(lua_State *L)
{
    struct tg_json_state *s = tg_json_state_push(L);
    return decode(L, s) ? 1 : luaL_error(L, "%s", s->err.msg);
}

static int json_try_decode(lua_State *L)
{
    struct tg_json_state *s = tg_json_state_push(L);
    if (decode(L, s))
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, s->err.msg);
    return 2;
}

/* Pushes the text, or returns false with the message in the codec's err. */
static bool encode_argument(lua_State *L, struct tg_json_state *s)
{
    tg_buf_clear(&s->out);
    if (tg_lua_encode_json(L, 1, &s->out, s->err.msg, sizeof s->err.msg))
        return false;
    lua_pushlstring(L, s->out.data, s->out.len);
    tg_json_state_trim(s);
    return true;
}

static int json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct tg_json_state *s = tg_json_state_push(L);
    return encode_argument(L, s) ? 1 : luaL_error(L, "JSON: %s", s->err.msg);
}

static int json_try_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct tg_json_state *s = tg_json_state_push(L);
    if (encode_argument(L, s))
        return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "JSON: %s", s->err.msg);
    return 2;
}

static int json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "this table's metatable is protected");
    tg_json_state_push(L);
    lua_rawgeti(L, -1, TG_JSON_ARRAY_MT);
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int json_is_array(lua_State *L)
{
    bool is = lua_type(L, 1) == LUA_TLIGHTUSERDATA && lua_touserdata(L, 1) == &tg_json_empty_array;
    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        tg_json_state_push(L);
        is = tg_json_is_marked(L, 1, 2, TG_JSON_ARRAY_MT);
        lua_pushnil(L);
        if (!is)
            is = lua_next(L, 1) ? lua_type(L, -2) == LUA_TNUMBER
                                : tg_json_is_marked(L, 1, 2, TG_JSON_EMPTY_ARRAY_MT);
    }
    lua_pushboolean(L, is);
    return 1;
}

/* Numbers as they are; of texts those that are JSON numbers. */
static int json_number(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct tg_str text, value;
    if (lua_type(L, 1) == LUA_TNUMBER || tg_exact_at(L, 1, &text))
        return 1;
    double x;
    text.p = lua_tolstring(L, 1, &text.n);
    if (!text.p || tg_json_validate(text, 0, &value, NULL) || tg_json_type(value) != TG_JSON_NUMBER)
        lua_pushnil(L);
    else if (tg_json_exact(value, &x))
        lua_pushnumber(L, x);
    else
        tg_exact_push(L, value);
    return 1;
}

static int json_tonumber(lua_State *L)
{
    luaL_checkany(L, 1);
    struct tg_str digits;
    if (tg_exact_at(L, 1, &digits)) {
        lua_pushnumber(L, tg_exact_double(digits));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* The nearest that a state without a base library has. */
static int plain_tonumber(lua_State *L)
{
    if (lua_isnumber(L, 1))
        lua_pushnumber(L, lua_tonumber(L, 1));
    else
        lua_pushnil(L);
    return 1;
}

int tg_lua_open_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", json_decode}, {"try_decode", json_try_decode},
        {"encode", json_encode}, {"try_encode", json_try_encode},
        {"array", json_array},   {"is_array", json_is_array},
        {"number", json_number}, {NULL, NULL},
    };
    luaL_checkstack(L, 8, "JSON");
    lua_createtable(L, 0, 12);
    luaL_register(L, NULL, functions);
    lua_getglobal(L, "tonumber");
    if (!lua_iscfunction(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, plain_tonumber);
    }
    lua_pushcclosure(L, json_tonumber, 1);
    lua_setfield(L, -2, "tonumber");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, &tg_json_empty_array);
    lua_setfield(L, -2, "empty_array");
    tg_json_state_push(L);
    lua_rawgeti(L, -1, TG_JSON_ARRAY_MT);
    lua_setfield(L, -3, "array_mt");
    lua_rawgeti(L, -1, TG_JSON_EMPTY_ARRAY_MT);
    lua_setfield(L, -3, "empty_array_mt");
    lua_pop(L, 1);
    return 1;
}
