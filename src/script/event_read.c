/* get, first and map: values of an event by dotted path, from its bytes while they were not made tables.
 *
 * A path's steps are member names; a numeric step indexes an array from 0. Within a member, a key that is the
 * whole remaining path wins over descending, so names with dots are found. JSON null is no value. */
#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"
#include "script/coverage.h"
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/json_codec.h"
#include "script/names.h"
#include "script/nearest.h"
#include "script/scalar.h"
#include "script/unwind.h"

#include <ctype.h>
#include <math.h>

enum { ROWS_TO_BUILD = 3 }; /* from so many rows on, decoding the members at once is cheaper */

/* --- paths --- */

static bool is_index(struct tg_str step, int *index)
{
    *index = 0;
    for (size_t i = 0; i < step.n; i++) {
        if (!isdigit((unsigned char)step.p[i]) || i > 6)
            return false;
        *index = *index * 10 + (step.p[i] - '0');
    }
    return step.n > 0;
}

/* Replaces the value at the top by nil if it is JSON null. */
static void null_to_nil(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1)) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

/* Replaces the table at the top by its field, nil if there is none. */
static void field(lua_State *L, struct tg_str name)
{
    int index;
    lua_pushlstring(L, name.p, name.n);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1) && is_index(name, &index)) {
        lua_pop(L, 1);
        lua_rawgeti(L, -1, index + 1);
    }
    lua_remove(L, -2);
    null_to_nil(L);
}

/* Replaces the unread member at the top by what the path leads to in its bytes. */
static void from_bytes(lua_State *L, struct tg_str object, struct tg_str path)
{
    struct tg_str value = object.n ? tg_json_path(object, path) : object;
    lua_pop(L, 1);
    if (value.n)
        tg_lua_push_json(L, value, TG_JSON_NULL_AS_NIL);
    else
        lua_pushnil(L);
    null_to_nil(L);
}

/* Whether the table at the top has the whole path as a key; then its value replaces it. */
static bool whole_key(lua_State *L, struct tg_str path)
{
    lua_pushlstring(L, path.p, path.n);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_remove(L, -2);
    null_to_nil(L);
    return true;
}

/* Pushes what the path leads to from the table at `from`, or nil. */
static void push_path(lua_State *L, int from, struct tg_str path, bool build)
{
    lua_pushvalue(L, from);
    for (;;) {
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
            return;
        }
        const char *dot = path.n ? memchr(path.p, '.', path.n) : NULL;
        struct tg_str object;
        bool context;
        if (!build && tg_lazy_object(L, -1, &object, &context) &&
            !(context && !dot && tg_context_object(path))) {
            from_bytes(L, object, path);
            return;
        }
        tg_lazy_build(L, -1);
        if (dot && whole_key(L, path))
            return;
        struct tg_str step = dot ? tg_str_n(path.p, (size_t)(dot - path.p)) : path;
        field(L, step);
        if (!dot)
            return;
        path = tg_str_n(dot + 1, path.n - step.n - 1);
    }
}

static struct tg_str to_path(lua_State *L, int idx)
{
    struct tg_str path = {NULL, 0};
    if (lua_type(L, idx) == LUA_TSTRING)
        path.p = lua_tolstring(L, idx, &path.n);
    if (!path.n)
        luaL_error(L, "a path is a text such as \"properties.order_id\", not %s",
                   lua_type(L, idx) == LUA_TSTRING ? "an empty one" : luaL_typename(L, idx));
    return path;
}

/* Whether the value at the top is nothing: nil, an empty string, an empty table. */
static bool is_empty(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TSTRING)
        return lua_objlen(L, -1) == 0;
    if (!lua_istable(L, -1))
        return lua_isnil(L, -1);
    tg_lazy_build(L, -1);
    lua_pushnil(L);
    if (!lua_next(L, -2))
        return true;
    lua_pop(L, 2);
    return false;
}

static int read_get(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    push_path(L, 1, to_path(L, 2), false);
    return 1;
}

static int read_first(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    int n = (int)lua_objlen(L, 2);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        push_path(L, 1, to_path(L, -1), n > ROWS_TO_BUILD);
        if (!is_empty(L))
            return 1;
        lua_pop(L, 2);
    }
    lua_pushnil(L);
    return 1;
}

/* --- converters: replace the value at the top; nil when it cannot be converted --- */

static bool replace_with_text(lua_State *L, struct tg_str text)
{
    lua_pushlstring(L, text.n ? text.p : "", text.n);
    lua_replace(L, -2);
    return true;
}

static bool as_string(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    char room[TG_SCALAR_MAX];
    struct tg_str text;
    return tg_lua_scalar(L, -1, room, &text) &&
           (lua_type(L, -1) == LUA_TSTRING || replace_with_text(L, text));
}

static bool as_number(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    double n;
    if (!tg_lua_numeric(L, -1, &n))
        return false;
    lua_pushnumber(L, n);
    lua_replace(L, -2);
    return true;
}

static bool as_integer(lua_State *L, enum tg_digest unused)
{
    return as_number(L, unused) && lua_tonumber(L, -1) == floor(lua_tonumber(L, -1));
}

static bool as_boolean(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    if (lua_isboolean(L, -1))
        return true;
    char room[TG_SCALAR_MAX];
    struct tg_str text;
    if (!tg_lua_scalar(L, -1, room, &text))
        return false;
    bool yes = tg_str_ieq(text, "true") || tg_str_is(text, "1");
    if (!yes && !tg_str_ieq(text, "false") && !tg_str_is(text, "0"))
        return false;
    lua_pushboolean(L, yes);
    lua_replace(L, -2);
    return true;
}

/* ISO 8601 text, or a number of seconds or (from 1e11 on) milliseconds since 1970. */
static bool to_time(lua_State *L, int64_t *ms)
{
    double n;
    if (lua_type(L, -1) == LUA_TSTRING) {
        struct tg_str text;
        text.p = lua_tolstring(L, -1, &text.n);
        if (tg_time_parse(tg_str_trim(text), ms))
            return true;
    }
    if (!tg_lua_numeric(L, -1, &n) || fabs(n) > 253402300799999.0)
        return false;
    *ms = (int64_t)(fabs(n) < 1e11 ? n * 1000 : n);
    return true;
}

static bool as_iso_time(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    int64_t ms;
    char text[TG_TIME_LEN + 1];
    if (!to_time(L, &ms))
        return false;
    tg_time_format(ms, text);
    return replace_with_text(L, tg_str_of(text));
}

static bool as_unix_time(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    int64_t ms;
    if (!to_time(L, &ms))
        return false;
    lua_pushnumber(L, floor((double)ms / 1000));
    lua_replace(L, -2);
    return true;
}

static bool as_unix_ms(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    int64_t ms;
    if (!to_time(L, &ms))
        return false;
    lua_pushnumber(L, (double)ms);
    lua_replace(L, -2);
    return true;
}

static bool change_case(lua_State *L, int (*change)(int))
{
    if (!as_string(L, TG_MD5))
        return false;
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < n; i++)
        luaL_addchar(&b, (unsigned char)text[i] < 128 ? (char)change((unsigned char)text[i]) : text[i]);
    luaL_pushresult(&b);
    lua_replace(L, -2);
    return true;
}

static bool as_lower(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    return change_case(L, tolower);
}

static bool as_upper(lua_State *L, enum tg_digest unused)
{
    (void)unused;
    return change_case(L, toupper);
}

static bool as_trim(lua_State *L, enum tg_digest unused)
{
    struct tg_str text;
    if (!as_string(L, unused))
        return false;
    text.p = lua_tolstring(L, -1, &text.n);
    return replace_with_text(L, tg_str_trim(text));
}

static bool as_digest(lua_State *L, enum tg_digest digest)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char raw[TG_DIGEST_MAX];
    char text[2 * TG_DIGEST_MAX];
    size_t n;
    struct tg_str data;
    if (!as_string(L, digest))
        return false;
    data.p = lua_tolstring(L, -1, &data.n);
    int rc = tg_digest(digest, data, raw, &n);
    if (rc)
        luaL_error(L, "map: digest: %s", tg_code_text(rc));
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = hex[raw[i] >> 4];
        text[2 * i + 1] = hex[raw[i] & 15];
    }
    return replace_with_text(L, tg_str_n(text, 2 * n));
}

static const struct converter {
    const char *name;
    bool (*convert)(lua_State *L, enum tg_digest digest);
    enum tg_digest digest;
} converters[] = {
    {"string", as_string, 0},         {"integer", as_integer, 0},
    {"number", as_number, 0},         {"boolean", as_boolean, 0},
    {"iso_time", as_iso_time, 0},     {"unix_time", as_unix_time, 0},
    {"unix_ms", as_unix_ms, 0},       {"lower", as_lower, 0},
    {"upper", as_upper, 0},           {"trim", as_trim, 0},
    {"md5", as_digest, TG_MD5},       {"sha1", as_digest, TG_SHA1},
    {"sha256", as_digest, TG_SHA256},
};
enum { CONVERTERS = sizeof converters / sizeof *converters };

static int unknown_converter(lua_State *L, const char *name)
{
    struct tg_nearest near;
    tg_nearest_init(&near, tg_str_of(name));
    for (int i = 0; i < CONVERTERS; i++)
        tg_nearest_try(&near, tg_str_of(converters[i].name));
    return luaL_error(L, "map: there is no conversion '%s'%s%s%s", name,
                      near.best[0] ? "; did you mean '" : "", near.best, near.best[0] ? "'?" : "");
}

static const struct converter *find_converter(lua_State *L, const char *name)
{
    for (int i = 0; i < CONVERTERS; i++)
        if (strcmp(converters[i].name, name) == 0)
            return &converters[i];
    unknown_converter(L, name);
    return NULL;
}

static bool convert_one(lua_State *L, int as)
{
    if (lua_isfunction(L, as)) {
        lua_pushvalue(L, as);
        lua_insert(L, -2);
        lua_call(L, 1, 1);
        return !lua_isnil(L, -1);
    }
    const struct converter *c = find_converter(L, lua_tostring(L, as));
    return c->convert(L, c->digest);
}

/* Converts the value at the top by `as`: a name, a list of names, a function, or nil. */
static bool convert(lua_State *L, int as)
{
    if (lua_isnil(L, as))
        return true;
    if (!lua_istable(L, as))
        return convert_one(L, as);
    int n = (int)lua_objlen(L, as);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, as, i);
        lua_insert(L, -2);
        bool done = convert_one(L, lua_gettop(L) - 1);
        lua_remove(L, -2);
        if (!done)
            return false;
    }
    return true;
}

/* --- map --- */

static const char checked_key; /* registry: weak set of row lists that have been checked */

static int row_error(lua_State *L, int i, const char *what)
{
    return luaL_error(L, "map: row %d: %s", i, what);
}

static void check_as(lua_State *L, int i)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        find_converter(L, lua_tostring(L, -1));
        return;
    }
    if (!lua_istable(L, -1)) {
        if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
            row_error(L, i, "'as' is a conversion's name, a list of them, or a function");
        return;
    }
    for (int j = 1; j <= (int)lua_objlen(L, -1); j++) {
        lua_rawgeti(L, -1, j);
        if (lua_type(L, -1) == LUA_TSTRING)
            find_converter(L, lua_tostring(L, -1));
        else if (!lua_isfunction(L, -1))
            row_error(L, i, "'as' lists conversions' names and functions");
        lua_pop(L, 1);
    }
}

static void check_from(lua_State *L, int i)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        to_path(L, -1);
        return;
    }
    if (!lua_istable(L, -1))
        row_error(L, i, "'from' is a path or a list of paths");
    for (int j = 1; j <= (int)lua_objlen(L, -1); j++) {
        lua_rawgeti(L, -1, j);
        to_path(L, -1);
        lua_pop(L, 1);
    }
}

static const char *const row_keys[] = {"to", "from", "as", "required", "default", NULL};

static int unknown_key(lua_State *L, int i)
{
    struct tg_str name = {"?", 1};
    if (lua_type(L, -2) == LUA_TSTRING)
        name.p = lua_tolstring(L, -2, &name.n);
    const char *near = tg_nearest_of(name, row_keys);
    return luaL_error(L, "map: row %d: unknown key '%s'%s%s%s", i, name.p, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

static void check_row(lua_State *L, int row, int i)
{
    for (lua_pushnil(L); lua_next(L, row); lua_pop(L, 1)) {
        struct tg_str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.p = lua_tolstring(L, -2, &name.n);
        if (!tg_name_in(name, row_keys))
            unknown_key(L, i);
    }
    lua_getfield(L, row, "to");
    if (lua_type(L, -1) != LUA_TSTRING)
        row_error(L, i, "'to' is the name of the field to fill");
    lua_getfield(L, row, "from");
    check_from(L, i);
    lua_getfield(L, row, "as");
    check_as(L, i);
    lua_getfield(L, row, "required");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1) && lua_type(L, -1) != LUA_TSTRING)
        row_error(L, i, "'required' is true, or the word to skip with");
    lua_pop(L, 4);
}

/* Checks the rows at idx when they are seen for the first time. */
static void check_rows(lua_State *L, int idx)
{
    lua_pushlightuserdata(L, (void *)&checked_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    bool checked = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!checked) {
        for (int i = 1; i <= (int)lua_objlen(L, idx); i++) {
            lua_rawgeti(L, idx, i);
            if (!lua_istable(L, -1))
                row_error(L, i, "a row is a table { to, from, as, required, default }");
            check_row(L, lua_gettop(L), i);
            lua_pop(L, 1);
        }
        lua_pushvalue(L, idx);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

/* Pushes the first value that is there and can be converted, or nil. */
static void push_mapped(lua_State *L, int from, int as, bool build)
{
    int n = lua_istable(L, from) ? (int)lua_objlen(L, from) : 1;
    for (int i = 1; i <= n; i++) {
        if (lua_istable(L, from))
            lua_rawgeti(L, from, i);
        else
            lua_pushvalue(L, from);
        push_path(L, 1, to_path(L, -1), build);
        lua_remove(L, -2);
        if (!is_empty(L) && convert(L, as) && !is_empty(L))
            return;
        lua_pop(L, 1);
    }
    lua_pushnil(L);
}

static int missing(lua_State *L, int to, int required)
{
    if (lua_type(L, required) == LUA_TSTRING)
        return tg_lua_end(L, TG_UNWIND_SKIP, lua_tostring(L, required), NULL, 0);
    const char *reason = lua_pushfstring(L, "missing_%s", lua_tostring(L, to));
    return tg_lua_end(L, TG_UNWIND_REJECT, reason, NULL, 0);
}

/* For `tidegate test`: which rows of which call have found something. */
static void note_row(lua_State *L, int to, int i, bool filled)
{
    const struct tg_host *h = tg_host_if(L);
    if (!h || !h->options.coverage)
        return;
    luaL_where(L, 1);
    tg_coverage_row(h->options.coverage, lua_tostring(L, -1), (unsigned)i, lua_tostring(L, to), filled);
    lua_pop(L, 1);
}

static void map_row(lua_State *L, int row, int i, int out, bool build)
{
    lua_getfield(L, row, "to");
    lua_getfield(L, row, "from");
    lua_getfield(L, row, "as");
    push_mapped(L, row + 2, row + 3, build);
    note_row(L, row + 1, i, !lua_isnil(L, -1));
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_getfield(L, row, "default");
    }
    if (lua_isnil(L, -1)) {
        lua_getfield(L, row, "required");
        if (lua_toboolean(L, -1))
            missing(L, row + 1, row + 5);
    } else {
        lua_pushvalue(L, row + 1);
        lua_insert(L, -2);
        lua_rawset(L, out);
    }
    lua_settop(L, row);
}

static int read_map(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    check_rows(L, 2);
    int n = (int)lua_objlen(L, 2);
    lua_createtable(L, 0, n);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        map_row(L, 4, i, 3, n >= ROWS_TO_BUILD);
        lua_pop(L, 1);
    }
    return 1;
}

void tg_event_read_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", read_get}, {"first", read_first}, {"map", read_map}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, (void *)&checked_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}
