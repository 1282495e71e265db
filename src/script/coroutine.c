#include "script/coroutine.h"

void tg_coroutine_begin(lua_State *L, struct tg_run *run)
{
    struct tg_host *h = run->host;
    if (h->n_idle_threads) {
        run->co_ref = h->idle_threads[--h->n_idle_threads];
        lua_rawgeti(L, LUA_REGISTRYINDEX, run->co_ref);
        run->co = lua_tothread(L, -1);
        return;
    }
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, -1);
    run->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    run->co = co;
}

void tg_coroutine_end(struct tg_run *run)
{
    struct tg_host *h = run->host;
    if (!run->co)
        return;
    if (run->view)
        tg_event_view_close(run->view);
    run->view = NULL;
    bool reusable = run->status == 0 && h->n_idle_threads < sizeof h->idle_threads / sizeof *h->idle_threads;
    if (reusable) {
        lua_settop(run->co, 0);
        h->idle_threads[h->n_idle_threads++] = run->co_ref;
    } else {
        tg_lua_unref(h->L, run->co_ref);
    }
    run->co = NULL;
}
