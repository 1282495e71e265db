/* The globals of scripts: an allow-list, bounded where a C function could run or grow without limit,
 * read-only, and the same for all.
 *
 * A destination's environment is an empty table in front of them, so a global that is written or unknown is
 * seen and is an error. Tables that scripts share (the libraries, what the library's modules return) are
 * handed out as empty tables that read through to the real ones; rawset is not offered, table.insert and
 * friends refuse them, and their metatables are locked. */
#include "script/sandbox.h"

#include "script/event_view.h"
#include "script/nearest.h"
#include "script/state.h"
#include "script/unwind.h"

#include <string.h>

static const char globals_key,
    pcall_source[] = "local check, pcall = ... return function(f, ...) return check(pcall(f, ...)) end";

/* --- bounded strings --- */

static void check_pattern(lua_State *L, const char *name, bool plain)
{
    size_t subject, pattern;
    luaL_checklstring(L, 1, &subject);
    luaL_checklstring(L, 2, &pattern);
    if (plain)
        return;
    if (subject > TG_SUBJECT_MAX)
        luaL_error(L, "string.%s: the subject has %d bytes, patterns work on %d at most (plain find on any)",
                   name, (int)subject, TG_SUBJECT_MAX);
    if (pattern > TG_PATTERN_MAX)
        luaL_error(L, "string.%s: the pattern has %d bytes, it may have %d", name, (int)pattern,
                   TG_PATTERN_MAX);
}

/* Upvalues: the original function, its name. */
static int bounded_pattern(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    tg_lua_check_depth(L);
    check_pattern(L, name, strcmp(name, "find") == 0 && lua_toboolean(L, 4));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int bounded_rep(lua_State *L)
{
    size_t len, separator = 0;
    luaL_checklstring(L, 1, &len);
    lua_Number n = luaL_checknumber(L, 2);
    luaL_optlstring(L, 3, "", &separator);
    if (n > 0 && n * (double)(len + separator) > TG_REP_MAX)
        return luaL_error(L, "string.rep: the result would have more than %d bytes", TG_REP_MAX);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* --- tables --- */

/* A table that a script may change: its own, not one that is shared. */
static void check_own(lua_State *L, int at)
{
    luaL_checktype(L, at, LUA_TTABLE);
    tg_lazy_build(L, at);
    if (luaL_getmetafield(L, at, "__metatable"))
        luaL_error(L, "this table is read-only");
}

static int table_insert(lua_State *L)
{
    check_own(L, 1);
    int n = (int)lua_objlen(L, 1), top = lua_gettop(L);
    if (top == 2) {
        lua_rawseti(L, 1, n + 1);
        return 0;
    }
    if (top != 3)
        return luaL_error(L, "wrong number of arguments to 'insert'");
    int at = (int)luaL_checkinteger(L, 2);
    if (at < 1) /* Lua would move what is not there, billions of steps that nothing stops */
        return luaL_error(L, "bad argument #2 to 'insert' (position out of bounds)");
    for (int i = n + 1; i > at; i--) {
        lua_rawgeti(L, 1, i - 1);
        lua_rawseti(L, 1, i);
    }
    lua_rawseti(L, 1, at);
    return 0;
}

static int table_remove(lua_State *L)
{
    check_own(L, 1);
    int n = (int)lua_objlen(L, 1), at = (int)luaL_optinteger(L, 2, n);
    if (at < 1 || at > n)
        return 0;
    lua_rawgeti(L, 1, at);
    for (; at < n; at++) {
        lua_rawgeti(L, 1, at + 1);
        lua_rawseti(L, 1, at);
    }
    lua_pushnil(L);
    lua_rawseti(L, 1, n);
    return 1;
}

static int table_sort(lua_State *L)
{
    tg_lua_check_depth(L);
    check_own(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

/* --- base functions --- */

/* What pcall has caught: an end that is under way goes on, and so does a refused allocation. */
static int pcall_check(lua_State *L)
{
    struct tg_host *h = tg_host_of(L);
    if (h->unwind.kind != TG_UNWIND_NONE || h->heap.refused)
        return tg_lua_unwind(L);
    return lua_gettop(L);
}

/* An event is read from its bytes when it is first looked at: these look. Upvalue: the original function. */
static int looking(lua_State *L)
{
    if (lua_istable(L, 1))
        tg_lazy_build(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    tg_lazy_build(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1)); /* the original next: LuaJIT has a fast path for it */
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static const char *key_text(lua_State *L, int at)
{
    return lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : luaL_typename(L, at);
}

static int read_only(lua_State *L)
{
    return luaL_error(L, "this table is read-only (key '%s')", key_text(L, 2));
}

static int write_global(lua_State *L)
{
    return luaL_error(L, "'%s' is written as a global: declare it local", key_text(L, 2));
}

static int unknown_global(lua_State *L)
{
    struct tg_nearest near;
    size_t n;
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &n) : NULL;
    if (!name)
        return luaL_error(L, "there is no such global");
    tg_nearest_init(&near, tg_str_n(name, n));
    tg_nearest_try(&near, TG_STR("require"));
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        tg_nearest_try(&near, tg_str_of(lua_tostring(L, -2)));
        lua_pop(L, 1);
    }
    if (near.best[0])
        return luaL_error(L, "there is no global '%s'; did you mean '%s'?", name, near.best);
    return luaL_error(L, "there is no global '%s'", name);
}

/* --- opening --- */

/* Replaces field `name` of the table at the top by a closure over the present one (and its name). */
static void wrap(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_pushstring(L, name);
    lua_pushcclosure(L, fn, 2);
    lua_setfield(L, -2, name);
}

/* Removes what is not on the list from the table at the top. */
static void keep_only(lua_State *L, const char *const *names)
{
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        const char *const *n = names;
        while (*n && strcmp(*n, lua_tostring(L, -1)) != 0)
            n++;
        if (*n)
            continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
}

static const char *const string_names[] = {"byte",  "char",  "find", "format",  "gmatch", "gsub",  "len",
                                           "lower", "match", "rep",  "reverse", "sub",    "upper", NULL};
static const char *const table_names[] = {"concat", "insert", "maxn", "remove", "sort", NULL};
static const char *const math_names[] = {"abs",   "acos", "asin",  "atan", "atan2", "ceil", "cos",   "cosh",
                                         "deg",   "exp",  "floor", "fmod", "frexp", "huge", "ldexp", "log",
                                         "log10", "max",  "min",   "modf", "pi",    "pow",  "rad",   "sin",
                                         "sinh",  "sqrt", "tan",   "tanh", NULL};
static const char *const bit_names[] = {"arshift", "band", "bnot",   "bor",   "bswap", "bxor", "lshift",
                                        "rol",     "ror",  "rshift", "tobit", "tohex", NULL};

static void open_string(lua_State *L)
{
    lua_getglobal(L, "string");
    keep_only(L, string_names);
    static const char *const patterns[] = {"find", "gmatch", "gsub", "match"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        wrap(L, patterns[i], bounded_pattern);
    wrap(L, "rep", bounded_rep);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* all strings of all scripts share it */
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static void open_table(lua_State *L)
{
    lua_getglobal(L, "table");
    keep_only(L, table_names);
    wrap(L, "insert", table_insert);
    wrap(L, "remove", table_remove);
    wrap(L, "sort", table_sort);
}

/* The table at the top becomes the frozen field `name` of the one beneath it. */
static void put_frozen(lua_State *L, const char *name)
{
    tg_sandbox_freeze(L);
    lua_setfield(L, -2, name);
}

static void put_pcall(lua_State *L)
{
    if (luaL_loadbuffer(L, pcall_source, sizeof pcall_source - 1, "=pcall") != 0)
        lua_error(L);
    lua_pushcfunction(L, pcall_check);
    lua_getglobal(L, "pcall");
    lua_call(L, 2, 1);
    lua_setfield(L, -2, "pcall");
}

static void put_looking(lua_State *L)
{
    static const char *const names[] = {"getmetatable", "ipairs", "next", "rawget", "setmetatable", "unpack"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getglobal(L, names[i]);
        lua_pushcclosure(L, looking, 1);
        lua_setfield(L, -2, names[i]);
    }
    lua_getglobal(L, "next");
    lua_pushcclosure(L, pairs, 1);
    lua_setfield(L, -2, "pairs");
}

void tg_sandbox_open(lua_State *L)
{
    lua_newtable(L); /* the globals that scripts see */
    static const char *const plain[] = {"assert",   "error",    "rawequal", "select",
                                        "tonumber", "tostring", "type"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        lua_getglobal(L, plain[i]);
        lua_setfield(L, -2, plain[i]);
    }
    put_pcall(L);
    put_looking(L);
    open_string(L);
    put_frozen(L, "string");
    open_table(L);
    put_frozen(L, "table");
    lua_getglobal(L, "math");
    keep_only(L, math_names);
    put_frozen(L, "math");
    lua_getglobal(L, "bit");
    keep_only(L, bit_names);
    put_frozen(L, "bit");

    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, unknown_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pushlightuserdata(L, (void *)&globals_key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_sandbox_push_env(lua_State *L)
{
    /* { } -> { require } -> globals -> unknown_global. The second is the destination's own, filled by its
     * owner. */
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, (void *)&globals_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, write_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

void tg_sandbox_freeze(lua_State *L)
{
    luaL_checkstack(L, 8, "tables nested too deeply");
    int real = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, real)) {
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        if (!luaL_getmetafield(L, -1, "__metatable")) {
            tg_sandbox_freeze(L);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, real); /* an existing field: allowed while it is walked */
        } else {
            lua_pop(L, 2); /* frozen already */
        }
    }
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, real);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, read_only);
    lua_setfield(L, -2, "__newindex");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_replace(L, real);
}
