#include "script/contract_read.h"

#include "base/event.h"
#include "script/contract_batches.h"
#include "script/contract_hosts.h"
#include "script/contract_rates.h"
#include "script/names.h"
#include "script/nearest.h"

#include <lauxlib.h>
#include <stdio.h>

static const char *const contract_keys[] = {"name",  "description", "transparent", "settings",
                                            "hosts", "rates",       "concurrency", "batches",
                                            "check", "judge",       "on",          NULL};

static void unknown_type(struct tg_contract_reader *r, struct tg_str name)
{
    struct tg_nearest near;
    tg_nearest_init(&near, name);
    for (int t = 0; t < TG_EVENT_TYPES; t++)
        tg_nearest_try(&near, tg_str_of(tg_event_type_name((enum tg_event_type)t)));
    tg_problem_add(r->problems, r->where, "on", "unknown event type '%.*s'%s%s%s", TG_STR_ARG(name),
                   near.best[0] ? "; did you mean '" : "", near.best, near.best[0] ? "'?" : "");
}

static void read_on(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    int top = lua_gettop(L);
    lua_getfield(L, r->module, "on");
    if (!lua_istable(L, -1)) {
        tg_problem_add(r->problems, r->where, "on",
                       "required: a table { track = function(event, settings) … end }");
        lua_settop(L, top);
        return;
    }
    struct tg_names *names = tg_lua_names(L, top + 1);
    for (size_t i = 0; i < names->n; i++) {
        enum tg_event_type type;
        char path[64];
        if (!tg_event_type_parse(names->v[i], &type)) {
            unknown_type(r, names->v[i]);
            continue;
        }
        snprintf(path, sizeof path, "on.%.*s", TG_STR_ARG(names->v[i]));
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, top + 1);
        if (lua_isfunction(L, -1))
            pub->accepts |= 1u << type;
        else
            tg_problem_add(r->problems, r->where, path, "a function is wanted, not %s", luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    if (names->n == 0)
        tg_problem_add(r->problems, r->where, "on", "no event type has a handler");
    lua_settop(L, top);
}

void tg_contract_read(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    tg_contract_check_keys(L, r, r->module, NULL, contract_keys);
    lua_getfield(L, r->module, "name");
    pub->integration = tg_contract_keep(r, tg_contract_text(L, r, "name"));
    lua_getfield(L, r->module, "transparent");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        tg_problem_add(r->problems, r->where, "transparent", "true or false is wanted");
    pub->transparent = lua_toboolean(L, -1);
    lua_pop(L, 2);
    tg_contract_function(L, r, r->module, "check", "check", false);
    tg_contract_function(L, r, r->module, "judge", "judge", false);
    pub->concurrency = (unsigned)tg_contract_amount(L, r, r->module, "concurrency", "concurrency", 0);
    tg_contract_read_hosts(L, r, pub);
    tg_contract_read_rates(L, r, pub);
    tg_contract_override_rates(L, r, pub);
    tg_contract_read_batches(L, r, pub);
    read_on(L, r, pub);
}
