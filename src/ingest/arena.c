#include "ingest/arena.h"

#include "base/mem.h"

#include <stdalign.h>
#include <stdint.h>

enum { CHUNK_BYTES = 16 * 1024, ALIGN = alignof(max_align_t) };

struct tg_arena_chunk {
    alignas(max_align_t) struct tg_arena_chunk *older;
    size_t size; /* of data */
    alignas(max_align_t) char data[];
};

static bool add_chunk(struct tg_arena *a, size_t n)
{
    size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
    if (size > SIZE_MAX - sizeof(struct tg_arena_chunk))
        return false;
    struct tg_arena_chunk *c = tg_malloc(sizeof *c + size);
    if (!c)
        return false;
    c->size = size;
    c->older = a->chunks;
    a->chunks = c;
    a->at = c->data;
    a->end = c->data + size;
    return true;
}

void *tg_arena_alloc(struct tg_arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN)
        return NULL;
    size_t room = n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (room > (size_t)(a->end - a->at) && !add_chunk(a, room))
        return NULL;
    void *p = a->at;
    a->at += room;
    return p;
}

struct tg_str tg_arena_copy(struct tg_arena *a, struct tg_str s)
{
    char *p = tg_arena_alloc(a, s.n);
    if (!p)
        return (struct tg_str){0};
    if (s.n)
        memcpy(p, s.p, s.n);
    return tg_str_n(p, s.n);
}

void tg_arena_clear(struct tg_arena *a)
{
    struct tg_arena_chunk *kept = NULL;
    while (a->chunks) {
        struct tg_arena_chunk *c = a->chunks;
        a->chunks = c->older;
        if (!kept && c->size == CHUNK_BYTES)
            kept = c;
        else
            tg_free(c);
    }
    a->at = a->end = NULL;
    if (kept) {
        kept->older = NULL;
        a->chunks = kept;
        a->at = kept->data;
        a->end = kept->data + kept->size;
    }
}

void tg_arena_fini(struct tg_arena *a)
{
    while (a->chunks) {
        struct tg_arena_chunk *c = a->chunks;
        a->chunks = c->older;
        tg_free(c);
    }
    *a = TG_ARENA_INIT;
}
