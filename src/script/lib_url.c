/* URLs and forms.
 *
 * form.encode cannot know how long its result gets, so it writes through luaL_Buffer. That takes stack slots
 * as it likes: between its calls the stack must be level, and so every name and value is fetched anew, copied
 * out as a span (the table keeps the text alive) and popped before it is added. */
#include "script/primitives.h"

#include "base/url.h"
#include "script/args.h"

#include <lauxlib.h>
#include <stdlib.h>

enum { PIECE = 256 };

/* --- url
 * ----------------------------------------------------------------------------------------------------------
 */

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

/* --- form
 * ---------------------------------------------------------------------------------------------------------
 */

static int by_bytes(const void *pa, const void *pb)
{
    const struct tg_str *a = pa, *b = pb;
    size_t n = a->n < b->n ? a->n : b->n;
    int c = n ? memcmp(a->p, b->p, n) : 0;
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

static size_t count_members(lua_State *L, int table)
{
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        n++;
    return n;
}

/* The names of the table, sorted, in a userdata that is left on the stack. */
static struct tg_str *push_names(lua_State *L, int table, size_t n)
{
    struct tg_str *names = lua_newuserdata(L, (n + 1) * sizeof *names);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, table) && i < n; lua_pop(L, 1), i++) {
        if (lua_type(L, -2) != LUA_TSTRING)
            (void)luaL_error(L, "form.encode: argument 1 (fields): names must be text, got a %s",
                             luaL_typename(L, -2));
        names[i].p = lua_tolstring(L, -2, &names[i].n);
    }
    qsort(names, n, sizeof *names, by_bytes);
    return names;
}

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

enum { PLAIN_MAX = 352 }; /* a sign, "0.", 324 zeros and 17 digits */

/* JSON may write 1e-7, a form may not: partners read decimals. `json` is a number with an exponent and a NUL
 * behind it, so far from 1 that all its digits stand on one side of the point. */
static struct tg_str without_exponent(struct tg_str json, char out[PLAIN_MAX])
{
    char digits[TG_NUMBER_LEN];
    int n = 0, point = 0; /* the decimal point stands behind that many digits */
    size_t i = 0;
    char *to = out;
    if (json.p[0] == '-') {
        *to++ = '-';
        i++;
    }
    for (bool fraction = false; i < json.n && json.p[i] != 'e'; i++) {
        if (json.p[i] == '.') {
            fraction = true;
        } else {
            digits[n++] = json.p[i];
            point += !fraction;
        }
    }
    point += (int)strtol(json.p + i + 1, NULL, 10); /* json ends with a NUL */
    if (point <= 0) {
        *to++ = '0';
        *to++ = '.';
        memset(to, '0', (size_t)-point);
        to += -point;
    }
    memcpy(to, digits, (size_t)n);
    to += n;
    for (; point > n; point--)
        *to++ = '0';
    return tg_str_n(out, (size_t)(to - out));
}

static struct tg_str number_text(double number, char out[PLAIN_MAX])
{
    char json[TG_NUMBER_LEN];
    struct tg_str s = tg_number_text(number == 0 ? 0 : number, json); /* no "-0" either */
    if (s.n && memchr(s.p, 'e', s.n)) {
        json[s.n] = '\0';
        return without_exponent(s, out);
    }
    memcpy(out, json, s.n);
    return tg_str_n(out, s.n);
}

enum value { OMITTED, TEXT, LIST };

/* What the value on top of the stack is; for TEXT its text, in `digits` for a number. */
static enum value read_value(lua_State *L, struct tg_str name, char digits[PLAIN_MAX], struct tg_str *text)
{
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text->p = lua_tolstring(L, -1, &text->n);
        return TEXT;
    case LUA_TNUMBER:
        *text = number_text(lua_tonumber(L, -1), digits);
        if (text->n == 0)
            (void)luaL_error(L, "form.encode: field %s: a finite number expected", name.p);
        return TEXT;
    case LUA_TBOOLEAN:
        *text = lua_toboolean(L, -1) ? TG_STR("true") : TG_STR("false");
        return TEXT;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, -1)) /* json.null */
            return OMITTED;
        break;
    case LUA_TTABLE:
        return LIST;
    default:
        break;
    }
    return (enum value)luaL_error(
        L, "form.encode: field %s: text, number, boolean or a list of them expected, got %s", name.p,
        luaL_typename(L, -1));
}

struct form {
    lua_State *L;
    luaL_Buffer out;
    bool first;
    bool keep_empty;
};

static void add_pair(struct form *f, struct tg_str name, struct tg_str value)
{
    if (value.n == 0 && !f->keep_empty)
        return;
    if (!f->first)
        luaL_addchar(&f->out, '&');
    f->first = false;
    add_encoded(&f->out, name);
    luaL_addchar(&f->out, '=');
    add_encoded(&f->out, value);
}

/* Pushes fields[name]. */
static void push_field(lua_State *L, struct tg_str name)
{
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, 1);
}

/* A list repeats its name. */
static void add_list(struct form *f, struct tg_str name, size_t n)
{
    lua_State *L = f->L;
    for (size_t i = 1; i <= n; i++) {
        char digits[PLAIN_MAX];
        struct tg_str text = {0};
        push_field(L, name);
        lua_rawgeti(L, -1, (int)i);
        enum value kind = lua_isnil(L, -1) ? OMITTED : read_value(L, name, digits, &text);
        if (kind == LIST)
            (void)luaL_error(L, "form.encode: field %s: a list within a list", name.p);
        lua_pop(L, 2);
        if (kind == TEXT)
            add_pair(f, name, text);
    }
}

static void add_field(struct form *f, struct tg_str name)
{
    char digits[PLAIN_MAX];
    struct tg_str text = {0};
    push_field(f->L, name);
    enum value kind = read_value(f->L, name, digits, &text);
    size_t n = kind == LIST ? lua_objlen(f->L, -1) : 0;
    if (kind == LIST && n == 0) {
        lua_pushnil(f->L);
        if (lua_next(f->L, -2))
            (void)luaL_error(f->L, "form.encode: field %s: an object has no place in a form", name.p);
    }
    lua_pop(f->L, 1);
    if (kind == TEXT)
        add_pair(f, name, text);
    else if (kind == LIST)
        add_list(f, name, n);
}

/* form.encode(fields, { empty = true }?) -> text: sorted by name, a list repeats its name, numbers as JSON
 * prints them (76.0 is 76), nil and json.null omitted, and empty text too unless `empty` is set. */
static int form_encode(lua_State *L)
{
    tg_arg_table(L, 1, "form.encode", "fields");
    struct form f = {.L = L, .first = true};
    if (!lua_isnoneornil(L, 2)) {
        tg_arg_table(L, 2, "form.encode", "options");
        lua_getfield(L, 2, "empty");
        f.keep_empty = lua_toboolean(L, -1);
    }
    lua_settop(L, 1);
    size_t n = count_members(L, 1);
    const struct tg_str *names = push_names(L, 1, n);
    luaL_buffinit(L, &f.out);
    for (size_t i = 0; i < n; i++)
        add_field(&f, names[i]);
    luaL_pushresult(&f.out);
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
