#include "script/scalar.h"

#include "base/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

static size_t print_number(double n, char room[TG_SCALAR_MAX])
{
    if (!isfinite(n))
        return 0;
    if (n == 0)
        n = 0; /* no "-0" */
    char shortest[TG_JSON_NUMBER_MAX];
    size_t len = tg_json_format(shortest, n);
    if (!memchr(shortest, 'e', len)) {
        memcpy(room, shortest, len);
        return len;
    }
    if (fabs(n) >= 1)
        return (size_t)snprintf(room, TG_SCALAR_MAX, "%.0f", n);
    /* Smaller than 1e-6: as many places as the shortest form has digits. */
    int exponent = 0, digits = 0;
    const char *e = memchr(shortest, 'e', len);
    for (const char *p = shortest; p < e; p++)
        digits += *p >= '0' && *p <= '9';
    for (const char *p = e + 1; p < shortest + len; p++)
        if (*p >= '0' && *p <= '9')
            exponent = exponent * 10 + (*p - '0');
    return (size_t)snprintf(room, TG_SCALAR_MAX, "%.*f", exponent + digits - 1, n);
}

bool tg_lua_scalar(lua_State *L, int idx, char room[TG_SCALAR_MAX], struct tg_str *out)
{
    if (idx < 0)
        idx = lua_gettop(L) + 1 + idx;
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        out->p = lua_tolstring(L, idx, &out->n);
        return true;
    case LUA_TBOOLEAN:
        *out = lua_toboolean(L, idx) ? TG_STR("true") : TG_STR("false");
        return true;
    case LUA_TNUMBER:
        *out = tg_str_n(room, print_number(lua_tonumber(L, idx), room));
        return out->n > 0;
    case LUA_TUSERDATA: /* an exact number of the JSON codec: its digits */
        if (!luaL_callmeta(L, idx, "__tostring"))
            return false;
        lua_replace(L, idx);
        out->p = lua_tolstring(L, idx, &out->n);
        return out->p != NULL;
    default:
        return false;
    }
}

/* JSON's grammar of numbers, by its own reader. */
static bool read_number(struct tg_str text, double *out)
{
    struct tg_str value;
    if (text.n && text.p[0] == '+')
        text.p++, text.n--;
    if (!text.n || !((text.p[0] >= '0' && text.p[0] <= '9') || text.p[0] == '-'))
        return false;
    return tg_json_validate(text, 1, &value, NULL) == TG_OK && tg_json_double(value, out);
}

bool tg_lua_numeric(lua_State *L, int idx, double *out)
{
    struct tg_str text;
    switch (lua_type(L, idx)) {
    case LUA_TNUMBER:
        *out = lua_tonumber(L, idx);
        return isfinite(*out);
    case LUA_TSTRING:
        text.p = lua_tolstring(L, idx, &text.n);
        return read_number(tg_str_trim(text), out);
    case LUA_TUSERDATA:
        if (!luaL_callmeta(L, idx, "__tostring"))
            return false;
        text.p = lua_tolstring(L, -1, &text.n);
        lua_pop(L, 1); /* the exact number keeps its digits alive no longer than this call needs them */
        return text.p && read_number(text, out);
    default:
        return false;
    }
}
