/* Whatever the text: the codec decodes it or says why not; what it decodes it can encode, and encoding what
 * that decodes to gives the same text again. */
#include "base/json.h"
#include "base/mem.h"
#include "script/primitives.h"

#include <assert.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* LuaJIT's own allocator maps memory that leak checkers do not look into: what hangs on it would seem lost.
 */
static void *seen_alloc(void *ud, void *p, size_t old, size_t size)
{
    (void)ud;
    (void)old;
    if (size)
        return tg_realloc_vital(p, size);
    tg_free(p);
    return NULL;
}

/* Calls json[name] with the value on top and leaves both results in its place. */
static void call(lua_State *L, const char *name)
{
    lua_getglobal(L, "json");
    lua_getfield(L, -1, name);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 1, 2, 0))
        abort();
    lua_remove(L, -4);
    lua_remove(L, -3);
}

static lua_State *open_state(void)
{
    lua_State *L = lua_newstate(seen_alloc, NULL);
    if (!L)
        abort();
    luaL_openlibs(L);
    /* Off as in the relay. Its buffer is kept by a pointer that lies outside of it: leak checkers take it for
     * lost as soon as a loop has become hot. */
    if (!luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF))
        abort();
    tg_lua_open_json(L);
    lua_setglobal(L, "json");
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L)
        L = open_state();
    lua_settop(L, 0);
    lua_pushlstring(L, (const char *)data, size);
    call(L, "try_decode");
    bool good = lua_isnil(L, 2);
    assert(good ==
           (tg_json_validate(tg_str_n((const char *)data, size), TG_JSON_MAX_DEPTH, NULL, NULL) == TG_OK));
    if (!good)
        return 0;
    lua_settop(L, 1);
    call(L, "try_encode");
    assert(lua_type(L, 1) == LUA_TSTRING && lua_isnil(L, 2));
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    call(L, "decode");
    lua_settop(L, 2);
    call(L, "encode");
    assert(lua_rawequal(L, 1, 2));
    return 0;
}
