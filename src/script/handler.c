#include "script/handler.h"

#include "base/mem.h"
#include "script/primitives.h"
#include "script/request_build.h"
#include "script/run_impl.h"
#include "script/sandbox.h"

struct handle { /* what deliver returns */
    unsigned magic;
    unsigned call;
    uint64_t serial;
};
enum { HANDLE_MAGIC = 0x74674841 };
static const char handle_key;

/* --- deliver --- */

/* A call is known again by its address and how many of that came before it: what else the handler asks, or in
 * which order, may differ from the earlier attempt. */
static struct tg_kept *earlier_response(struct tg_run *run, const struct tg_kept *k)
{
    for (size_t i = 0; i < run->n_earlier; i++)
        if (run->earlier[i].lasting == k->lasting && run->earlier[i].what == k->what)
            return &run->earlier[i];
    return NULL;
}

static unsigned nth_call(const struct tg_run *run, uint32_t what)
{
    unsigned n = 1;
    for (unsigned i = 0; i < run->n_calls; i++)
        n += run->calls[i].nth && run->calls[i].kept.what == what;
    return n;
}

/* Remembers the call; true when it is answered already. */
static bool add_call(lua_State *L, struct tg_run *run, struct tg_request *r)
{
    struct tg_call *calls = tg_realloc(run->calls, (run->n_calls + 1) * sizeof *calls);
    if (!calls)
        tg_lua_no_memory(L);
    run->calls = calls;
    struct tg_call *c = &calls[run->n_calls];
    *c = (struct tg_call){.number = run->n_calls + 1};
    c->kept.what = tg_kept_what(r);
    r->call = c->number;
    c->nth = r->repeatable ? 0 : nth_call(run, c->kept.what);
    run->n_calls++;
    c->kept.lasting = c->nth;
    struct tg_kept *known = c->nth ? earlier_response(run, &c->kept) : NULL;
    if (!known)
        return false;
    c->kept = *known; /* moved */
    known->body = NULL;
    known->headers = NULL;
    known->n_headers = known->body_len = 0;
    known->lasting = 0;
    c->done = true;
    return true;
}

static void enqueue(lua_State *L, struct tg_run *run)
{
    struct tg_request **queue = tg_realloc(run->queue, (run->n_queue + 1) * sizeof *queue);
    if (!queue)
        tg_lua_no_memory(L);
    run->queue = queue;
    queue[run->n_queue++] = tg_request_claim(run->host);
}

static int deliver(lua_State *L)
{
    struct tg_host *h = tg_host_if(L);
    struct tg_run *run = h ? h->run : NULL;
    if (!run || h->phase != TG_PHASE_HANDLER)
        return luaL_error(L, "deliver is for handlers: it cannot be called here");
    tg_lua_check_depth(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (run->n_calls >= TG_CALLS_MAX)
        return luaL_error(L, "deliver: more than %d deliveries for one event", TG_CALLS_MAX);
    struct tg_request *r = tg_request_build(L, 1, &run->dest->pub);
    struct handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct handle){HANDLE_MAGIC, run->n_calls + 1, run->serial};
    lua_pushlightuserdata(L, (void *)&handle_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
    if (add_call(L, run, r))
        tg_request_free(&h->building);
    else
        enqueue(L, run);
    return 1;
}

static int handle_wait(lua_State *L)
{
    struct handle *handle = lua_touserdata(L, 1);
    struct tg_run *run = tg_host_of(L)->run;
    if (!handle || lua_type(L, 1) != LUA_TUSERDATA || lua_objlen(L, 1) != sizeof *handle ||
        handle->magic != HANDLE_MAGIC)
        return luaL_error(L, "wait: call it on what deliver returned: local response = deliver { … }:wait()");
    if (!run || run->serial != handle->serial)
        return luaL_error(L, "wait: this delivery belongs to an earlier event");
    struct tg_call *c = &run->calls[handle->call - 1];
    if (c->done) {
        tg_kept_push(L, &c->kept);
        return 1;
    }
    lua_settop(L, 0);
    run->waiting = handle->call;
    return lua_yield(L, 0); /* resumed with the response, which wait then returns */
}

/* --- the rest --- */

/* token_used(key): notes the text that the cache has under that key. */
static int token_used(lua_State *L)
{
    struct tg_host *h = tg_host_if(L);
    struct tg_run *run = h ? h->run : NULL;
    struct tg_str key;
    key.p = luaL_checklstring(L, 1, &key.n);
    if (run && run->dest->cache && tg_tokens_note(&run->tokens, run->dest->cache, key, tg_lua_ticks(L)))
        tg_lua_no_memory(L);
    return 0;
}

/* raw(event): the forward bytes of the event of this call. */
static int raw(lua_State *L)
{
    struct tg_host *h = tg_host_if(L);
    if (!h || !h->run)
        return luaL_error(L, "raw is for handlers: it cannot be called here");
    tg_buf_clear(&h->scratch);
    const struct tg_run *run = h->run;
    int rc = run->dest->pub.transparent ? tg_event_pass_on(run->event, &h->scratch)
                                        : tg_event_forward(run->event, &h->scratch);
    if (rc) {
        h->heap.refused = h->heap.refused || rc == TG_NOMEM;
        return luaL_error(L, "raw: %s", tg_code_text(rc));
    }
    lua_pushlstring(L, h->scratch.data ? h->scratch.data : "", h->scratch.len);
    return 1;
}

void tg_handler_open(lua_State *L)
{
    tg_event_view_open(L);
    lua_pushlightuserdata(L, (void *)&handle_key);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushcfunction(L, handle_wait);
    lua_setfield(L, -2, "wait");
    tg_sandbox_freeze(L);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_handler_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"deliver", deliver}, {"token_used", token_used}, {"raw", raw}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
