/* get and first: values of an event by dotted path, from its bytes while they were not made tables.
 *
 * A path's steps are member names; a numeric step indexes an array from 0. Within a member, a key that is the
 * whole remaining path wins over descending, so names with dots are found. JSON null is no value. */
#include "script/event_read.h"

#include "base/json.h"
#include "script/args.h"
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/json_read.h"
#include "script/rows.h"

enum { PATHS_TO_BUILD = 3 }; /* with more paths than that, decoding the members at once is cheaper */

/* --- paths --- */

/* Replaces the value at the top by nil if it is JSON null. */
static void null_to_nil(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1)) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

/* Replaces the table at the top by its field, nil if there is none. */
static void field(lua_State *L, struct tg_str name)
{
    int index;
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1) && tg_row_index(name, &index)) {
        lua_pop(L, 1);
        lua_rawgeti(L, -1, index + 1);
    }
    lua_remove(L, -2);
    null_to_nil(L);
}

/* Replaces the unread member at the top by what the path leads to in its bytes. */
static void from_bytes(lua_State *L, struct tg_str object, struct tg_str path)
{
    struct tg_str value = object.n ? tg_json_path(object, path) : object;
    lua_pop(L, 1);
    if (value.n)
        tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    else
        lua_pushnil(L);
    null_to_nil(L);
}

/* Whether the table at the top has the whole path as a key; then its value replaces it. */
static bool whole_key(lua_State *L, struct tg_str path)
{
    lua_pushlstring(L, path.p, path.n);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_remove(L, -2);
    null_to_nil(L);
    return true;
}

static const char *dot_in(struct tg_str path)
{
    return path.n ? memchr(path.p, '.', path.n) : NULL;
}

/* Replaces the event or the member of an event at the top by what the path leads to, if it was not looked at
 * yet and needs not be for that. False: go by the tables. */
static bool from_unread(lua_State *L, struct tg_str path)
{
    struct tg_unread unread;
    tg_lazy_unread(L, -1, &unread);
    if (unread.kind == TG_UNREAD_NONE)
        return false;
    if (unread.kind == TG_UNREAD_EVENT) {
        struct tg_view_value value;
        const char *dot = dot_in(path);
        tg_view_member(unread.view, path, &value);
        if (value.kind == TG_VIEW_TEXT) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.text.p, value.text.n);
            return true;
        }
        if (value.kind != TG_VIEW_NOTHING || !dot)
            return false;
        tg_view_member(unread.view, tg_str_n(path.p, (size_t)(dot - path.p)), &value);
        if (!value.member)
            return false;
        unread.object = value.text;
        unread.context = value.context;
        path = tg_str_n(dot + 1, path.n - (size_t)(dot + 1 - path.p));
    }
    if (unread.context && !dot_in(path) && tg_context_object(path))
        return false; /* reads as a table in any case */
    from_bytes(L, unread.object, path);
    return true;
}

/* Pushes what the path leads to from the table at `from`, or nil. */
void tg_path_push(lua_State *L, int from, struct tg_str path, bool build)
{
    lua_pushvalue(L, from);
    for (;;) {
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
            return;
        }
        const char *dot = dot_in(path);
        if (!build && from_unread(L, path))
            return;
        tg_lazy_build(L, -1);
        if (dot && whole_key(L, path))
            return;
        struct tg_str step = dot ? tg_str_n(path.p, (size_t)(dot - path.p)) : path;
        field(L, step);
        if (!dot)
            return;
        path = tg_str_n(dot + 1, path.n - step.n - 1);
    }
}

/* Whether the value at the top is nothing: nil, an empty string, an empty table. */
bool tg_value_is_empty(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TSTRING)
        return lua_objlen(L, -1) == 0;
    if (!lua_istable(L, -1))
        return lua_isnil(L, -1);
    tg_lazy_build(L, -1);
    lua_pushnil(L);
    if (!lua_next(L, -2))
        return true;
    lua_pop(L, 2);
    return false;
}

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

void tg_event_read_register(lua_State *L)
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
