/* Bytes that live as long as one request: allocated by moving a pointer, given back all at once. Not
 * thread-safe. */
#ifndef TG_INGEST_ARENA_H
#define TG_INGEST_ARENA_H

#include "base/str.h"

struct tg_arena_chunk;

struct tg_arena {
    struct tg_arena_chunk *chunks; /* newest first */
    char *at, *end;                /* what is left of the newest */
};

#define TG_ARENA_INIT ((struct tg_arena){0})

/* n bytes, aligned for any type, not zeroed; NULL when out of memory. Valid until clear or fini. */
void *tg_arena_alloc(struct tg_arena *a, size_t n);
/* A copy of s; its p is NULL when out of memory (an empty s gives an empty span whose p is not NULL). */
struct tg_str tg_arena_copy(struct tg_arena *a, struct tg_str s);
/* Everything allocated is gone; one chunk of ordinary size is kept for the next round. */
void tg_arena_clear(struct tg_arena *a);
void tg_arena_fini(struct tg_arena *a);

#endif
