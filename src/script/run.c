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
#include "script/run.h"

#include "base/json.h"
#include "base/mem.h"
#include "script/coroutine.h"
#include "script/json_read.h"
#include "script/primitives.h"
#include "script/rebuild.h"

#include <assert.h>

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
        tg_coroutine_begin(L, run);
        args = push_handler(run);
    } else {
        tg_kept_push(run->co, &run->calls[run->waiting - 1].kept);
        args = 1;
    }
    run->waiting = 0;
    run->status = lua_resume(run->co, args);
    if (run->status > LUA_YIELD)
        take_error(L, run);
    return 0;
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
    tg_coroutine_end(run);
    drop_queue(run);
    tg_tokens_free(&run->tokens);
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
        tg_coroutine_end(run);
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
    struct tg_call *c = &run->calls[call - 1];
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

void tg_runs_lost(struct tg_host *h, struct tg_run *but)
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

enum tg_tokens tg_run_tokens(const struct tg_run *run)
{
    lua_State *L = run->host->L;
    if (!run->tokens)
        return TG_TOKENS_NONE;
    return tg_tokens_look(run->tokens, L ? run->dest->cache : NULL, L ? tg_lua_ticks(L) : 0);
}

bool tg_run_refuse_tokens(struct tg_run *run)
{
    lua_State *L = run->host->L;
    if (L && run->tokens)
        tg_tokens_refuse(run->tokens, run->dest->cache, tg_lua_ticks(L));
    return run->tokens != NULL;
}
