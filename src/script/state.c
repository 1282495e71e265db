#include "script/state.h"

#include "base/clock.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

struct tg_host *tg_host_if(lua_State *L)
{
    void *heap;
    return lua_getallocf(L, &heap) == tg_heap_alloc ? heap : NULL;
}

/* A level takes up to 9 KiB (string.gsub has a buffer on the stack), the stack has 8 MiB. */
enum { DEEPEST = 1 << 20 };

void tg_lua_check_depth(lua_State *L)
{
    const struct tg_host *h = tg_host_if(L);
    uintptr_t at = (uintptr_t)__builtin_frame_address(0), top = h ? (uintptr_t)h->stack : 0;
    if (h && top > at && top - at > DEEPEST)
        luaL_error(L, "functions call each other too deeply through the library");
}

void tg_lua_no_memory(lua_State *L)
{
    tg_host_of(L)->heap.refused = true;
    (void)luaL_error(L, "out of memory");
    __builtin_unreachable();
}

static void watch_enter(struct tg_watch_cell *cell, const struct tg_dest_impl *dest, uint64_t seq)
{
    if (!cell)
        return;
    const char *name = dest ? dest->pub.name : "";
    size_t n = strnlen(name, sizeof cell->destination - 1);
    memcpy(cell->destination, name, n);
    cell->destination[n] = '\0';
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
    h->stack = __builtin_frame_address(0);
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
    h->stack = NULL;
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
