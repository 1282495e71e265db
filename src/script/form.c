#include "script/form.h"

#include "base/url.h"
#include "script/names.h"
#include "script/scalar.h"

#include <lauxlib.h>

enum { PIECE = 256 };

struct form {
    lua_State *L;
    luaL_Buffer out;
    const char *what;
    bool keep_empty, begun;
};

static void add_encoded(luaL_Buffer *b, struct tg_str text)
{
    char encoded[3 * PIECE + 1];
    while (text.n) {
        size_t n = text.n < PIECE ? text.n : PIECE;
        struct tg_buf out = {.data = encoded, .cap = sizeof encoded, .max = sizeof encoded - 1};
        if (tg_url_encode(&out, tg_str_n(text.p, n)) == TG_OK) /* a piece always fits */
            luaL_addlstring(b, out.data, out.len);
        text = tg_str_n(text.p + n, text.n - n);
    }
}

static void add_pair(struct form *f, struct tg_str name, struct tg_str value)
{
    if (value.n == 0 && !f->keep_empty)
        return;
    if (f->begun)
        luaL_addchar(&f->out, '&');
    f->begun = true;
    add_encoded(&f->out, name);
    luaL_addchar(&f->out, '=');
    add_encoded(&f->out, value);
}

static bool is_null(lua_State *L, int idx)
{
    return lua_isnil(L, idx) || (lua_type(L, idx) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx));
}

static int refuse(struct form *f, struct tg_str name, int idx)
{
    lua_State *L = f->L;
    if (lua_type(L, idx) == LUA_TNUMBER)
        return luaL_error(L, "%s: field %s: a finite number expected", f->what, name.p);
    return luaL_error(L, "%s: field %s: text, number, boolean or a list of them expected, got %s", f->what,
                      name.p, luaL_typename(L, idx));
}

/* The text of the scalar at idx; false when it is null. */
static bool scalar(struct form *f, struct tg_str name, int idx, char room[TG_SCALAR_MAX], struct tg_str *text)
{
    if (is_null(f->L, idx))
        return false;
    if (!tg_lua_scalar(f->L, idx, room, text))
        refuse(f, name, idx);
    return true;
}

/* Items are brought to the stack slot `slot` one by one: while the buffer grows it owns what is above. */
static void add_list(struct form *f, struct tg_str name, int list, int slot)
{
    lua_State *L = f->L;
    size_t n = lua_objlen(L, list);
    if (n == 0) {
        lua_pushnil(L);
        if (lua_next(L, list))
            luaL_error(L, "%s: field %s: an object has no place in a form", f->what, name.p);
    }
    for (size_t i = 1; i <= n; i++) {
        char room[TG_SCALAR_MAX];
        struct tg_str text;
        lua_rawgeti(L, list, (int)i);
        lua_replace(L, slot);
        if (lua_istable(L, slot))
            luaL_error(L, "%s: field %s: a list within a list", f->what, name.p);
        if (scalar(f, name, slot, room, &text))
            add_pair(f, name, text);
    }
}

void tg_lua_push_form(lua_State *L, int idx, bool keep_empty, const char *what)
{
    struct form f; /* set one by one: the buffer is large */
    f.L = L;
    f.what = what;
    f.keep_empty = keep_empty;
    f.begun = false;
    int names_at = lua_gettop(L) + 1, value = names_at + 1, item = names_at + 2;
    struct tg_names *names = tg_lua_names(L, idx);
    if (names->other != LUA_TNIL)
        luaL_error(L, "%s: names must be text, got a %s", what, lua_typename(L, names->other));
    lua_pushnil(L);
    lua_pushnil(L);
    luaL_buffinit(L, &f.out);
    for (size_t i = 0; i < names->n; i++) {
        char room[TG_SCALAR_MAX];
        struct tg_str text;
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, idx);
        lua_replace(L, value);
        if (lua_istable(L, value))
            add_list(&f, names->v[i], value, item);
        else if (scalar(&f, names->v[i], value, room, &text))
            add_pair(&f, names->v[i], text);
    }
    luaL_pushresult(&f.out);
    lua_replace(L, names_at);
    lua_settop(L, names_at);
}
