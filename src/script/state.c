/* One LuaJIT state: capped memory, compiler off, entered through one door.
 *
 * The compiler is off because a hook, the only thing that stops a loop from inside, does not fire in compiled
 * code. */
#include "base/clock.h"
#include "base/mem.h"
#include "script/host_impl.h"
#include "script/primitives.h"

#include <assert.h>
#include <luajit.h>
#include <stdio.h>
#include <string.h>

/* What lua_newstate itself allocates: LuaJIT crashes where its first allocations fail, so they are made from
 * a block that is there. */
enum { BIRTH_BYTES = 48 * 1024 };

static bool in_birth(const struct tg_heap *heap, const void *p)
{
    return heap->birth && (const char *)p >= heap->birth && (const char *)p < heap->birth + BIRTH_BYTES;
}

static void *birth_alloc(struct tg_heap *heap, size_t size)
{
    size_t at = (heap->birth_used + 15) & ~(size_t)15;
    if (!heap->being_born || at + size > BIRTH_BYTES)
        return NULL;
    heap->birth_used = at + size;
    return heap->birth + at;
}

/* realloc over both: what was born in the block moves out when it grows. */
static void *resize(struct tg_heap *heap, void *p, size_t old_size, size_t size)
{
    bool born = in_birth(heap, p);
    if (born && size <= old_size)
        return p;
    void *q = birth_alloc(heap, size);
    if (!q)
        q = born ? tg_malloc(size) : tg_realloc(p, size);
    else if (p && !born) {
        memcpy(q, p, old_size);
        tg_free(p);
    }
    if (q && p && born)
        memcpy(q, p, old_size);
    return q;
}

static void *heap_alloc(void *ud, void *p, size_t old_size, size_t size)
{
    struct tg_heap *heap = ud;
    if (size == 0) {
        if (!in_birth(heap, p))
            tg_free(p);
        heap->used -= old_size;
        return NULL;
    }
    bool grows = size > old_size;
    void *q = grows && heap->used + (size - old_size) > heap->cap ? NULL : resize(heap, p, old_size, size);
    if (!q && grows) {
        heap->refused = true;
        return NULL;
    }
    heap->used += size - old_size; /* wraps round when it shrinks, as it should */
    return q ? q : p;              /* to shrink never fails: LuaJIT does not expect it */
}

struct tg_host *tg_host_if(lua_State *L)
{
    void *heap;
    return lua_getallocf(L, &heap) == heap_alloc ? heap : NULL;
}

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
    tg_run_open(L);
    tg_modules_open(L);
    if (tg_host_of(L)->options.fixed_now != TG_NO_TIME)
        tg_lua_set_now(L, tg_host_of(L)->options.fixed_now);
    return 0;
}

int tg_lua_open_state(struct tg_host *h, struct tg_err *err)
{
    h->heap =
        (struct tg_heap){.cap = h->options.memory_bytes, .being_born = true, .birth = tg_malloc(BIRTH_BYTES)};
    h->L = h->heap.birth ? lua_newstate(heap_alloc, &h->heap) : NULL;
    h->heap.being_born = false;
    if (!h->L) {
        tg_free(h->heap.birth);
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
    tg_free(h->heap.birth);
    h->heap.birth = NULL;
}

static void watch_enter(struct tg_watch_cell *cell, const struct tg_dest_impl *dest, uint64_t seq)
{
    if (!cell)
        return;
    snprintf(cell->destination, sizeof cell->destination, "%s", dest ? dest->pub.name : "");
    atomic_store_explicit(&cell->seq, seq, memory_order_relaxed);
    atomic_store_explicit(&cell->since_us, tg_mono_us(), memory_order_release);
}

static void watch_leave(struct tg_watch_cell *cell)
{
    if (cell)
        atomic_store_explicit(&cell->since_us, 0, memory_order_release);
}

/* What failed, as a code; the message is at the top of the stack. */
static int code_of(struct tg_host *h, int status, bool late, struct tg_err *err)
{
    if (h->heap.refused || status == LUA_ERRMEM)
        return tg_fail(err, TG_NOMEM, "the script needed more memory than it may have (%zu bytes)",
                       h->heap.cap);
    if (late)
        return tg_fail(err, TG_BUSY, "the script ran longer than %lld ms",
                       (long long)(h->options.soft_limit_us / 1000));
    if (!status)
        return TG_OK;
    const char *text = lua_type(h->L, -1) == LUA_TSTRING ? lua_tostring(h->L, -1) : NULL;
    return tg_fail(err, TG_SCRIPT, "%s", text ? text : "error with a value that is not text");
}

int tg_lua_enter(struct tg_host *h, struct tg_dest_impl *dest, uint64_t seq, enum tg_phase phase,
                 lua_CFunction fn, void *ud, struct tg_err *err)
{
    assert(h->L && !h->busy);
    int top = lua_gettop(h->L);
    h->busy = true;
    h->dest = dest;
    h->phase = phase;
    h->heap.refused = false;
    h->unwind.kind = TG_UNWIND_NONE;
    watch_enter(h->options.watch, dest, seq);
    tg_guard_enter(&h->guard);
    int status = lua_cpcall(h->L, fn, ud);
    bool late = tg_guard_leave(&h->guard);
    watch_leave(h->options.watch);
    h->dest = NULL;
    h->busy = false;
    int rc = code_of(h, status, late, err);
    if (rc == TG_NOMEM)
        h->rebuild_wanted = true;
    lua_settop(h->L, status ? lua_gettop(h->L) - 1 : lua_gettop(h->L));
    assert(lua_gettop(h->L) == top);
    (void)top;
    return rc;
}

/* Called by lua_pcall with what was raised. */
static int with_traceback(lua_State *L)
{
    if (tg_host_of(L)->unwind.kind != TG_UNWIND_NONE || tg_host_of(L)->heap.refused)
        return 1;
    if (lua_type(L, 1) != LUA_TSTRING) {
        if (!luaL_callmeta(L, 1, "__tostring") || lua_type(L, -1) != LUA_TSTRING) {
            lua_pushfstring(L, "error with a %s instead of a message", luaL_typename(L, 1));
        }
        lua_replace(L, 1);
    }
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

int tg_lua_pcall(lua_State *L, int nargs, int nresults)
{
    int at = lua_gettop(L) - nargs;
    lua_pushcfunction(L, with_traceback);
    lua_insert(L, at);
    int status = lua_pcall(L, nargs, nresults, at);
    lua_remove(L, at);
    return status;
}

struct chunk {
    struct tg_str text;
    bool read;
};

static const char *read_chunk(lua_State *L, void *ud, size_t *size)
{
    (void)L;
    struct chunk *c = ud;
    *size = c->read ? 0 : c->text.n;
    c->read = true;
    return *size ? c->text.p : NULL;
}

void tg_lua_compile(lua_State *L, const char *script, const struct tg_script_file *file)
{
    struct chunk c = {file->text, false};
    const char *name = script && *script ? lua_pushfstring(L, "@%s/%s", script, file->name)
                                         : lua_pushfstring(L, "@%s", file->name);
    if (lua_loadx(L, read_chunk, &c, name, "t") != 0) /* text only: bytecode is not verified */
        lua_error(L);
    lua_remove(L, -2); /* the name */
    lua_insert(L, -2);
    lua_setfenv(L, -2);
}
