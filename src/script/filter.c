/* The filter function of a destination. It stands in the configuration, whose evaluated form ends with the
 * process that checked it, so the sealed text is evaluated again here, in an environment of its own beside
 * the script's: env and file answer what they answered then (so a function may use what they gave, but not
 * call them for something new), and at the time of a call it has what every script has. Plain calls, no
 * coroutine, nothing is delivered. */
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/json_write.h"

#include <stdio.h>

/* --- evaluating the configuration --- */

static const struct tg_script_file *input(const struct tg_dest_impl *d, const char *kind, const char *name)
{
    size_t n = strlen(kind);
    for (size_t i = 1; i < d->config.n_files; i++) {
        const struct tg_script_file *f = &d->config.files[i];
        if (strncmp(f->name, kind, n) == 0 && strcmp(f->name + n, name) == 0)
            return f;
    }
    return NULL;
}

/* env(name [, default]) */
static int sealed_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct tg_script_file *f = input(lua_touserdata(L, lua_upvalueindex(1)), "env:", name);
    if (f)
        lua_pushlstring(L, f->text.p, f->text.n);
    else if (lua_gettop(L) >= 2)
        lua_pushvalue(L, 2);
    else
        return luaL_error(
            L, "env(\"%s\"): not known here; call it outside the filter function: local value = env(\"%s\")",
            name, name);
    return 1;
}

static int sealed_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct tg_script_file *f = input(lua_touserdata(L, lua_upvalueindex(1)), "file:", name);
    if (!f)
        return luaL_error(
            L, "file(\"%s\"): not known here; call it outside the filter function: local text = file(\"%s\")",
            name, name);
    lua_pushlstring(L, f->text.p, f->text.n);
    return 1;
}

static void push_environment(lua_State *L, struct tg_dest_impl *d)
{
    static const luaL_Reg functions[] = {{"env", sealed_env}, {"file", sealed_file}, {NULL, NULL}};
    tg_sandbox_push_env(L);
    tg_modules_put_require(L, d);
    lua_getmetatable(L, -1); /* its __index is its own table */
    lua_getfield(L, -1, "__index");
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushlightuserdata(L, d);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_pop(L, 2);
}

void tg_filter_push(lua_State *L, struct tg_dest_impl *d)
{
    int top = lua_gettop(L);
    push_environment(L, d);
    tg_lua_compile(L, NULL, &d->config.files[0]);
    if (tg_lua_pcall(L, 0, 1))
        lua_error(L);
    static const char *const into[] = {"destinations", NULL, "filter"};
    for (int i = 0; i < 3 && lua_istable(L, -1); i++)
        lua_getfield(L, -1, into[i] ? into[i] : d->pub.name);
    if (!lua_isfunction(L, -1))
        luaL_error(L,
                   "destinations.%s.filter: is no function when the configuration is read again; it must "
                   "not depend on anything but env and file",
                   d->pub.name);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

/* --- a call --- */

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
