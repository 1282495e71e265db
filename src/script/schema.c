/* Types and what they take:
 *
 *     string    text; a number becomes its text
 *     integer   a whole number, also as text ("42")
 *     number    a number, also as text
 *     boolean   true, false, also as text
 *     array     texts: a list, or one text with commas ("a, b"); empty ones are left out
 *     text-map  an object of texts; numbers and booleans become text
 *     url       an absolute https address (http where private addresses are allowed)
 *     enum      one of `values`
 *
 * An empty text is the same as a setting that is not given. */
#include "script/schema.h"

#include "base/json.h"
#include "base/mask.h"
#include "base/url.h"
#include "script/json_read.h"
#include "script/names.h"
#include "script/nearest.h"
#include "script/scalar.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

struct setting {
    struct tg_problems *problems;
    const char *where, *path; /* path of this very setting */
    int row;                  /* its schema row on the stack */
    bool allow_private;
};

static void problem(const struct setting *s, const char *reason)
{
    tg_problem_add(s->problems, s->where, s->path, "%s", reason);
}

/* --- conversions: the value at the top is replaced; false after a problem was added --- */

static bool to_text(lua_State *L, const struct setting *s, const char *wanted)
{
    char room[TG_SCALAR_MAX];
    struct tg_str text;
    int at = lua_gettop(L);
    if (lua_isboolean(L, at) || !tg_lua_scalar(L, at, room, &text)) {
        char reason[200];
        snprintf(reason, sizeof reason, "%s is wanted, not a %s", wanted, luaL_typename(L, at));
        problem(s, reason);
        return false;
    }
    if (lua_type(L, at) != LUA_TSTRING) {
        lua_pushlstring(L, text.p, text.n);
        lua_replace(L, at);
    }
    return true;
}

static bool as_string(lua_State *L, const struct setting *s)
{
    return to_text(L, s, "a text");
}

/* Whether n keeps to the row's min and max. */
static bool within(lua_State *L, const struct setting *s, double n)
{
    char reason[200] = "";
    lua_getfield(L, s->row, "min");
    lua_getfield(L, s->row, "max");
    if (lua_isnumber(L, -2) && n < lua_tonumber(L, -2))
        snprintf(reason, sizeof reason, "%.14g is too small: %.14g at least", n, lua_tonumber(L, -2));
    if (lua_isnumber(L, -1) && n > lua_tonumber(L, -1))
        snprintf(reason, sizeof reason, "%.14g is too large: %.14g at most", n, lua_tonumber(L, -1));
    lua_pop(L, 2);
    if (reason[0])
        problem(s, reason);
    return !reason[0];
}

static bool as_number(lua_State *L, const struct setting *s)
{
    double n;
    if (!tg_lua_numeric(L, lua_gettop(L), &n)) {
        problem(s, "a number is wanted");
        return false;
    }
    lua_pushnumber(L, n);
    lua_replace(L, -2);
    return within(L, s, n);
}

static bool as_integer(lua_State *L, const struct setting *s)
{
    double n;
    if (!tg_lua_numeric(L, lua_gettop(L), &n) || n != floor(n) || fabs(n) > 9007199254740992.0) {
        problem(s, "a whole number is wanted");
        return false;
    }
    return as_number(L, s);
}

static bool as_boolean(lua_State *L, const struct setting *s)
{
    if (lua_isboolean(L, -1))
        return true;
    struct tg_str text = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    if (!tg_str_ieq(text, "true") && !tg_str_ieq(text, "false")) {
        problem(s, "true or false is wanted");
        return false;
    }
    lua_pushboolean(L, tg_str_ieq(text, "true"));
    lua_replace(L, -2);
    return true;
}

static void add_item(lua_State *L, int list, struct tg_str text)
{
    text = tg_str_trim(text);
    if (!text.n)
        return;
    lua_pushlstring(L, text.p, text.n);
    lua_rawseti(L, list, (int)lua_objlen(L, list) + 1);
}

static bool array_items(lua_State *L, const struct setting *s, int from, int list)
{
    int n = (int)lua_objlen(L, from);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, from, i);
        if (!to_text(L, s, "a list of texts"))
            return false;
        size_t len;
        const char *p = lua_tolstring(L, -1, &len);
        add_item(L, list, tg_str_n(p, len));
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    bool more = n == 0 && lua_next(L, from);
    if (more)
        problem(s, "a list of texts is wanted, not a table with keys");
    return !more;
}

static bool as_array(lua_State *L, const struct setting *s)
{
    int from = lua_gettop(L), list = from + 1;
    lua_newtable(L);
    bool ok = true;
    if (lua_type(L, from) == LUA_TSTRING) {
        struct tg_str text;
        text.p = lua_tolstring(L, from, &text.n);
        while (text.n) {
            const char *comma = memchr(text.p, ',', text.n);
            size_t n = comma ? (size_t)(comma - text.p) : text.n;
            add_item(L, list, tg_str_n(text.p, n));
            text = tg_str_n(text.p + n + (comma != NULL), text.n - n - (comma != NULL));
        }
    } else if (lua_istable(L, from)) {
        ok = array_items(L, s, from, list);
    } else {
        problem(s, "a list of texts is wanted, or one text with commas");
        ok = false;
    }
    lua_settop(L, list);
    lua_replace(L, from);
    return ok;
}

static bool as_text_map(lua_State *L, const struct setting *s)
{
    int from = lua_gettop(L), map = from + 1;
    if (!lua_istable(L, from)) {
        problem(s, "an object of texts is wanted");
        return false;
    }
    lua_newtable(L);
    bool ok = true;
    for (lua_pushnil(L); ok && lua_next(L, from);) {
        char room[TG_SCALAR_MAX];
        struct tg_str text;
        ok = lua_type(L, -2) == LUA_TSTRING && tg_lua_scalar(L, lua_gettop(L), room, &text);
        if (!ok) {
            problem(s, "an object of texts is wanted: each name with a text");
            break;
        }
        lua_pushvalue(L, -2);
        lua_pushlstring(L, text.p, text.n);
        lua_rawset(L, map);
        lua_pop(L, 1);
    }
    lua_settop(L, map);
    lua_replace(L, from);
    return ok;
}

static bool as_url(lua_State *L, const struct setting *s)
{
    struct tg_url url;
    struct tg_err err;
    struct tg_str text;
    if (!to_text(L, s, "an address (https://…)"))
        return false;
    text.p = lua_tolstring(L, -1, &text.n);
    text = tg_str_trim(text);
    lua_pushlstring(L, text.p, text.n);
    lua_replace(L, -2);
    if (tg_url_parse(text, &url, &err)) {
        problem(s, err.msg);
        return false;
    }
    if (!url.https && !s->allow_private) {
        problem(s, "the address must be https (http needs egress.allow_private)");
        return false;
    }
    return true;
}

static bool as_enum(lua_State *L, const struct setting *s)
{
    int at = lua_gettop(L);
    if (!to_text(L, s, "a text"))
        return false;
    char reason[400] = "one of these is wanted:";
    lua_getfield(L, s->row, "values");
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0; /* a metamethod may say now this, now that */
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, at + 1, i);
        if (lua_rawequal(L, -1, at)) {
            lua_settop(L, at);
            return true;
        }
        size_t used = strlen(reason);
        snprintf(reason + used, sizeof reason - used, " %s", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, at);
    problem(s, reason);
    return false;
}

static const struct type {
    const char *name;
    bool (*convert)(lua_State *L, const struct setting *s);
} types[] = {{"string", as_string}, {"integer", as_integer},   {"number", as_number}, {"boolean", as_boolean},
             {"array", as_array},   {"text-map", as_text_map}, {"url", as_url},       {"enum", as_enum}};
enum { TYPES = sizeof types / sizeof *types };

static const struct type *type_of(lua_State *L, int row)
{
    const struct type *found = NULL;
    lua_getfield(L, row, "type");
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0)
            found = &types[i];
    lua_pop(L, 1);
    return found;
}

bool tg_schema_is_url(lua_State *L, int idx, struct tg_str name)
{
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, idx);
    const struct type *t = lua_istable(L, -1) ? type_of(L, lua_gettop(L)) : NULL;
    lua_pop(L, 1);
    return t && t->convert == as_url;
}

/* --- the schema itself --- */

static void unknown(struct tg_problems *p, const char *where, const char *path, struct tg_str name,
                    const char *near)
{
    tg_problem_add(p, where, path, "unknown key '%.*s'%s%s%s", TG_STR_ARG(name),
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static void check_row(lua_State *L, int row, const struct setting *s)
{
    static const char *const known[] = {"type",   "required", "default", "secret", "help",
                                        "values", "min",      "max",     NULL};
    struct tg_names *names = tg_lua_names(L, row);
    for (size_t i = 0; i < names->n; i++)
        if (!tg_name_in(names->v[i], known))
            unknown(s->problems, s->where, s->path, names->v[i], tg_nearest_of(names->v[i], known));
    const struct type *t = type_of(L, row);
    if (!t) {
        problem(s, "type must be one of string, integer, number, boolean, array, text-map, url, enum");
        return;
    }
    lua_getfield(L, row, "values");
    if (t->convert == as_enum && (!lua_istable(L, -1) || lua_objlen(L, -1) == 0)) {
        problem(s, "an enum needs values, a list of texts");
        return;
    }
    lua_getfield(L, row, "default");
    bool plain_empty = lua_type(L, -1) == LUA_TSTRING && lua_objlen(L, -1) == 0;
    if (!lua_isnil(L, -1) && !plain_empty) {
        struct setting d = *s;
        char path[256];
        snprintf(path, sizeof path, "%s.default", s->path);
        d.path = path;
        d.row = row;
        t->convert(L, &d);
    }
}

void tg_schema_check(lua_State *L, int idx, const char *where, struct tg_problems *problems)
{
    int top = lua_gettop(L);
    if (lua_isnil(L, idx))
        return;
    if (!lua_istable(L, idx)) {
        tg_problem_add(problems, where, "settings", "a table { name = { type = …, … } } is wanted");
        return;
    }
    struct tg_names *names = tg_lua_names(L, idx);
    tg_lua_names_hold(L, names); /* a row may have metamethods */
    if (names->other != LUA_TNIL)
        tg_problem_add(problems, where, "settings", "each setting has a name; this table has other keys too");
    for (size_t i = 0; i < names->n; i++) {
        char path[200];
        snprintf(path, sizeof path, "settings.%.*s", TG_STR_ARG(names->v[i]));
        struct setting s = {problems, where, path, 0, true};
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, idx);
        if (lua_istable(L, -1))
            check_row(L, lua_gettop(L), &s);
        else
            problem(&s, "a table { type = …, … } is wanted");
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
}

/* --- settings --- */

static void mask(lua_State *L, int at, struct setting *s)
{
    struct tg_str text;
    if (lua_istable(L, at)) {
        for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
            mask(L, lua_gettop(L), s);
        return;
    }
    if (lua_type(L, at) != LUA_TSTRING)
        return;
    text.p = lua_tolstring(L, at, &text.n);
    if (tg_mask_add(text))
        problem(s, "no memory to keep the secret out of logs");
}

/* Whether the value at the top is as good as not given. */
static bool is_absent(lua_State *L)
{
    return lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1)) ||
           (lua_type(L, -1) == LUA_TSTRING && lua_objlen(L, -1) == 0);
}

static bool row_flag(lua_State *L, int row, const char *name)
{
    lua_getfield(L, row, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* master[name] = given[name], converted; stack: given at `given`, master at `master`, the row at the top. */
static void one_setting(lua_State *L, struct tg_str name, int given, int master, struct setting *s)
{
    s->row = lua_gettop(L);
    const struct type *t = type_of(L, s->row);
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, given);
    if (is_absent(L)) {
        lua_pop(L, 1);
        lua_getfield(L, s->row, "default");
    }
    if (lua_isnil(L, -1)) {
        if (row_flag(L, s->row, "required"))
            problem(s, "required");
        return;
    }
    if (is_absent(L) && row_flag(L, s->row, "required")) {
        problem(s, "required");
        return;
    }
    bool empty = is_absent(L); /* a default of "" stays what it is */
    if (!t || (!empty && !t->convert(L, s)))
        return;
    if (row_flag(L, s->row, "secret"))
        mask(L, lua_gettop(L), s);
    lua_pushlstring(L, name.p, name.n);
    lua_pushvalue(L, -2);
    lua_rawset(L, master);
}

static void push_given(lua_State *L, const struct tg_schema_in *in, struct tg_problems *problems)
{
    struct tg_str value;
    struct tg_err err;
    if (in->json.n && tg_json_validate(in->json, TG_JSON_MAX_DEPTH, &value, &err))
        tg_problem_add(problems, NULL, in->path, "%s", err.msg);
    else if (in->json.n && tg_json_type(value) == TG_JSON_OBJECT)
        tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    else if (in->json.n && !(tg_json_type(value) == TG_JSON_ARRAY && tg_str_is(value, "[]")))
        tg_problem_add(problems, NULL, in->path, "an object of settings is wanted");
    if (!lua_istable(L, -1))
        lua_newtable(L);
}

static void unknown_settings(lua_State *L, int given, const struct tg_names *schema,
                             const struct tg_schema_in *in, struct tg_problems *problems)
{
    struct tg_names *names = tg_lua_names(L, given);
    for (size_t i = 0; i < names->n; i++) {
        struct tg_nearest near;
        bool known = false;
        tg_nearest_init(&near, names->v[i]);
        for (size_t j = 0; j < schema->n; j++) {
            known = known || tg_str_eq(schema->v[j], names->v[i]);
            tg_nearest_try(&near, schema->v[j]);
        }
        if (known)
            continue;
        char path[512];
        snprintf(path, sizeof path, "%s.%.*s", in->path, TG_STR_ARG(names->v[i]));
        tg_problem_add(problems, NULL, path, "unknown key%s%s%s", near.best[0] ? "; did you mean '" : "",
                       near.best, near.best[0] ? "'?" : "");
    }
    lua_pop(L, 1);
}

void tg_schema_settings(lua_State *L, int idx, const struct tg_schema_in *in, struct tg_problems *problems)
{
    luaL_checkstack(L, 20, NULL);
    int top = lua_gettop(L), given = top + 1, schema = top + 2, master = top + 3;
    lua_pushnil(L);
    push_given(L, in, problems);
    lua_remove(L, given); /* the nil, unless it was replaced */
    if (lua_istable(L, idx))
        lua_pushvalue(L, idx);
    else
        lua_newtable(L);
    lua_newtable(L);
    struct tg_names *names = tg_lua_names(L, schema);
    tg_lua_names_hold(L, names);
    for (size_t i = 0; i < names->n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s.%.*s", in->path, TG_STR_ARG(names->v[i]));
        struct setting s = {problems, NULL, path, 0, in->allow_private};
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, schema);
        if (lua_istable(L, -1))
            one_setting(L, names->v[i], given, master, &s);
        lua_settop(L, master + 1);
    }
    unknown_settings(L, given, names, in, problems);
    lua_settop(L, master);
    lua_replace(L, given);
    lua_settop(L, given);
}
