/* get, first and map: values of an event. */
#include "script/lib_event.h"

#include "script/args.h"
#include "script/map.h"
#include "script/paths.h"

#include <lauxlib.h>

enum { PATHS_TO_BUILD = 3 }; /* with more paths than that, decoding the members at once is cheaper */

static int read_get(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    tg_path_push(L, 1, tg_arg_path(L, 2), false);
    return 1;
}

static int read_first(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    int n = (int)lua_objlen(L, 2);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        tg_path_push(L, 1, tg_arg_path(L, -1), n > PATHS_TO_BUILD);
        if (!tg_value_is_empty(L))
            return 1;
        lua_pop(L, 2);
    }
    lua_pushnil(L);
    return 1;
}

void tg_lib_event_register(lua_State *L)
{
    static const luaL_Reg functions[] = {{"get", read_get}, {"first", read_first}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, tg_map, 1);
    lua_setfield(L, -2, "map");
}
