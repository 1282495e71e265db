/* The host from inside: its Lua state, whose code runs in it, and the one way in. What stands above this room
 * does not include this.
 *
 * A Lua error is a long jump, so no loose allocation is held across a call that can raise. */
#ifndef TG_SCRIPT_STATE_H
#define TG_SCRIPT_STATE_H

#include "base/buf.h"
#include "base/event.h"
#include "script/contract.h"
#include "script/guard.h"
#include "script/heap.h"
#include "script/host_options.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum {
    TG_HOST_MAGIC = 0x74674853,
    TG_RUN_MAGIC = 0x74675255,
    TG_SAVED_MAX = 64 * 1024, /* responses kept for the retry row */
    TG_WORD_MAX = 128,        /* reason words */
    TG_CALLS_MAX = 256        /* deliveries of one event */
};

/* A handler that ends by skip, reject, retry or a limit unwinds by an error that pcall may not catch. This
 * says that such an end is under way; whoever catches the error raises it again. */
struct tg_unwind {
    enum {
        TG_UNWIND_NONE,
        TG_UNWIND_SKIP,
        TG_UNWIND_REJECT,
        TG_UNWIND_RETRY,
        TG_UNWIND_TIMEOUT,
        TG_UNWIND_MEMORY
    } kind;
    char reason[TG_WORD_MAX];
    char message[512];
    int64_t retry_ms;
};

/* Which functions a script may call now. */
enum tg_phase {
    TG_PHASE_LOAD,    /* the chunk itself, check() */
    TG_PHASE_HANDLER, /* a handler: deliver, skip, reject, retry */
    TG_PHASE_VERDICT  /* join, split, judge */
};

struct tg_run;
struct tg_request;
struct tg_dest_impl;

struct tg_host {
    struct tg_heap heap; /* the first member, so that lua_getallocf leads from any lua_State to its host */
    unsigned magic;
    lua_State *L; /* NULL after a rebuild that failed: the next use tries again */
    struct tg_host_options options;
    struct tg_script_source library; /* own copy */
    struct tg_guard guard;
    struct tg_unwind unwind;
    enum tg_phase phase;
    struct tg_dest_impl *dest; /* whose code runs; NULL: nobody's */
    struct tg_run *run;        /* whose handler runs */
    struct tg_dest_impl *dests;
    struct tg_run *runs;
    /* Ends all of them but one, whose references are gone with their state: run.c */
    void (*runs_lost)(struct tg_host *h, struct tg_run *but);
    unsigned generation; /* of the state; a run of an older one is void */
    bool rebuild_wanted;
    bool busy;                   /* inside Lua */
    const char *stack;           /* where the C stack stood when Lua was entered */
    struct tg_request *building; /* half-made: an error may leave it here */
    struct tg_buf scratch;       /* for building URLs and bodies */
    uint64_t random;             /* state of the fixed generator, when options.random_seed is set */
    int idle_threads[8];         /* references of finished coroutines, to be used again */
    unsigned n_idle_threads;
};

struct tg_dest_impl {
    struct tg_dest pub; /* pub.impl points here */
    struct tg_dest_impl *next;
    struct tg_host *host;
    struct tg_script_source source; /* own copy */
    struct tg_script_source config; /* own copy; no files: no filter function */
    char *settings_json;
    char *settings_path;
    char *rates_json; /* or NULL */
    /* References into the registry of the host's state. */
    int env, loaded, module, settings, judge, filter;
    int n_settings;
    int handlers[TG_EVENT_TYPES];
    int *joins, *splits;    /* per batch of pub.batches */
    bool linked;            /* the references hold in this state */
    bool read;              /* pub has been filled from the script's table */
    struct tg_cache *cache; /* outlives the state; NULL until it is used */
};

static inline struct tg_host *tg_host_of(lua_State *L)
{
    void *heap;
    lua_getallocf(L, &heap);
    return heap;
}

/* Gives up a reference of luaL_ref without ever needing memory: luaL_unref keeps a free list in the registry,
 * and to write that can raise where nothing protects. luaL_ref finds the place again by itself. */
static inline void tg_lua_unref(lua_State *L, int ref)
{
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, ref);
}

/* The host of a state, or NULL when it is not one of ours: the primitives also serve a plain LuaJIT. */
struct tg_host *tg_host_if(lua_State *L);

/* Raises when C functions and functions of the script have called each other so deeply that the C stack could
 * run out, which Lua's own limits do not see. For C functions that call back. */
void tg_lua_check_depth(lua_State *L);
/* Raises because memory outside of Lua ran out, as when Lua's own did. */
__attribute__((noreturn)) void tg_lua_no_memory(lua_State *L);

/* Runs fn(ud) protected, guarded and watched; the only way into Lua. fn's errors become TG_SCRIPT, TG_NOMEM
 * (memory) or TG_BUSY (soft limit), with the message in err. The unwind record says how when a handler ended
 * itself. */
TG_MUST_CHECK int tg_lua_enter(struct tg_host *h, struct tg_dest_impl *dest, uint64_t seq,
                               enum tg_phase phase, lua_CFunction fn, void *ud, struct tg_err *err);
/* lua_pcall with a traceback behind the message. For use within tg_lua_enter. */
int tg_lua_pcall(lua_State *L, int nargs, int nresults);
/* Compiles text as a chunk named "<script>/<file>" in the environment at the top of the stack, which it
 * replaces. Raises. */
void tg_lua_compile(lua_State *L, const char *script, const struct tg_script_file *file);
#endif
