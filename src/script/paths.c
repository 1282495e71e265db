#include "script/paths.h"

#include "base/json.h"
#include "script/event_view.h"
#include "script/json_read.h"
#include "script/rows.h"

#include <lauxlib.h>
#include <string.h>

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
