/* URLs and forms for scripts. */
#include "script/primitives.h"

#include "base/url.h"
#include "script/args.h"
#include "script/form.h"

#include <lauxlib.h>

/* --- url --- */

static int url_encode(lua_State *L)
{
    struct tg_str text = tg_arg_text(L, 1, "url.encode", "text");
    struct tg_buf out = tg_scratch(L, 3 * text.n);
    return tg_push_result(L, tg_url_encode(&out, text), &out, "url.encode", "invalid");
}

static int url_decode(lua_State *L)
{
    struct tg_str text = tg_arg_text(L, 1, "url.decode", "text");
    struct tg_buf out = tg_scratch(L, text.n);
    return tg_push_result(L, tg_url_decode(&out, text, false), &out, "url.decode", "invalid");
}

static void set_text(lua_State *L, const char *key, struct tg_str s)
{
    lua_pushlstring(L, s.n ? s.p : "", s.n);
    lua_setfield(L, -2, key);
}

/* url.parse(text) -> { scheme, host, port, path, query, fragment } | nil, message. The last three may be
 * empty. */
static int url_parse(lua_State *L)
{
    struct tg_url url;
    struct tg_err err = {0};
    if (tg_url_parse(tg_arg_text(L, 1, "url.parse", "text"), &url, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.msg);
        return 2;
    }
    lua_createtable(L, 0, 6);
    set_text(L, "scheme", url.https ? TG_STR("https") : TG_STR("http"));
    set_text(L, "host", url.host);
    set_text(L, "path", url.path);
    set_text(L, "query", url.query);
    set_text(L, "fragment", url.fragment);
    lua_pushinteger(L, url.port);
    lua_setfield(L, -2, "port");
    return 1;
}

static void push_decoded(lua_State *L, struct tg_str raw)
{
    struct tg_buf out = tg_scratch(L, raw.n);
    if (tg_url_decode(&out, raw, true))
        (void)luaL_error(L, "url.query: out of memory");
    lua_pushlstring(L, out.data, out.len);
    lua_remove(L, -2);
}

/* url.query(text) -> table: the first value of each name, decoded, '+' as a space. A '?' in front is passed
 * over. */
static int url_query(lua_State *L)
{
    struct tg_str text = tg_arg_text(L, 1, "url.query", "text");
    if (text.n && text.p[0] == '?')
        text = tg_str_n(text.p + 1, text.n - 1);
    lua_newtable(L);
    for (struct tg_form_walk w = tg_form_walk(text); tg_form_next(&w);) {
        push_decoded(L, w.name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        bool seen = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (seen) {
            lua_pop(L, 1);
            continue;
        }
        push_decoded(L, w.value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* --- form --- */

/* form.encode(fields, { empty = true }?) -> text: sorted by name, a list repeats its name, numbers as JSON
 * prints them (76.0 is 76), nil and json.null omitted, and empty text too unless `empty` is set. */
static int form_encode(lua_State *L)
{
    bool keep_empty = false;
    tg_arg_table(L, 1, "form.encode", "fields");
    if (!lua_isnoneornil(L, 2)) {
        tg_arg_table(L, 2, "form.encode", "options");
        lua_getfield(L, 2, "empty");
        keep_empty = lua_toboolean(L, -1);
    }
    tg_lua_push_form(L, 1, keep_empty, "form.encode");
    return 1;
}

static const luaL_Reg url_functions[] = {
    {"encode", url_encode}, {"decode", url_decode}, {"parse", url_parse}, {"query", url_query}, {NULL, NULL},
};

static const luaL_Reg form_functions[] = {
    {"encode", form_encode},
    {NULL, NULL},
};

int tg_lua_open_url(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    luaL_register(L, NULL, url_functions);
    lua_setfield(L, -2, "url");
    lua_newtable(L);
    luaL_register(L, NULL, form_functions);
    lua_setfield(L, -2, "form");
    return 1;
}
