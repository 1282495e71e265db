#include "script/host.h"

#include "base/log.h"
#include "base/mem.h"
#include "script/open_state.h"
#include "script/rebuild.h"
#include "script/run_impl.h"

#include <assert.h>
#include <string.h>

enum { SCRATCH_MAX = 32 << 20, SCRATCH_KEEP = 256 << 10, IDLE_STEP_KIB = 64 };

int tg_host_new(const struct tg_host_options *options, struct tg_host **out, struct tg_err *err)
{
    struct tg_host *h = tg_calloc(1, sizeof *h);
    if (!h)
        return tg_fail(err, TG_NOMEM, "no memory for a script host");
    h->magic = TG_HOST_MAGIC;
    h->options = *options;
    h->options.library = (struct tg_script_source){0};
    if (!h->options.memory_bytes)
        h->options.memory_bytes = (size_t)256 << 20;
    if (!h->options.soft_limit_us)
        h->options.soft_limit_us = 100000;
    h->runs_lost = tg_runs_lost;
    tg_buf_init(&h->scratch, SCRATCH_MAX);
    int rc = tg_script_source_copy(&h->library, &options->library);
    if (rc)
        (void)tg_fail(err, rc, "no memory for the scripts' library");
    else
        rc = tg_lua_open_state(h, err);
    if (rc) {
        tg_script_source_free(&h->library);
        tg_free(h);
        return rc;
    }
    *out = h;
    return TG_OK;
}

int tg_host_set(struct tg_host *h, const struct tg_host_options *options, struct tg_err *err)
{
    int rc = tg_guard_limit(&h->guard, options->soft_limit_us, err);
    if (rc)
        return rc;
    h->heap.cap = options->memory_bytes;
    h->options.memory_bytes = options->memory_bytes;
    h->options.soft_limit_us = options->soft_limit_us;
    h->options.allow_private = options->allow_private;
    return TG_OK;
}

void tg_host_free(struct tg_host **host)
{
    struct tg_host *h = *host;
    if (!h)
        return;
    assert(h->magic == TG_HOST_MAGIC && !h->runs && !h->dests);
    tg_lua_close_state(h);
    tg_request_free(&h->building);
    tg_buf_fini(&h->scratch);
    tg_script_source_free(&h->library);
    h->magic = 0;
    tg_free(h);
    *host = NULL;
}

static int step(lua_State *L)
{
    lua_gc(L, LUA_GCSTEP, IDLE_STEP_KIB);
    return 0;
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

void tg_host_idle(struct tg_host *h)
{
    if (h->busy)
        return;
    if (h->rebuild_wanted || !h->L)
        tg_host_rebuild(h, NULL);
    if (!h->L)
        return;
    if (h->scratch.cap > SCRATCH_KEEP)
        tg_buf_fini(&h->scratch);
    struct tg_err err;
    bool high = h->heap.used > h->heap.cap / 2;
    if (tg_lua_enter(h, NULL, 0, TG_PHASE_LOAD, high ? collect : step, NULL, &err))
        return;
    if (high && h->heap.used > h->heap.cap / 2) {
        tg_warn("scripts keep much memory: their state is rebuilt", TG_FI("bytes", h->heap.used));
        tg_host_rebuild(h, NULL);
    }
}

size_t tg_host_memory(const struct tg_host *h)
{
    return h->heap.used;
}
