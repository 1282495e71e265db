#include "script/json_exact.h"

#include "base/json.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

struct exact {
    size_t n;
    char digits[];
};

/* Registry keys: the metatable, and all that there are, by their digits. */
static char metatable_key, set_key;

static void push_metatable(lua_State *L)
{
    lua_pushlightuserdata(L, &metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

bool tg_exact_at(lua_State *L, int idx, struct tg_str *digits)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return false;
    push_metatable(L);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (is) {
        const struct exact *x = lua_touserdata(L, idx);
        *digits = tg_str_n(x->digits, x->n);
    }
    return is;
}

double tg_exact_double(struct tg_str digits)
{
    double d;
    if (tg_json_double(digits, &d))
        return d;
    return digits.p[0] == '-' ? -HUGE_VAL : HUGE_VAL;
}

/* --- as operands --- */

/* An operand: an exact number, a number, or a string that Lua would take as one. Raises on others. */
static double operand(lua_State *L, int idx)
{
    struct tg_str digits;
    if (tg_exact_at(L, idx, &digits))
        return tg_exact_double(digits);
    if (!lua_isnumber(L, idx))
        luaL_error(L, "arithmetic on an exact number and a %s value", luaL_typename(L, idx));
    return lua_tonumber(L, idx);
}

static int exact_arith(lua_State *L)
{
    double a = operand(L, 1), b = operand(L, 2), result = 0;
    switch (lua_tointeger(L, lua_upvalueindex(1))) {
    case '+':
        result = a + b;
        break;
    case '-':
        result = a - b;
        break;
    case '*':
        result = a * b;
        break;
    case '/':
        result = a / b;
        break;
    case '%':
        result = a - floor(a / b) * b;
        break;
    case '^':
        result = pow(a, b);
        break;
    default:
        result = -a;
    }
    lua_pushnumber(L, result);
    return 1;
}

static int exact_lt(lua_State *L)
{
    lua_pushboolean(L, operand(L, 1) < operand(L, 2));
    return 1;
}

static int exact_le(lua_State *L)
{
    lua_pushboolean(L, operand(L, 1) <= operand(L, 2));
    return 1;
}

static void push_text(lua_State *L, int idx)
{
    struct tg_str digits;
    if (tg_exact_at(L, idx, &digits))
        lua_pushlstring(L, digits.p, digits.n);
    else if (lua_isstring(L, idx))
        lua_pushvalue(L, idx);
    else
        luaL_error(L, "attempt to concatenate a %s value", luaL_typename(L, idx));
}

static int exact_tostring(lua_State *L)
{
    push_text(L, 1);
    return 1;
}

static int exact_concat(lua_State *L)
{
    push_text(L, 1);
    push_text(L, 2);
    lua_concat(L, 2);
    return 1;
}

/* --- making them --- */

static void push_new_metatable(lua_State *L)
{
    static const struct {
        const char *name;
        char op;
    } arith[] = {{"__add", '+'}, {"__sub", '-'}, {"__mul", '*'}, {"__div", '/'},
                 {"__mod", '%'}, {"__pow", '^'}, {"__unm", 'n'}};
    static const luaL_Reg functions[] = {{"__lt", exact_lt},
                                         {"__le", exact_le},
                                         {"__tostring", exact_tostring},
                                         {"__concat", exact_concat},
                                         {NULL, NULL}};
    lua_createtable(L, 0, 12);
    for (size_t i = 0; i < sizeof arith / sizeof arith[0]; i++) {
        lua_pushinteger(L, arith[i].op);
        lua_pushcclosure(L, exact_arith, 1);
        lua_setfield(L, -2, arith[i].name);
    }
    luaL_register(L, NULL, functions);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* The first exact number of a state makes both tables. The set is weak: what nobody holds is collected. */
static void open_exact(lua_State *L)
{
    lua_pushlightuserdata(L, &set_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, &metatable_key);
    push_new_metatable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Pushes a new one, which its digits at `key` name in the set at `set` from now on. */
static void push_new(lua_State *L, int set, int key, struct tg_str digits)
{
    struct exact *x = lua_newuserdata(L, sizeof *x + digits.n);
    x->n = digits.n;
    memcpy(x->digits, digits.p, digits.n);
    push_metatable(L);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -2);
    lua_rawset(L, set);
}

void tg_exact_push(lua_State *L, struct tg_str digits)
{
    luaL_checkstack(L, 8, "JSON");
    int top = lua_gettop(L);
    push_metatable(L);
    if (lua_isnil(L, -1))
        open_exact(L);
    lua_pop(L, 1);
    lua_pushlightuserdata(L, &set_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushlstring(L, digits.p, digits.n);
    lua_pushvalue(L, -1);
    lua_rawget(L, top + 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        push_new(L, top + 1, top + 2, digits);
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}
