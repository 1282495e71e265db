/* Cases written in Lua: a fresh state has the primitives in the global `t`, and
 *     eq(got, wanted)            equal values
 *     fails(text, value, msg)    value is nil and msg contains text: what a primitive returns for bad data
 *     raises(text, f, ...)       f(...) raises an error whose message contains text */
#ifndef TG_LUA_CASE_H
#define TG_LUA_CASE_H

#include "tg_test.h"

#include "script/primitives.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static const char lua_case_prelude[] =
    "function eq(got, wanted)\n"
    "  if got ~= wanted then error(('got %s, wanted %s'):format(tostring(got), tostring(wanted)), 2) end\n"
    "end\n"
    "function fails(text, value, msg)\n"
    "  if value ~= nil then error('succeeded with ' .. tostring(value), 2) end\n"
    "  if type(msg) ~= 'string' or not msg:find(text, 1, true) then error('message: ' .. tostring(msg), 2) "
    "end\n"
    "end\n"
    "function raises(text, f, ...)\n"
    "  local ok, msg = pcall(f, ...)\n"
    "  if ok then error('did not raise', 2) end\n"
    "  if type(msg) ~= 'string' or not msg:find(text, 1, true) then error('message: ' .. tostring(msg), 2) "
    "end\n"
    "end\n";

/* Merges what each opener pushes into the table below it. */
__attribute__((unused)) static void lua_case_merge(lua_State *L, int (*open)(lua_State *))
{
    assert_int_equal(open(L), 1);
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
}

__attribute__((unused)) static lua_State *lua_case_new(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    luaL_openlibs(L);
    lua_newtable(L);
    lua_case_merge(L, tg_lua_open_digest);
    lua_case_merge(L, tg_lua_open_url);
    lua_case_merge(L, tg_lua_open_time);
    lua_case_merge(L, tg_lua_open_wsse);
    lua_case_merge(L, tg_lua_open_fixed);
    lua_setglobal(L, "t");
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    assert_int_equal(luaL_dostring(L, lua_case_prelude), 0);
    return L;
}

/* Runs the chunk; the test fails with its message, and when it leaves the stack uneven. */
__attribute__((unused)) static void lua_case_run(lua_State *L, const char *chunk)
{
    int before = lua_gettop(L);
    if (luaL_loadbuffer(L, chunk, strlen(chunk), "=case") || lua_pcall(L, 0, 0, 0))
        fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), before);
}

__attribute__((unused)) static void lua_case(const char *chunk)
{
    lua_State *L = lua_case_new();
    lua_case_run(L, chunk);
    lua_close(L);
}

#endif
