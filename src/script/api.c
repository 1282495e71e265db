/* What C gives to the library as "tidegate.core"; lua/tidegate.lua makes `tidegate` of it. */
#include "script/api.h"

#include "base/log.h"
#include "script/cache.h"
#include "script/fill.h"
#include "script/handler.h"
#include "script/lib_event.h"
#include "script/primitives.h"
#include "script/state.h"
#include "script/unwind.h"

enum { LOG_FIELDS = 8, CACHE_ENTRIES = 4096, CACHE_BYTES = 1 << 20 };

/* --- log --- */

static int log_fields(lua_State *L, struct tg_field *fields)
{
    int n = 0;
    if (!lua_istable(L, 2))
        return 0;
    tg_lua_fill(L, 2);
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        struct tg_field *f = &fields[n];
        f->key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (!f->key)
            luaL_error(L, "log: fields have names");
        if (n == LOG_FIELDS)
            luaL_error(L, "log: more than %d fields", LOG_FIELDS);
        if (lua_type(L, -1) == LUA_TSTRING) {
            f->kind = TG_FIELD_STR;
            f->s.p = lua_tolstring(L, -1, &f->s.n);
        } else if (lua_type(L, -1) == LUA_TNUMBER) {
            f->kind = TG_FIELD_NUM;
            f->d = lua_tonumber(L, -1);
        } else {
            f->kind = TG_FIELD_BOOL;
            f->i = lua_toboolean(L, -1);
        }
        n++;
    }
    return n;
}

/* Upvalue: the level. */
static int api_log(lua_State *L)
{
    const struct tg_host *h = tg_host_if(L);
    const char *message = luaL_checkstring(L, 1);
    struct tg_field fields[LOG_FIELDS + 2] = {{0}};
    int n = log_fields(L, fields);
    if (h && h->dest)
        fields[n] = (struct tg_field)TG_FS("destination", h->dest->pub.name);
    tg_log_fields((enum tg_log_level)lua_tointeger(L, lua_upvalueindex(1)), message, fields);
    return 0;
}

static void put_log(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    lua_newtable(L);
    for (int level = TG_LOG_DEBUG; level <= TG_LOG_ERROR; level++) {
        lua_pushinteger(L, level);
        lua_pushcclosure(L, api_log, 1);
        lua_setfield(L, -2, names[level]);
    }
    lua_setfield(L, -2, "log");
}

/* --- cache: that of the destination whose code runs --- */

static void push_own_cache(lua_State *L)
{
    struct tg_host *h = tg_host_if(L);
    struct tg_dest_impl *d = h ? h->dest : NULL;
    if (!d) {
        (void)luaL_error(L, "cache belongs to a destination: it cannot be used here");
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->loaded);
    lua_getfield(L, -1, "cache");
    if (lua_istable(L, -1))
        return;
    lua_pop(L, 1);
    if (!d->cache && tg_cache_new(CACHE_ENTRIES, CACHE_BYTES, &d->cache)) {
        h->heap.refused = true;
        luaL_error(L, "out of memory");
    }
    tg_lua_push_cache(L, d->cache);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "cache");
}

/* Upvalue: the function's name. */
static int api_cache(lua_State *L)
{
    int n = lua_gettop(L);
    push_own_cache(L);
    lua_getfield(L, -1, lua_tostring(L, lua_upvalueindex(1)));
    lua_insert(L, 1);
    lua_settop(L, n + 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

static void put_cache(lua_State *L)
{
    static const char *const names[] = {"get", "set", "delete"};
    lua_newtable(L);
    for (int i = 0; i < 3; i++) {
        lua_pushstring(L, names[i]);
        lua_pushcclosure(L, api_cache, 1);
        lua_setfield(L, -2, names[i]);
    }
    lua_setfield(L, -2, "cache");
}

/* Moves the fields of the table at the top into the one beneath it. */
static void merge(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
}

void tg_api_push(lua_State *L)
{
    lua_newtable(L);
    tg_lua_open_json(L);
    lua_setfield(L, -2, "json");
    static int (*const open[])(lua_State *) = {tg_lua_open_digest, tg_lua_open_url, tg_lua_open_time,
                                               tg_lua_open_wsse};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        open[i](L);
        merge(L);
    }
    put_log(L);
    put_cache(L);
    tg_handler_register(L);
    tg_lib_event_register(L);
    tg_unwind_register(L);
}
