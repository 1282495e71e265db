/* Which events were accepted lately, by (source, messageId): a bounded set of 128-bit keyed fingerprints,
 * shared by all workers.
 *
 * The set lives in one flat block without pointers that the caller supplies (mmap, shared, before the workers
 * are forked). A lock in it serialises the processes; when its owner died, the index is made anew. All
 * functions may be called from any process and thread that has the block, and never wait for anything slow.
 *
 * Only an event that is already durable may suppress another: look with tg_dedup_seen when it arrives, call
 * tg_dedup_add when its copy is on disk. Entries leave in the order in which they came: by age, or the oldest
 * when the set is full. Time is kept in seconds: an entry may leave up to one second early. `now` is wall
 * time in ms (the set outlives the process); a clock that jumps back makes entries young, never eternal. */
#ifndef TG_INGEST_DEDUP_H
#define TG_INGEST_DEDUP_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_dedup;

enum { TG_DEDUP_MIN_ENTRIES = 16, TG_DEDUP_MAX_ENTRIES = 1000000000 };

/* Size of the block for so many entries: about 28 bytes each. Untouched pages cost nothing, and they are
 * touched only as entries come. */
size_t tg_dedup_bytes(size_t max_entries);

/* Makes an empty set, with a key of its own, in `memory`: zeroed, aligned to 16, tg_dedup_bytes long.
 * max_entries is brought into the range above. *set points into the block and dies with it. TG_IO when there
 * are no random numbers. */
TG_MUST_CHECK int tg_dedup_init(struct tg_dedup **set, void *memory, size_t max_entries, int64_t window_ms);

/* A child of this process has ended and been waited for: it holds no lock any more, whoever gets its pid now.
 */
void tg_dedup_died(struct tg_dedup *set, int pid);

/* Compute it once, look with it, keep it until the event is durable, add it. Changes with tg_dedup_import. */
struct tg_fingerprint {
    uint64_t a, b;
};
/* The first half of the work, for the events of one source. */
struct tg_dedup_keys {
    unsigned char half[2][16];
};
struct tg_dedup_keys tg_dedup_keys(const struct tg_dedup *set, struct tg_str source);
struct tg_fingerprint tg_dedup_print(const struct tg_dedup_keys *keys, struct tg_str message_id);
/* Both halves. */
struct tg_fingerprint tg_dedup_fingerprint(const struct tg_dedup *set, struct tg_str source,
                                           struct tg_str message_id);
/* These will be looked up soon: a large set is in no cache, and so a batch waits once for all its places.
 * Takes no lock, for nothing depends on what it reads. */
void tg_dedup_expect(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n);
bool tg_dedup_has(struct tg_dedup *set, struct tg_fingerprint print, int64_t now);
void tg_dedup_put(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n, int64_t now);

/* Adds one with a time of its own (ms) that lies in the past; not when that is past the window. */
void tg_dedup_put_at(struct tg_dedup *set, struct tg_fingerprint print, int64_t at, int64_t now);

/* The same in one step each. */
bool tg_dedup_seen(struct tg_dedup *set, struct tg_str source, struct tg_str message_id, int64_t now);
void tg_dedup_add(struct tg_dedup *set, struct tg_str source, struct tg_str message_id, int64_t now);

struct tg_dedup_stats {
    size_t entries;     /* held now, perhaps some that are too old already */
    uint64_t evictions; /* entries that had to go before their time */
    int64_t
        covered_ms; /* how far back every event is remembered: the window, less when the set is too small */
    int64_t newest; /* time of the entry that came last, ms; 0: there is none */
    uint64_t next;  /* number of the entry to come: what *from of tg_dedup_export ends up at */
};
struct tg_dedup_stats tg_dedup_stats(struct tg_dedup *set, int64_t now);

/* Whoever keeps the set on disk says how far it has got: to below that number. UINT64_MAX: it cannot, and
 * nobody is to wait for it. */
void tg_dedup_kept(struct tg_dedup *set, uint64_t next);
/* For who removes the events themselves, from which an entry that is not on disk could be made again: a mark
 * behind all that has been put until now, and whether all before a mark is kept. */
uint64_t tg_dedup_mark(struct tg_dedup *set);
bool tg_dedup_is_kept(struct tg_dedup *set, uint64_t mark);

/* For a snapshot on disk: adds one block with at most max_entries entries from number *from on (0: the
 * oldest) and moves *from behind them; adds nothing when there are none. So later calls give only what is
 * new, and blocks older than the window can be thrown away. Layout in dedup_snapshot.c. A block holds the key
 * of the set: keep it private. */
TG_MUST_CHECK int tg_dedup_export(struct tg_dedup *set, uint64_t *from, size_t max_entries,
                                  struct tg_buf *out);

/* Adds the entries of a block that are young enough, at the times that they had. An empty set takes over the
 * block's key; call it before fingerprints are made, oldest block first. TG_CORRUPT, TG_BADVERSION;
 * TG_INVALID when its key is another one: nothing is added then. */
TG_MUST_CHECK int tg_dedup_import(struct tg_dedup *set, struct tg_str block, int64_t now, struct tg_err *err);

#endif
