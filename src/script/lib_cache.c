/* The functions carry their cache as an upvalue, so that a script has no way to another destination's. */
#include "script/primitives.h"

#include "script/args.h"
#include "script/cache.h"

#include <assert.h>
#include <lauxlib.h>

enum { BOX_MAGIC = 0x74676361, YEAR_SECONDS = 366 * 86400 };

struct box {
    unsigned magic;
    struct tg_cache *cache;
};

static struct tg_cache *cache_of(lua_State *L)
{
    const struct box *box = lua_touserdata(L, lua_upvalueindex(1));
    assert(box && box->magic == BOX_MAGIC);
    return box->cache;
}

/* cache.get(key) -> value | nil */
static int cache_get(lua_State *L)
{
    struct tg_cache_value value;
    struct tg_str key = tg_arg_text(L, 1, "cache.get", "key");
    if (!tg_cache_get(cache_of(L), key, tg_lua_ticks(L), &value))
        lua_pushnil(L);
    else if (value.kind == TG_CACHE_NUMBER)
        lua_pushnumber(L, value.number);
    else if (value.kind == TG_CACHE_BOOLEAN)
        lua_pushboolean(L, value.boolean);
    else
        lua_pushlstring(L, value.text.p, value.text.n);
    return 1;
}

static struct tg_cache_value arg_value(lua_State *L)
{
    struct tg_cache_value value = {.kind = TG_CACHE_TEXT};
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        value.text.p = lua_tolstring(L, 2, &value.text.n);
        break;
    case LUA_TNUMBER:
        value.kind = TG_CACHE_NUMBER;
        value.number = lua_tonumber(L, 2);
        break;
    case LUA_TBOOLEAN:
        value.kind = TG_CACHE_BOOLEAN;
        value.boolean = lua_toboolean(L, 2);
        break;
    default:
        (void)tg_arg_error(L, 2, "cache.set", "value", "text, a number or a boolean");
    }
    return value;
}

static int64_t arg_until(lua_State *L)
{
    if (lua_isnoneornil(L, 3))
        return INT64_MAX;
    if (lua_type(L, 3) != LUA_TNUMBER)
        (void)tg_arg_error(L, 3, "cache.set", "seconds", "a number");
    double seconds = lua_tonumber(L, 3);
    if (!(seconds >= 0))
        (void)luaL_error(L, "cache.set: argument 3 (seconds): 0 or more expected, got %f", seconds);
    return tg_lua_ticks(L) + (int64_t)((seconds < YEAR_SECONDS ? seconds : YEAR_SECONDS) * 1000);
}

/* cache.set(key, value, seconds?) -> true | nil, message. Without seconds it stays until it is the least
 * recently used. */
static int cache_set(lua_State *L)
{
    struct tg_str key = tg_arg_text(L, 1, "cache.set", "key");
    struct tg_cache_value value = arg_value(L);
    int rc = tg_cache_set(cache_of(L), key, &value, arg_until(L));
    if (rc)
        return tg_push_failure(L, "cache.set", tg_code_text(rc));
    lua_pushboolean(L, 1);
    return 1;
}

static int cache_delete(lua_State *L)
{
    tg_cache_delete(cache_of(L), tg_arg_text(L, 1, "cache.delete", "key"));
    return 0;
}

static const luaL_Reg functions[] = {
    {"get", cache_get},
    {"set", cache_set},
    {"delete", cache_delete},
    {NULL, NULL},
};

void tg_lua_push_cache(lua_State *L, struct tg_cache *cache)
{
    lua_newtable(L);
    struct box *box = lua_newuserdata(L, sizeof *box);
    *box = (struct box){.magic = BOX_MAGIC, .cache = cache};
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushvalue(L, -1);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -3, f->name);
    }
    lua_pop(L, 1);
}
