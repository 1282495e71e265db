#include "script/open_state.h"

#include "base/clock.h"
#include "script/handler.h"
#include "script/modules.h"
#include "script/primitives.h"
#include "script/sandbox.h"

#include <luajit.h>

/* The soft limit has passed. The hook stays set, so this comes again at the next instruction. */
static void stop(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct tg_host *h = tg_host_of(L);
    if (h->unwind.kind == TG_UNWIND_NONE)
        h->unwind.kind = TG_UNWIND_TIMEOUT;
    luaL_error(L, "the script ran longer than its limit");
}

static int open_libraries(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    /* The first luaL_unref makes a slot in the registry. Destinations and runs are freed outside of a
     * protected call, where to be out of memory would end the process: so it is made now. */
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
    static const struct {
        const char *name;
        lua_CFunction open;
    } libraries[] = {
        {"", luaopen_base},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_BITLIBNAME, luaopen_bit},
    };
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i].open);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    tg_sandbox_open(L);
    tg_handler_open(L);
    tg_modules_open(L);
    if (tg_host_of(L)->options.fixed_now != TG_NO_TIME)
        tg_lua_set_now(L, tg_host_of(L)->options.fixed_now);
    return 0;
}

int tg_lua_open_state(struct tg_host *h, struct tg_err *err)
{
    h->L = NULL;
    if (tg_heap_init(&h->heap, h->options.memory_bytes) == TG_OK) {
        h->heap.being_born = true;
        h->L = lua_newstate(tg_heap_alloc, &h->heap);
        h->heap.being_born = false;
    }
    if (!h->L) {
        tg_heap_fini(&h->heap);
        return tg_fail(err, TG_NOMEM, "no memory for a Lua state");
    }
    h->n_idle_threads = 0;
    h->generation++;
    int rc = tg_guard_init(&h->guard, h->options.soft_limit_us, stop, err);
    h->guard.L = h->L;
    if (rc) {
        tg_lua_close_state(h);
        return rc;
    }
    rc = tg_lua_enter(h, NULL, 0, TG_PHASE_LOAD, open_libraries, NULL, err);
    if (rc)
        tg_lua_close_state(h);
    return rc;
}

void tg_lua_close_state(struct tg_host *h)
{
    if (!h->L)
        return;
    tg_guard_fini(&h->guard);
    lua_close(h->L);
    h->L = NULL;
    tg_heap_fini(&h->heap);
}
