/* A run: one event through one handler, which is a coroutine.
 *
 * The handler runs in slices: from the start, or from a wait() that was answered, to the next wait() or the
 * end. What it delivers in a slice is queued and handed out only when the slice is over, so that the engine
 * is never called from within Lua, and a handler that fails, skips or rejects has sent nothing of that slice.
 *
 *     start ──> slice ──yield──> hand out ──> waiting ──settle──> slice …
 *                 └────end────> hand out (DONE only) ──> ops->end
 *
 * The engine may settle or free the run from within its callbacks: `busy` postpones both to the end of
 * hand-out. */
#include "base/json.h"
#include "base/mem.h"
#include "script/cache.h"
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/json_read.h"
#include "script/primitives.h"
#include "script/request.h"
#include "script/response.h"

#include <assert.h>
#include <stdio.h>

struct call {
    unsigned number;
    unsigned nth; /* among those of the same address that are not repeatable; 0: repeatable */
    bool done;
    struct tg_kept kept; /* the response, when done and not needless */
};

enum { TOKENS_MAX = 8 };

/* A cached text that the handler authenticates with. */
struct token {
    struct token *next;
    size_t key_len, value_len;
    char bytes[]; /* key and value */
};

struct tg_run {
    unsigned magic;
    struct tg_run *next, **link;
    struct tg_host *host;
    struct tg_dest_impl *dest;
    const struct tg_event *event;
    uint64_t seq, serial;
    struct tg_str options;
    const struct tg_run_ops *ops;
    void *arg;

    lua_State *co; /* NULL: not begun, ended, or lost with its state */
    int co_ref;
    struct tg_view *view;
    unsigned generation;
    unsigned waiting;                 /* for this call; 0: not */
    bool ended, through, busy, freed; /* through: ended with all that it wanted to ask for */

    struct call *calls;
    unsigned n_calls;
    struct token *tokens;
    struct tg_kept *earlier; /* from the retry row */
    size_t n_earlier;
    struct tg_request **queue;
    size_t n_queue;

    int status; /* of the last lua_resume */
    char *message;
};

struct handle { /* what deliver returns */
    unsigned magic;
    unsigned call;
    uint64_t serial;
};
enum { HANDLE_MAGIC = 0x74674841 };
static const char handle_key;

/* --- what a handler calls --- */

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

__attribute__((noreturn)) static void no_memory(lua_State *L)
{
    tg_host_of(L)->heap.refused = true;
    (void)luaL_error(L, "out of memory");
    __builtin_unreachable();
}

/* Remembers the call; true when it is answered already. */
static bool add_call(lua_State *L, struct tg_run *run, struct tg_request *r)
{
    struct call *calls = tg_realloc(run->calls, (run->n_calls + 1) * sizeof *calls);
    if (!calls)
        no_memory(L);
    run->calls = calls;
    struct call *c = &calls[run->n_calls];
    *c = (struct call){.number = run->n_calls + 1};
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
        no_memory(L);
    run->queue = queue;
    queue[run->n_queue++] = tg_request_claim(run->host);
}

int tg_lua_deliver(lua_State *L)
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

/* token_used(key): notes the text that the cache has under that key, so that the engine can tell when it is
 * not good any more. */
int tg_lua_token_used(lua_State *L)
{
    struct tg_host *h = tg_host_if(L);
    struct tg_run *run = h ? h->run : NULL;
    struct tg_cache_value value;
    struct tg_str key;
    key.p = luaL_checklstring(L, 1, &key.n);
    if (!run || !run->dest->cache || !tg_cache_get(run->dest->cache, key, tg_lua_ticks(L), &value) ||
        value.kind != TG_CACHE_TEXT)
        return 0;
    unsigned n = 0;
    for (const struct token *t = run->tokens; t; t = t->next)
        if (++n == TOKENS_MAX || (t->key_len == key.n && memcmp(t->bytes, key.p, key.n) == 0))
            return 0;
    struct token *token = tg_malloc(sizeof *token + key.n + value.text.n);
    if (!token)
        no_memory(L);
    *token = (struct token){.next = run->tokens, .key_len = key.n, .value_len = value.text.n};
    memcpy(token->bytes, key.p, key.n);
    memcpy(token->bytes + key.n, value.text.p, value.text.n);
    run->tokens = token;
    return 0;
}

static bool is_cached(const struct tg_run *run, const struct token *t)
{
    struct tg_cache_value value;
    lua_State *L = run->host->L;
    return L && tg_cache_get(run->dest->cache, tg_str_n(t->bytes, t->key_len), tg_lua_ticks(L), &value) &&
           value.kind == TG_CACHE_TEXT &&
           tg_str_eq(value.text, tg_str_n(t->bytes + t->key_len, t->value_len));
}

enum tg_tokens tg_run_tokens(const struct tg_run *run)
{
    for (const struct token *t = run->tokens; t; t = t->next)
        if (!is_cached(run, t))
            return TG_TOKENS_GONE;
    return run->tokens ? TG_TOKENS_GOOD : TG_TOKENS_NONE;
}

bool tg_run_refuse_tokens(struct tg_run *run)
{
    for (const struct token *t = run->tokens; t; t = t->next)
        if (is_cached(run, t)) /* not one that another event has fetched since */
            tg_cache_delete(run->dest->cache, tg_str_n(t->bytes, t->key_len));
    return run->tokens != NULL;
}

static void drop_tokens(struct tg_run *run)
{
    for (struct token *next, *t = run->tokens; t; t = next) {
        next = t->next;
        tg_free(t);
    }
    run->tokens = NULL;
}

static void push_kept(lua_State *L, const struct tg_kept *k)
{
    struct tg_response r;
    tg_kept_lend(k, &r);
    tg_lua_push_response(L, &r, k->cut);
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
    struct call *c = &run->calls[handle->call - 1];
    if (c->done) {
        push_kept(L, &c->kept);
        return 1;
    }
    lua_settop(L, 0);
    run->waiting = handle->call;
    return lua_yield(L, 0); /* resumed with the response, which wait then returns */
}

void tg_run_open(lua_State *L)
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

/* --- slices --- */

/* Pushes a coroutine, one that has finished earlier where there is one, and keeps it in the registry. */
static void begin_coroutine(lua_State *L, struct tg_run *run)
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

/* The handler and its arguments, with the view beneath, where it lives as long as the coroutine. */
static int push_handler(struct tg_run *run)
{
    lua_State *co = run->co;
    run->view = tg_event_view_push(co, run->event);
    lua_rawgeti(co, LUA_REGISTRYINDEX, run->dest->handlers[run->event->type]);
    lua_insert(co, -2);
    lua_rawgeti(co, LUA_REGISTRYINDEX, run->dest->settings);
    tg_settings_view_push(co, -1, run->dest->n_settings);
    lua_remove(co, -2);
    if (!run->options.n || tg_json_type(run->options) != TG_JSON_OBJECT)
        return 2;
    tg_lua_push_json(co, run->options, TG_JSON_NULL_AS_NIL);
    return 3;
}

static void keep_message(struct tg_run *run, const char *text)
{
    tg_free(run->message);
    run->message = tg_strdup(text);
}

/* The error at the top of the coroutine, with where it happened. */
static void take_error(lua_State *L, struct tg_run *run)
{
    if (run->host->unwind.kind != TG_UNWIND_NONE || run->host->heap.refused)
        return;
    const char *text = lua_type(run->co, -1) == LUA_TSTRING ? lua_tostring(run->co, -1) : NULL;
    if (!text)
        text = lua_pushfstring(L, "error with a %s instead of a message", luaL_typename(run->co, -1));
    luaL_traceback(L, run->co, text, 0);
    keep_message(run, lua_tostring(L, -1));
}

static int slice(lua_State *L)
{
    struct tg_run *run = lua_touserdata(L, 1);
    int args;
    run->status = LUA_ERRRUN; /* should something raise before the handler runs */
    if (!run->co) {
        if (run->host->options.random_seed) /* two runs of one event agree */
            tg_lua_set_random_seed(L, run->host->options.random_seed);
        begin_coroutine(L, run);
        args = push_handler(run);
    } else {
        push_kept(run->co, &run->calls[run->waiting - 1].kept);
        args = 1;
    }
    run->waiting = 0;
    run->status = lua_resume(run->co, args);
    if (run->status > LUA_YIELD)
        take_error(L, run);
    return 0;
}

/* The coroutine is not needed any more. Raises nothing: the registry's slots are there. */
static void end_coroutine(struct tg_run *run)
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

static void drop_queue(struct tg_run *run)
{
    for (size_t i = 0; i < run->n_queue; i++)
        tg_request_free(&run->queue[i]);
    tg_free(run->queue);
    run->queue = NULL;
    run->n_queue = 0;
}

static void really_free(struct tg_run *run)
{
    end_coroutine(run);
    drop_queue(run);
    drop_tokens(run);
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    for (unsigned i = 0; i < run->n_calls; i++)
        tg_kept_fini(&run->calls[i].kept);
    tg_free(run->calls);
    tg_kept_free(run->earlier, run->n_earlier);
    tg_free(run->message);
    run->magic = 0;
    tg_free(run);
}

void tg_run_free(struct tg_run **run)
{
    if (!*run)
        return;
    assert((*run)->magic == TG_RUN_MAGIC);
    if ((*run)->busy)
        (*run)->freed = true;
    else
        really_free(*run);
    *run = NULL;
}

/* Hands out what was queued. The engine may free the run meanwhile. */
static void hand_out(struct tg_run *run)
{
    struct tg_request **queue = run->queue;
    size_t n = run->n_queue;
    run->queue = NULL;
    run->n_queue = 0;
    for (size_t i = 0; i < n; i++) {
        if (run->freed)
            tg_request_free(&queue[i]);
        else
            run->ops->deliver(run->arg, run, queue[i]);
    }
    tg_free(queue);
}

/* How a slice ended, for the engine; false when the handler waits. */
static bool result_of(struct tg_run *run, int rc, struct tg_err *err, struct tg_run_result *out)
{
    struct tg_unwind *u = &run->host->unwind;
    *out = (struct tg_run_result){.reason = u->reason, .message = u->message[0] ? u->message : NULL};
    if (rc == TG_NOMEM) {
        *out = (struct tg_run_result){TG_RUN_MEMORY, "script_memory", err->msg, 0};
    } else if (rc == TG_BUSY || u->kind == TG_UNWIND_TIMEOUT) {
        *out = (struct tg_run_result){TG_RUN_TIMEOUT, "script_timeout", err->msg, 0};
    } else if (u->kind == TG_UNWIND_SKIP) {
        out->end = TG_RUN_SKIP;
    } else if (u->kind == TG_UNWIND_REJECT) {
        out->end = TG_RUN_REJECT;
    } else if (u->kind == TG_UNWIND_RETRY) {
        out->end = TG_RUN_RETRY;
        out->retry_after_ms = u->retry_ms;
    } else if (rc || run->status > LUA_YIELD) {
        *out = (struct tg_run_result){TG_RUN_ERROR, "script_error", rc ? err->msg : run->message, 0};
    } else if (run->status == LUA_YIELD) {
        return false;
    } else if (run->n_calls == 0) {
        *out = (struct tg_run_result){TG_RUN_SKIP, "no_request", NULL, 0};
    } else {
        *out = (struct tg_run_result){TG_RUN_DONE, NULL, NULL, 0};
    }
    return true;
}

static void finish(struct tg_run *run, const struct tg_run_result *result)
{
    run->ended = true;
    run->through = result->end == TG_RUN_DONE;
    if (result->end == TG_RUN_MEMORY)
        tg_host_rebuild(run->host, run);
    else
        end_coroutine(run);
    if (!run->freed)
        run->ops->end(run->arg, run, result);
}

/* Slices until the handler waits for something that has not come, or ends. */
static void go(struct tg_run *run)
{
    struct tg_host *h = run->host;
    bool over;
    run->busy = true;
    do {
        struct tg_err err = {0, ""};
        struct tg_run_result result;
        struct tg_unwind unwind;
        h->run = run;
        int rc = tg_lua_enter(h, run->dest, run->seq, TG_PHASE_HANDLER, slice, run, &err);
        h->run = NULL;
        tg_request_free(&h->building);
        over = result_of(run, rc, &err, &result);
        unwind = h->unwind; /* callbacks may run other handlers */
        if (result.reason == h->unwind.reason)
            result.reason = unwind.reason;
        if (result.message == h->unwind.message)
            result.message = unwind.message;
        if (over && result.end != TG_RUN_DONE)
            drop_queue(run);
        hand_out(run);
        if (over)
            finish(run, &result);
    } while (!over && !run->freed && !run->ended && run->calls[run->waiting - 1].done);
    run->busy = false;
    if (run->freed)
        really_free(run);
}

int tg_run_forward(const struct tg_run *run, struct tg_buf *out)
{
    return run->dest->pub.transparent ? tg_event_pass_on(run->event, out) : tg_event_forward(run->event, out);
}

/* --- the engine's side --- */

int tg_run_start(struct tg_dest *dest, const struct tg_event *event, uint64_t seq, struct tg_str options,
                 struct tg_str responses, const struct tg_run_ops *ops, void *arg, struct tg_run **out,
                 struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    struct tg_host *h = d->host;
    static uint64_t serials;
    if (!(dest->accepts & (1u << event->type)))
        return tg_fail(err, TG_UNSUPPORTED, "destination %s: no handler for %s events", dest->name,
                       tg_event_type_name(event->type));
    int rc = tg_host_ready(h, err);
    if (rc)
        return rc;
    if (!d->linked)
        return tg_fail(err, TG_SCRIPT, "destination %s: its script could not be loaded again", dest->name);
    struct tg_run *run = tg_calloc(1, sizeof *run);
    if (!run || tg_kept_read(responses, &run->earlier, &run->n_earlier)) {
        tg_free(run);
        return tg_fail(err, TG_NOMEM, "destination %s: no memory for an event", dest->name);
    }
    run->magic = TG_RUN_MAGIC;
    run->host = h;
    run->dest = d;
    run->event = event;
    run->seq = seq;
    run->serial = ++serials;
    run->options = options;
    run->ops = ops;
    run->arg = arg;
    run->generation = h->generation;
    run->next = h->runs;
    run->link = &h->runs;
    if (run->next)
        run->next->link = &run->next;
    h->runs = run;
    *out = run; /* before the callbacks, which may look at it */
    go(run);
    return TG_OK;
}

void tg_run_settle(struct tg_run *run, unsigned call, const struct tg_response *response)
{
    assert(run->magic == TG_RUN_MAGIC);
    if (call == 0 || call > run->n_calls || run->calls[call - 1].done)
        return;
    struct call *c = &run->calls[call - 1];
    /* Nobody asks for the answer to the only call of a handler that is through: there is nothing to repeat.
     */
    bool only = run->through && run->n_calls == 1;
    bool wanted = !only && (!run->ended || c->kept.lasting);
    if (only)
        c->kept.lasting = 0;
    if (wanted && tg_kept_set(&c->kept, response)) {
        c->kept.lasting = 0; /* without memory it is sent again at a retry: at least once */
        if (run->waiting == call)
            c->kept.status = response->status;
    }
    c->done = true;
    if (!run->busy && !run->ended && run->waiting == call) {
        if (run->host->rebuild_wanted)
            tg_host_rebuild(run->host, NULL);
        else
            go(run);
    }
}

int tg_run_responses(struct tg_run *run, struct tg_buf *json)
{
    struct tg_kept *kept = tg_calloc(run->n_calls + run->n_earlier, sizeof *kept);
    size_t n = 0;
    if (!kept)
        return TG_NOMEM;
    for (unsigned i = 0; i < run->n_calls; i++)
        if (run->calls[i].done && run->calls[i].kept.lasting)
            kept[n++] = run->calls[i].kept;
    /* Calls that this attempt has not come to. */
    for (size_t i = 0; i < run->n_earlier; i++)
        if (run->earlier[i].lasting)
            kept[n++] = run->earlier[i];
    int rc = tg_kept_write(kept, n, TG_SAVED_MAX, json);
    tg_free(kept);
    return rc;
}

void tg_runs_void(struct tg_host *h, struct tg_run *but)
{
    for (struct tg_run *run = h->runs; run; run = run->next) {
        run->co = NULL; /* gone with the state */
        run->view = NULL;
    }
    for (struct tg_run *run = h->runs; run;) {
        if (run == but || run->ended || run->generation == h->generation) {
            run = run->next;
            continue;
        }
        static const struct tg_run_result lost = {TG_RUN_RETRY, "state_rebuilt", NULL, TG_RUN_LOST};
        run->ended = true;
        bool was_busy = run->busy;
        run->busy = true;
        run->ops->end(run->arg, run, &lost);
        run->busy = was_busy;
        if (run->freed && !was_busy)
            really_free(run);
        run = h->runs; /* the callback may have changed the list */
    }
}
