#include "script/contract_rates.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/json_read.h"
#include "script/names.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const rate_keys[] = {"per_second", "per_minute", "per_hour", "burst",
                                        "account",    "reset",      NULL};

/* "script/rate/value/value": destinations that share an account share the bucket; without `account` it is the
 * destination's own. */
static char *account_key(lua_State *L, struct tg_contract_reader *r, int row, const char *name,
                         const char *path)
{
    struct tg_buf b = TG_BUF_INIT(4096);
    int rc = tg_buf_printf(&b, "%s/%s", r->script, name);
    lua_getfield(L, row, "account");
    if (lua_type(L, -1) == LUA_TSTRING) { /* one setting's name serves as a list of one */
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
    }
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    if (n == 0 && !rc)
        rc = tg_buf_printf(&b, "@%s", r->dest);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        lua_pushvalue(L, -1);
        if (lua_istable(L, r->schema))
            lua_rawget(L, r->schema);
        if (!lua_istable(L, -1))
            tg_problem_add(r->problems, r->where, path,
                           "account names settings; there is none of the name '%s'",
                           lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2));
        lua_pop(L, 1);
        lua_rawget(L, r->settings);
        const char *value = lua_isnil(L, -1) || lua_istable(L, -1) ? "" : lua_tostring(L, -1);
        if (!rc)
            rc = tg_buf_printf(&b, "/%s", value ? value : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    char *key = rc ? NULL : tg_buf_take(&b, NULL);
    tg_buf_fini(&b);
    r->no_memory = r->no_memory || !key;
    return key;
}

static void read_speed(lua_State *L, struct tg_contract_reader *r, int row, struct tg_rate *rate,
                       const char *path)
{
    static const struct {
        const char *key;
        double seconds;
    } units[] = {{"per_second", 1}, {"per_minute", 60}, {"per_hour", 3600}};
    int given = 0;
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, row, units[i].key);
        bool there = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (!there)
            continue;
        given++;
        rate->per_second = tg_contract_amount(L, r, row, units[i].key, path, 1) / units[i].seconds;
    }
    if (given != 1)
        tg_problem_add(r->problems, r->where, path, "one of per_second, per_minute and per_hour is wanted");
    rate->burst =
        tg_contract_amount(L, r, row, "burst", path, rate->per_second > 1 ? ceil(rate->per_second) : 1);
}

static void read_rate(lua_State *L, struct tg_contract_reader *r, struct tg_rate *rate, const char *path)
{
    int row = lua_gettop(L);
    tg_contract_check_keys(L, r, row, path, rate_keys);
    read_speed(L, r, row, rate, path);
    rate->account_key = account_key(L, r, row, rate->name, path);
    lua_getfield(L, row, "reset");
    const char *reset = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (strcmp(reset, "seconds") == 0)
        rate->reset = TG_RESET_SECONDS;
    else if (strcmp(reset, "epoch") == 0)
        rate->reset = TG_RESET_EPOCH;
    else if (!lua_isnil(L, -1))
        tg_problem_add(r->problems, r->where, path,
                       "reset is \"seconds\" (until then) or \"epoch\" (a time)");
    lua_settop(L, row);
}

void tg_contract_read_rates(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    int top = lua_gettop(L);
    struct tg_names *names = tg_contract_rows(L, r, "rates");
    if (names)
        pub->rates = tg_contract_keep_array(r, names->n, sizeof *pub->rates);
    for (size_t i = 0; names && pub->rates && i < names->n; i++) {
        char path[200];
        snprintf(path, sizeof path, "rates.%.*s", TG_STR_ARG(names->v[i]));
        pub->n_rates = i + 1;
        pub->rates[i].name = tg_contract_keep(r, names->v[i]);
        if (r->no_memory)
            break;
        lua_getfield(L, top + 1, pub->rates[i].name);
        if (lua_istable(L, -1))
            read_rate(L, r, &pub->rates[i], path);
        else
            tg_problem_add(r->problems, r->where, path,
                           "a table { per_second | per_minute | per_hour, … } is wanted");
        lua_pop(L, 1);
    }
    lua_settop(L, top);
}

/* --- those of the configuration --- */

/* What the configuration's row at the top leaves out is as the script's row says; but a speed of its own
 * comes without the script's burst. */
static void inherit_rate(lua_State *L, int row, int script)
{
    bool own_speed = false;
    for (size_t i = 0; i < 3; i++) {
        lua_getfield(L, row, rate_keys[i]);
        own_speed = own_speed || !lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    for (size_t i = own_speed ? 4 : 0; rate_keys[i]; i++) {
        lua_getfield(L, row, rate_keys[i]);
        if (lua_isnil(L, -1)) {
            lua_getfield(L, script, rate_keys[i]);
            lua_setfield(L, row, rate_keys[i]);
        }
        lua_pop(L, 1);
    }
}

static const char *rate_names(const struct tg_dest *pub, char names[512])
{
    size_t used = 0;
    names[0] = '\0';
    for (size_t i = 0; i < pub->n_rates && used < 512; i++)
        used += (size_t)snprintf(names + used, 512 - used, "%s%s", i ? ", " : "", pub->rates[i].name);
    return used ? names : "none";
}

/* The row at the top is what the configuration says of the rate `name`. */
static void override_rate(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub, struct tg_str name)
{
    struct tg_rate *rate = NULL;
    char path[256], names[512];
    snprintf(path, sizeof path, "destinations.%s.rates.%.*s", pub->name, TG_STR_ARG(name));
    for (size_t i = 0; i < pub->n_rates; i++)
        if (pub->rates[i].name && tg_str_is(name, pub->rates[i].name))
            rate = &pub->rates[i];
    if (!rate) {
        tg_problem_add(r->problems, NULL, path, "the script has no rate of this name; it has: %s",
                       rate_names(pub, names));
    } else if (!lua_istable(L, -1)) {
        tg_problem_add(r->problems, NULL, path,
                       "a table { per_second | per_minute | per_hour, … } is wanted");
    } else {
        int row = lua_gettop(L);
        lua_getfield(L, r->module, "rates");
        lua_getfield(L, -1, rate->name);
        if (lua_istable(L, -1))
            inherit_rate(L, row, row + 2);
        lua_settop(L, row);
        tg_free(rate->account_key);
        rate->account_key = NULL;
        rate->reset = TG_RESET_NONE;
        read_rate(L, r, rate, path);
    }
}

void tg_contract_override_rates(lua_State *L, struct tg_contract_reader *r, struct tg_dest *pub)
{
    struct tg_str json = tg_str_of(r->rates_json), value;
    if (!json.n || tg_json_validate(json, TG_JSON_MAX_DEPTH, &value, NULL))
        return;
    int top = lua_gettop(L);
    const char *where = r->where;
    r->where = NULL; /* it is not the script that says so */
    tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    struct tg_names *names = tg_lua_names(L, top + 1);
    tg_lua_names_hold(L, names);
    for (size_t i = 0; i < names->n; i++) {
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, top + 1);
        override_rate(L, r, pub, names->v[i]);
        lua_pop(L, 1);
    }
    r->where = where;
    lua_settop(L, top);
}
