#include "script/convert.h"

#include "base/digest.h"
#include "base/time.h"
#include "script/nearest.h"
#include "script/scalar.h"

#include <ctype.h>
#include <lauxlib.h>
#include <math.h>

/* Each replaces the value at the top; false when it cannot be converted. */

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

static const struct tg_converter {
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

const struct tg_converter *tg_converter_find(lua_State *L, const char *name)
{
    for (int i = 0; i < CONVERTERS; i++)
        if (strcmp(converters[i].name, name) == 0)
            return &converters[i];
    unknown_converter(L, name);
    return NULL;
}

bool tg_convert(lua_State *L, const struct tg_converter *converter)
{
    return converter->convert(L, converter->digest);
}
