/* Plain calls, no coroutine, nothing is delivered. */
#include "script/filter.h"

#include "script/event_view.h"
#include "script/json_write.h"
#include "script/rebuild.h"

struct ask {
    struct tg_dest_impl *d;
    const struct tg_event *event;
    struct tg_buf *spec;
    bool passes;
};

/* The value at the top. */
static void take_answer(lua_State *L, struct ask *a)
{
    char why[256] = "";
    a->passes = lua_toboolean(L, -1);
    if (lua_isboolean(L, -1) || lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "filter: returns true, false or a table { sample, events, drop, allow }, not a %s",
                   luaL_typename(L, -1));
    tg_lazy_build_deep(L, lua_gettop(L));
    int rc = tg_lua_encode_json(L, lua_gettop(L), a->spec, why, sizeof why);
    if (rc)
        luaL_error(L, "filter: what it returned: %s", why[0] ? why : tg_code_text(rc));
}

static int ask_body(lua_State *L)
{
    struct ask *a = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, NULL);
    struct tg_view *view = tg_event_view_push(L, a->event); /* the view itself stays below */
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->d->filter);
    lua_insert(L, -2);
    int failed = tg_lua_pcall(L, 1, 1);
    tg_event_view_close(view); /* also what the function has kept of the event */
    if (failed)
        lua_error(L);
    take_answer(L, a);
    return 0;
}

int tg_dest_filter(struct tg_dest *dest, const struct tg_event *event, uint64_t seq, struct tg_buf *spec,
                   bool *passes, struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    int rc = tg_host_ready(d->host, err);
    if (rc)
        return rc;
    if (!d->linked)
        return tg_fail(err, TG_SCRIPT, "destination %s: its script could not be loaded again", dest->name);
    struct ask a = {.d = d, .event = event, .spec = spec};
    rc = tg_lua_enter(d->host, d, seq, TG_PHASE_VERDICT, ask_body, &a, err);
    *passes = a.passes;
    return rc;
}
