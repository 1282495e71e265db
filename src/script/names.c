#include "script/names.h"

#include "script/fill.h"

#include <lauxlib.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const struct tg_str *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

struct tg_names *tg_lua_names(lua_State *L, int idx)
{
    size_t n = 0;
    luaL_checkstack(L, 4, NULL);
    tg_lua_fill(L, idx);
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1))
        n++;
    struct tg_names *names = lua_newuserdata(L, sizeof *names + n * sizeof *names->v);
    names->n = 0;
    names->other = LUA_TNIL;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            names->other = lua_type(L, -2);
            continue;
        }
        struct tg_str *s = &names->v[names->n++];
        s->p = lua_tolstring(L, -2, &s->n);
    }
    qsort(names->v, names->n, sizeof *names->v, compare);
    return names;
}

void tg_lua_names_hold(lua_State *L, const struct tg_names *names)
{
    luaL_checkstack(L, 2, NULL);
    lua_createtable(L, (int)names->n, 0);
    for (size_t i = 0; i < names->n; i++) {
        lua_pushlstring(L, names->v[i].p, names->v[i].n); /* Lua has each text once: it is the key itself */
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfenv(L, -2);
}

bool tg_name_in(struct tg_str name, const char *const *list)
{
    for (; *list; list++)
        if (tg_str_is(name, *list))
            return true;
    return false;
}
