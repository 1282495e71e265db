/* The memory of one Lua state: an allocator with a cap.
 *
 * A handler makes some hundred small objects for each event, and the collector frees them again; malloc and
 * free were a sixth of the whole job. Lua says the size of what it gives back, so small blocks come from an
 * arena with one free list for each size and cost a few instructions. What is larger, or finds the arena
 * full, comes from malloc. The arena is address space: pages that were never used take no memory. */
#ifndef TG_SCRIPT_HEAP_H
#define TG_SCRIPT_HEAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { TG_HEAP_STEP = 16, TG_HEAP_SMALL = 1024 }; /* sizes of small blocks: 16, 32 … 1024 */

struct tg_heap {
    size_t used, cap; /* bytes, as Lua counts them */
    bool refused;     /* an allocation has failed since the call began */
    bool being_born;  /* inside lua_newstate: LuaJIT crashes where its first allocations fail, so these all
                         come  from the arena, which is there */
    char *arena;
    size_t arena_used; /* from here on it was never given out */
    void
        *unused[TG_HEAP_SMALL / TG_HEAP_STEP + 1]; /* given back, by size / 16; linked by their first bytes */
};

TG_MUST_CHECK int tg_heap_init(struct tg_heap *heap, size_t cap);
void tg_heap_fini(struct tg_heap *heap); /* the state is closed */
/* A lua_Alloc; ud is the heap. */
void *tg_heap_alloc(void *ud, void *p, size_t old_size, size_t size);

#endif
