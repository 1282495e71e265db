#include "script/heap.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

enum { ARENA = 8 << 20 };

/* AddressSanitizer sees only what malloc gave, so it gets all but the first blocks from there. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#endif
#ifdef WATCHED
enum { POOLED = 0 };
#else
enum { POOLED = 1 };
#endif

int tg_heap_init(struct tg_heap *heap, size_t cap)
{
    *heap = (struct tg_heap){.cap = cap, .arena = tg_malloc(ARENA)};
    return heap->arena ? TG_OK : TG_NOMEM;
}

void tg_heap_fini(struct tg_heap *heap)
{
    tg_free(heap->arena);
    heap->arena = NULL;
}

static bool in_arena(const struct tg_heap *heap, const void *p)
{
    return (uintptr_t)p - (uintptr_t)heap->arena < ARENA;
}

static size_t class_of(size_t size)
{
    return (size + TG_HEAP_STEP - 1) / TG_HEAP_STEP;
}

static void *from_arena(struct tg_heap *heap, size_t size)
{
    size_t class = class_of(size), bytes = class * TG_HEAP_STEP;
    if (size <= TG_HEAP_SMALL && heap->unused[class]) {
        void *p = heap->unused[class];
        memcpy(&heap->unused[class], p, sizeof(void *));
        return p;
    }
    if (ARENA - heap->arena_used < bytes)
        return NULL;
    heap->arena_used += bytes;
    return heap->arena + heap->arena_used - bytes;
}

static void *get(struct tg_heap *heap, size_t size)
{
    void *p = NULL;
    if (heap->being_born)
        return from_arena(heap, size);
    if (POOLED && size <= TG_HEAP_SMALL) {
        if (tg_mem_refuses())
            return NULL;
        p = from_arena(heap, size);
    }
    return p ? p : tg_malloc(size);
}

/* A large block of the arena, from the state's birth, is not used again. */
static void give_back(struct tg_heap *heap, void *p, size_t size)
{
    if (!in_arena(heap, p)) {
        tg_free(p);
    } else if (size <= TG_HEAP_SMALL) {
        memcpy(p, &heap->unused[class_of(size)], sizeof(void *));
        heap->unused[class_of(size)] = p;
    }
}

static void *resize(struct tg_heap *heap, void *p, size_t old_size, size_t size)
{
    if (!p)
        return get(heap, size);
    bool pooled = in_arena(heap, p), small = POOLED && size <= TG_HEAP_SMALL;
    if (pooled && class_of(size) == class_of(old_size))
        return p;
    if (!pooled && !small)
        return tg_realloc(p, size);
    void *q = get(heap, size);
    if (q) {
        memcpy(q, p, old_size < size ? old_size : size);
        give_back(heap, p, old_size);
    }
    return q;
}

void *tg_heap_alloc(void *ud, void *p, size_t old_size, size_t size)
{
    struct tg_heap *heap = ud;
    if (size == 0) {
        if (p)
            give_back(heap, p, old_size);
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
