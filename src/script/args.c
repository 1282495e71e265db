#include "script/args.h"

#include "base/json.h"

#include <lauxlib.h>
#include <math.h>

int tg_arg_error(lua_State *L, int arg, const char *function, const char *name, const char *wanted)
{
    return luaL_error(L, "%s: argument %d (%s): %s expected, got %s", function, arg, name, wanted,
                      luaL_typename(L, arg));
}

struct tg_str tg_number_text(double number, char out[TG_NUMBER_LEN])
{
    struct tg_buf b = {.data = out, .cap = TG_NUMBER_LEN, .max = TG_NUMBER_LEN - 1};
    return tg_json_number(&b, number) ? tg_str_n(NULL, 0) : tg_buf_str(&b);
}

struct tg_str tg_arg_text(lua_State *L, int arg, const char *function, const char *name)
{
    if (lua_type(L, arg) == LUA_TNUMBER) {
        char digits[TG_NUMBER_LEN];
        struct tg_str text = tg_number_text(lua_tonumber(L, arg), digits);
        if (text.n == 0)
            (void)luaL_error(L, "%s: argument %d (%s): a finite number expected", function, arg, name);
        lua_pushlstring(L, text.p, text.n);
        lua_replace(L, arg);
    }
    if (lua_type(L, arg) != LUA_TSTRING)
        (void)tg_arg_error(L, arg, function, name, "text");
    struct tg_str s;
    s.p = lua_tolstring(L, arg, &s.n);
    return s;
}

int64_t tg_arg_integer(lua_State *L, int arg, const char *function, const char *name, int64_t low,
                       int64_t high)
{
    if (lua_type(L, arg) != LUA_TNUMBER)
        (void)tg_arg_error(L, arg, function, name, "a number");
    double n = lua_tonumber(L, arg);
    if (!(n >= (double)low && n <= (double)high) || n != floor(n))
        (void)luaL_error(L, "%s: argument %d (%s): a whole number from %f to %f expected, got %f", function,
                         arg, name, (double)low, (double)high, n);
    return (int64_t)n;
}

void tg_arg_table(lua_State *L, int arg, const char *function, const char *name)
{
    if (lua_type(L, arg) != LUA_TTABLE)
        (void)tg_arg_error(L, arg, function, name, "a table");
}

struct tg_buf tg_scratch(lua_State *L, size_t n)
{
    if (n > SIZE_MAX / 4)
        (void)luaL_error(L, "too much text");
    /* One byte more than the ceiling, so that no function of the buffer ever wants to move the storage. */
    return (struct tg_buf){.data = lua_newuserdata(L, n + 1), .cap = n + 1, .max = n};
}

int tg_push_failure(lua_State *L, const char *function, const char *what)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", function, what);
    return 2;
}

int tg_push_result(lua_State *L, int rc, const struct tg_buf *b, const char *function, const char *what)
{
    if (rc)
        return tg_push_failure(L, function, rc == TG_INVALID ? what : tg_code_text(rc));
    lua_pushlstring(L, b->data, b->len);
    return 1;
}

struct tg_str tg_arg_path(lua_State *L, int idx)
{
    struct tg_str path = {NULL, 0};
    if (lua_type(L, idx) == LUA_TSTRING)
        path.p = lua_tolstring(L, idx, &path.n);
    if (!path.n)
        luaL_error(L, "a path is a text such as \"properties.order_id\", not %s",
                   lua_type(L, idx) == LUA_TSTRING ? "an empty one" : luaL_typename(L, idx));
    return path;
}
