#include "script/describe.h"

#include "script/json_write.h"
#include "script/rebuild.h"

static int describe_body(lua_State *L)
{
    struct tg_dest_impl *d = lua_touserdata(L, 1);
    static const char *const copied[] = {"name",  "description", "settings",
                                         "hosts", "concurrency", "transparent"};
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->module);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        lua_getfield(L, -2, copied[i]);
        lua_setfield(L, -2, copied[i]);
    }
    lua_newtable(L);
    for (int t = 0, n = 0; t < TG_EVENT_TYPES; t++)
        if (d->pub.accepts & (1u << t)) {
            lua_pushstring(L, tg_event_type_name((enum tg_event_type)t));
            lua_rawseti(L, -2, ++n);
        }
    lua_setfield(L, -2, "accepts");
    lua_newtable(L);
    for (size_t i = 0; i < d->pub.n_rates; i++) {
        lua_newtable(L);
        lua_pushnumber(L, d->pub.rates[i].per_second);
        lua_setfield(L, -2, "per_second");
        lua_pushnumber(L, d->pub.rates[i].burst);
        lua_setfield(L, -2, "burst");
        lua_setfield(L, -2, d->pub.rates[i].name);
    }
    lua_setfield(L, -2, "rates");
    lua_newtable(L);
    for (size_t i = 0; i < d->pub.n_batches; i++) {
        lua_newtable(L);
        lua_pushnumber(L, (double)d->pub.batches[i].max_items);
        lua_setfield(L, -2, "max_items");
        lua_pushnumber(L, (double)d->pub.batches[i].max_bytes);
        lua_setfield(L, -2, "max_bytes");
        lua_pushnumber(L, (double)d->pub.batches[i].max_wait_ms);
        lua_setfield(L, -2, "max_wait_ms");
        lua_setfield(L, -2, d->pub.batches[i].name);
    }
    lua_setfield(L, -2, "batches");
    char why[256];
    struct tg_buf *scratch = &d->host->scratch;
    tg_buf_clear(scratch);
    if (tg_lua_encode_json(L, lua_gettop(L), scratch, why, sizeof why))
        luaL_error(L, "%s", why);
    return 0;
}

int tg_dest_describe(const struct tg_dest *dest, struct tg_buf *json)
{
    struct tg_dest_impl *d = dest->impl;
    struct tg_err err;
    int rc = tg_host_ready(d->host, &err);
    if (!rc && !d->linked)
        rc = TG_SCRIPT;
    if (!rc)
        rc = tg_lua_enter(d->host, d, 0, TG_PHASE_LOAD, describe_body, d, &err);
    return rc ? rc : tg_buf_addstr(json, tg_buf_str(&d->host->scratch));
}
