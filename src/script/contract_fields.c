#include "script/contract_fields.h"

#include "base/mem.h"
#include "script/names.h"
#include "script/nearest.h"

#include <lauxlib.h>

void tg_contract_check_keys(lua_State *L, struct tg_contract_reader *r, int table, const char *path,
                            const char *const *known)
{
    struct tg_names *names = tg_lua_names(L, table);
    if (names->other != LUA_TNIL)
        tg_problem_add(r->problems, r->where, path, "names are wanted as keys, not a %s",
                       lua_typename(L, names->other));
    for (size_t i = 0; i < names->n; i++) {
        if (tg_name_in(names->v[i], known))
            continue;
        const char *near = tg_nearest_of(names->v[i], known);
        tg_problem_add(r->problems, r->where, path, "unknown key '%.*s'%s%s%s", TG_STR_ARG(names->v[i]),
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    lua_pop(L, 1);
}

char *tg_contract_keep(struct tg_contract_reader *r, struct tg_str text)
{
    char *copy = tg_strndup(text.n ? text.p : "", text.n);
    r->no_memory = r->no_memory || !copy;
    return copy;
}

void *tg_contract_keep_array(struct tg_contract_reader *r, size_t n, size_t size)
{
    void *array = tg_calloc(n, size);
    r->no_memory = r->no_memory || !array;
    return array;
}

struct tg_str tg_contract_text(lua_State *L, struct tg_contract_reader *r, const char *path)
{
    struct tg_str text = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    if (!text.n)
        tg_problem_add(r->problems, r->where, path, "a text is wanted, not %s",
                       text.p ? "an empty one" : luaL_typename(L, -1));
    return text;
}

/* Replaces a setting's name at the top by that setting's value. False when it is declared but has none: what
 * was wrong with it has been said. */
static bool setting_value(lua_State *L, struct tg_contract_reader *r)
{
    bool declared = false;
    if (lua_istable(L, r->schema)) {
        lua_pushvalue(L, -1);
        lua_rawget(L, r->schema);
        declared = lua_istable(L, -1);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_rawget(L, r->settings);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return !declared;
    }
    lua_replace(L, -2);
    return true;
}

enum { AMOUNT_MAX = 1000000000 }; /* fits every type that it is put into */

double tg_contract_amount(lua_State *L, struct tg_contract_reader *r, int table, const char *key,
                          const char *path, double otherwise)
{
    double n = otherwise;
    lua_getfield(L, table, key);
    if (lua_type(L, -1) == LUA_TSTRING && !setting_value(L, r)) {
        lua_pop(L, 1);
        return otherwise;
    }
    if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > AMOUNT_MAX)
        tg_problem_add(r->problems, r->where, path, "%s: %d is the most", key, AMOUNT_MAX);
    else if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > 0)
        n = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        tg_problem_add(r->problems, r->where, path,
                       "%s: a number above 0 is wanted, or the name of a setting that holds one", key);
    lua_pop(L, 1);
    return n;
}

bool tg_contract_function(lua_State *L, struct tg_contract_reader *r, int table, const char *key,
                          const char *path, bool required)
{
    lua_getfield(L, table, key);
    bool is = lua_isfunction(L, -1);
    if (!is && (required || !lua_isnil(L, -1)))
        tg_problem_add(r->problems, r->where, path, "%s: a function is wanted, not %s", key,
                       luaL_typename(L, -1));
    lua_pop(L, 1);
    return is;
}

struct tg_names *tg_contract_rows(lua_State *L, struct tg_contract_reader *r, const char *key)
{
    lua_getfield(L, r->module, key);
    if (lua_isnil(L, -1))
        return NULL;
    if (!lua_istable(L, -1)) {
        tg_problem_add(r->problems, r->where, key, "a table { NAME = { … } } is wanted");
        return NULL;
    }
    struct tg_names *names = tg_lua_names(L, lua_gettop(L));
    tg_lua_names_hold(L, names); /* a row may have metamethods */
    if (names->other != LUA_TNIL)
        tg_problem_add(r->problems, r->where, key, "each row has a name");
    return names;
}
