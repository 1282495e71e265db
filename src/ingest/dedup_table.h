/* The set of dedup.h as it lies in its block of memory:
 *
 *     struct tg_dedup | index: uint32 [index_max] | seconds: uint32 [capacity] | prints: 16 bytes [capacity]
 *
 * The ring (seconds and prints; entry number n stands at n % capacity) is the truth: tail <= n < head. The
 * index finds a print in it: open addressing with linear probing over the first index_size places, each 0 or
 * a ring position + 1, removed by shifting back. It starts small and doubles as entries come, always at least
 * twice their number, so that a quiet relay touches few pages. An entry is written to the ring first and
 * counts from the store of `head`; whatever a dying process leaves undone is therefore only in the index, and
 * who takes over its lock makes the index anew from the ring.
 *
 * Two entries may have the same print when the older one is past its time but not removed yet: the index then
 * knows the younger, and removal looks for the position, not for the print. */
#ifndef TG_INGEST_DEDUP_TABLE_H
#define TG_INGEST_DEDUP_TABLE_H

#include "ingest/dedup.h"
#include "ingest/process_lock.h"

enum { TG_DEDUP_KEY_BYTES = 16, TG_DEDUP_KEYS = 3 /* source, and two for the halves of a print */ };

struct tg_dedup {
    tg_process_lock lock;
    uint32_t capacity;
    uint32_t index_size, index_max; /* powers of two */
    uint32_t window_s;
    uint32_t evicted_s; /* time of the youngest entry that went before its time */
    uint64_t head, tail;
    uint64_t evictions;
    _Atomic uint64_t kept; /* number of the first entry that is not on disk; UINT64_MAX: none can be */
    uint64_t reserved;
    unsigned char key[TG_DEDUP_KEYS][TG_DEDUP_KEY_BYTES];
};

size_t tg_dedup_table_bytes(size_t entries);
/* `set` is zeroed memory of that size. */
void tg_dedup_table_init(struct tg_dedup *set, size_t entries);

/* Its parts. */
static inline size_t tg_dedup_prints_offset(size_t index_max, size_t capacity)
{
    size_t words = sizeof(struct tg_dedup) + (index_max + capacity) * sizeof(uint32_t);
    return (words + 15) / 16 * 16;
}

static inline uint32_t *tg_dedup_index(struct tg_dedup *s)
{
    return (uint32_t *)(void *)(s + 1);
}

static inline uint32_t *tg_dedup_times(struct tg_dedup *s)
{
    return tg_dedup_index(s) + s->index_max;
}

static inline struct tg_fingerprint *tg_dedup_prints(struct tg_dedup *s)
{
    return (struct tg_fingerprint *)(void *)((char *)s + tg_dedup_prints_offset(s->index_max, s->capacity));
}

static inline uint32_t tg_dedup_seconds(int64_t ms)
{
    int64_t s = ms / 1000;
    return s < 0 ? 0 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

/* The other functions are called under the lock. */
void tg_dedup_lock(struct tg_dedup *set);
void tg_dedup_unlock(struct tg_dedup *set);

/* Makes the index anew, `size` places large. */
void tg_dedup_table_index(struct tg_dedup *set, uint32_t size);
/* The place of the print in the index, or the free place where it would go. */
uint32_t tg_dedup_table_find(struct tg_dedup *set, struct tg_fingerprint print);
/* Adds it with its time unless it is there, young enough; removes some of the oldest that are not. */
void tg_dedup_table_put(struct tg_dedup *set, struct tg_fingerprint print, uint32_t at_s, uint32_t now_s);
/* Neither too old nor, after the clock jumped back, too far ahead. */
bool tg_dedup_table_is_live(const struct tg_dedup *set, uint32_t at_s, uint32_t now_s);

#endif
