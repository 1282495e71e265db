#include "script/json_state.h"

#include <lauxlib.h>

enum { KEEP_BYTES = 256 << 10 }; /* scratch above this is given back after the call */

char tg_json_empty_array;
static char state_key; /* its address is the registry key */

static int state_gc(lua_State *L)
{
    struct tg_json_state *s = lua_touserdata(L, 1);
    tg_buf_fini(&s->out);
    tg_buf_fini(&s->text);
    tg_members_fini(&s->members);
    tg_shapes_fini(&s->shapes);
    return 0;
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "this table is shared and cannot be changed");
}

/* Pushes a table that is empty and stays so. */
static void push_frozen(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static void make_state(lua_State *L)
{
    struct tg_json_state *s = lua_newuserdata(L, sizeof *s);
    memset(s, 0, sizeof *s);
    tg_buf_init(&s->out, TG_LUA_JSON_MAX_BYTES);
    tg_buf_init(&s->text, TG_LUA_JSON_MAX_BYTES);
    tg_members_init(&s->members, TG_LUA_JSON_MAX_BYTES);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, state_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_createtable(L, TG_SHAPE_FIRST_SLOT + TG_SHAPES - 1, 0);
    push_frozen(L);
    lua_rawseti(L, -2, TG_JSON_ARRAY_MT);
    push_frozen(L);
    lua_rawseti(L, -2, TG_JSON_EMPTY_ARRAY_MT);
    lua_setfenv(L, -2);
    lua_pushlightuserdata(L, &state_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

struct tg_json_state *tg_json_state_push(lua_State *L)
{
    luaL_checkstack(L, 8, "JSON");
    lua_pushlightuserdata(L, &state_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        make_state(L);
    }
    struct tg_json_state *s = lua_touserdata(L, -1);
    lua_getfenv(L, -1);
    lua_remove(L, -2);
    return s;
}

void tg_json_state_trim(struct tg_json_state *s)
{
    if (s->out.cap > KEEP_BYTES)
        tg_buf_fini(&s->out);
    if (s->text.cap > KEEP_BYTES)
        tg_buf_fini(&s->text);
    tg_members_trim(&s->members);
}

bool tg_json_is_marked(lua_State *L, int idx, int env, int slot)
{
    if (!lua_getmetatable(L, idx))
        return false;
    lua_rawgeti(L, env, slot);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}
