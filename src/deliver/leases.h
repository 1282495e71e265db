/* Keys of deliveries that are under way, over all workers: "equal key: one in flight".
 *
 * Worker processes share a table of words, without a lock: which key (38 bits of its hash, in part as the
 * word's place) and until when. What a killed worker held is free again at that time, and a holder asks for
 * more than its request may take. Of two keys with equal bits one waits for the other, which is rare and
 * costs time alone. All functions: any worker, one thread of each. */
#ifndef TG_DELIVER_LEASES_H
#define TG_DELIVER_LEASES_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_leases;

/* Make it before the fork. NULL when out of memory. Untouched pages cost nothing. */
struct tg_leases *tg_leases_new(void);
void tg_leases_free(struct tg_leases **l);

/* What a key is in the table; keys of another scope (destination) are other keys. */
uint64_t tg_lease_id(struct tg_str scope, struct tg_str key);

/* Sorts them and leaves each once: how many there are then. */
size_t tg_lease_ids_sort(uint64_t *ids, size_t n);
/* Takes all n, each named once, until the monotonic time `until` (ms), or none: then some are held by
 * another, or there is no room just now. */
TG_MUST_CHECK bool tg_leases_take(struct tg_leases *l, const uint64_t *ids, size_t n, int64_t now,
                                  int64_t until);
/* Gives back what was taken with that `until`, also when it has passed since. */
void tg_leases_give(struct tg_leases *l, const uint64_t *ids, size_t n, int64_t until);

#endif
