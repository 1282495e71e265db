#include "script/unwind.h"

#include "script/state.h"

#include <stdio.h>

int tg_lua_end(lua_State *L, int kind, const char *reason, const char *message, int64_t retry_ms)
{
    struct tg_host *h = tg_host_if(L);
    if (!h || h->phase != TG_PHASE_HANDLER)
        return luaL_error(L, "skip, reject and retry end a handler: they cannot be called here");
    if (h->unwind.kind == TG_UNWIND_NONE) { /* the first end counts */
        h->unwind.kind = kind;
        h->unwind.retry_ms = retry_ms;
        snprintf(h->unwind.reason, sizeof h->unwind.reason, "%s", reason);
        snprintf(h->unwind.message, sizeof h->unwind.message, "%s", message ? message : "");
    }
    return tg_lua_unwind(L);
}

int tg_lua_unwind(lua_State *L)
{
    lua_pushlightuserdata(L, &tg_host_of(L)->unwind);
    return lua_error(L);
}

static const char *reason_of(lua_State *L, const char *function)
{
    size_t n;
    const char *reason = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
    if (!reason || n == 0 || n >= TG_WORD_MAX)
        luaL_error(L, "%s: the reason is a short stable word such as \"no_identity\"", function);
    return reason;
}

static int end_skip(lua_State *L)
{
    return tg_lua_end(L, TG_UNWIND_SKIP, reason_of(L, "skip"), luaL_optstring(L, 2, NULL), 0);
}

static int end_reject(lua_State *L)
{
    return tg_lua_end(L, TG_UNWIND_REJECT, reason_of(L, "reject"), luaL_optstring(L, 2, NULL), 0);
}

static int end_retry(lua_State *L)
{
    const char *reason = reason_of(L, "retry");
    double seconds = luaL_optnumber(L, 2, 0);
    if (!(seconds >= 0 && seconds <= 86400))
        return luaL_error(L, "retry: seconds are 0 (the schedule decides) to 86400");
    return tg_lua_end(L, TG_UNWIND_RETRY, reason, luaL_optstring(L, 3, NULL), (int64_t)(seconds * 1000));
}

void tg_unwind_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"skip", end_skip}, {"reject", end_reject}, {"retry", end_retry}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
