#include "script/link.h"

#include "base/mem.h"
#include "script/check.h"
#include "script/contract_read.h"
#include "script/filter_source.h"
#include "script/modules.h"
#include "script/names.h"
#include "script/raised.h"
#include "script/sandbox.h"
#include "script/schema.h"

struct link {
    struct tg_dest_impl *d;
    struct tg_contract_reader r;
};

/* Runs init.lua; what it returned is at the top on success. */
static int compile_body(lua_State *L)
{
    struct link *l = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, l->d->env);
    tg_lua_compile(L, l->d->source.name, tg_script_source_file(&l->d->source, "init.lua"));
    return 1;
}

static bool run_script(lua_State *L, struct link *l)
{
    lua_pushcfunction(L, compile_body);
    lua_pushlightuserdata(L, l);
    if (lua_pcall(L, 1, 1, 0) || tg_lua_pcall(L, 0, 1)) {
        tg_raised_add(L, l->r.problems, l->r.where, NULL);
        return false;
    }
    if (!lua_istable(L, -1)) {
        tg_problem_add(l->r.problems, l->r.where, NULL,
                       "the script must return a table { name, settings, on, … }, not %s",
                       luaL_typename(L, -1));
        return false;
    }
    return true;
}

static int ref_field(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    return luaL_ref(L, LUA_REGISTRYINDEX); /* LUA_REFNIL for nil */
}

static void keep_handlers(lua_State *L, struct tg_dest_impl *d, int module)
{
    lua_getfield(L, module, "on");
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        d->handlers[t] = ref_field(L, lua_gettop(L), tg_event_type_name((enum tg_event_type)t));
    lua_pop(L, 1);
}

/* The lists are made once; a new state fills them anew. */
static void keep_batches(lua_State *L, struct tg_dest_impl *d, int module)
{
    size_t n = d->pub.n_batches;
    if (n == 0)
        return;
    if (!d->joins)
        d->joins = tg_calloc(n, sizeof *d->joins);
    if (!d->splits)
        d->splits = tg_calloc(n, sizeof *d->splits);
    if (!d->joins || !d->splits)
        tg_lua_no_memory(L);
    lua_getfield(L, module, "batches");
    for (size_t i = 0; i < n; i++) {
        lua_getfield(L, -1, d->pub.batches[i].name);
        d->joins[i] = ref_field(L, lua_gettop(L), "join");
        d->splits[i] = ref_field(L, lua_gettop(L), "split");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void keep_references(lua_State *L, struct link *l)
{
    struct tg_dest_impl *d = l->d;
    lua_pushvalue(L, l->r.module);
    d->module = luaL_ref(L, LUA_REGISTRYINDEX);
    d->n_settings = (int)tg_lua_names(L, l->r.settings)->n;
    lua_pop(L, 1);
    lua_pushvalue(L, l->r.settings);
    d->settings = luaL_ref(L, LUA_REGISTRYINDEX);
    d->judge = ref_field(L, l->r.module, "judge");
    keep_handlers(L, d, l->r.module);
    keep_batches(L, d, l->r.module);
    if (d->config.n_files) {
        tg_filter_push(L, d);
        d->filter = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    d->linked = true;
}

static int link_body(lua_State *L)
{
    struct link *l = lua_touserdata(L, 1);
    struct tg_dest_impl *d = l->d;
    luaL_checkstack(L, 40, NULL);
    tg_sandbox_push_env(L);
    tg_modules_put_require(L, d);
    d->env = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    d->loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    if (!run_script(L, l))
        return 0;
    l->r.module = lua_gettop(L);
    lua_getfield(L, l->r.module, "settings");
    l->r.schema = lua_gettop(L);
    tg_schema_check(L, l->r.schema, l->r.where, l->r.problems);
    if (!lua_istable(L, l->r.schema) || tg_problems_any(l->r.problems)) { /* a broken schema judges nothing */
        if (lua_istable(L, l->r.schema))
            return 0;
    }
    struct tg_schema_in in = {tg_str_of(d->settings_json), d->settings_path, l->r.where,
                              d->host->options.allow_private};
    tg_schema_settings(L, l->r.schema, &in, l->r.problems);
    l->r.settings = lua_gettop(L);
    bool settings_good = !tg_problems_any(l->r.problems);
    if (!d->read)
        tg_contract_read(L, &l->r, &d->pub);
    if (settings_good)
        tg_check_run(L, &l->r);
    if (!tg_problems_any(l->r.problems) && !l->r.no_memory)
        keep_references(L, l);
    return 0;
}

int tg_dest_link(struct tg_dest_impl *d, struct tg_problems *problems)
{
    const struct tg_script_file *init = tg_script_source_file(&d->source, "init.lua");
    if (!init) {
        tg_problem_add(problems, d->source.name, NULL, "the script has no init.lua");
        return TG_INVALID;
    }
    struct link l = {.d = d,
                     .r = {.script = d->source.name,
                           .dest = d->pub.name,
                           .where = init->path,
                           .settings_path = d->settings_path,
                           .rates_json = d->rates_json,
                           .problems = problems}};
    struct tg_err err = {0, ""};
    int rc = tg_lua_enter(d->host, d, 0, TG_PHASE_LOAD, link_body, &l, &err);
    if (rc == TG_OK && l.r.no_memory)
        rc = tg_fail(&err, TG_NOMEM, "out of memory");
    if (rc && !tg_problems_any(problems))
        tg_problem_add(problems, init->path, NULL, "%s", err.msg);
    d->read = d->linked;
    return tg_problems_any(problems) ? TG_INVALID : rc;
}

static void unref(struct tg_host *h, int ref)
{
    if (ref > 0)
        tg_lua_unref(h->L, ref);
}

void tg_dest_unlink(struct tg_dest_impl *d)
{
    struct tg_host *h = d->host;
    if (!h->L)
        return;
    unref(h, d->env);
    unref(h, d->loaded);
    if (!d->linked)
        return;
    unref(h, d->module);
    unref(h, d->settings);
    unref(h, d->judge);
    unref(h, d->filter);
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        unref(h, d->handlers[t]);
    for (size_t i = 0; i < d->pub.n_batches; i++) {
        unref(h, d->joins[i]);
        unref(h, d->splits[i]);
    }
}
