/* The rate buckets that this worker takes from, so that what has been used of a partner's allowance is used
 * still after a restart: those that take long to fill (a partner's hour) are noted in the state every second
 * (fact "rate"). Names hold accounts, so they are noted as their hash. Loop thread. */
#ifndef TG_DELIVER_BUCKETS_H
#define TG_DELIVER_BUCKETS_H

#include "deliver/shared.h"
#include "spool/state.h"

#include <stddef.h>
#include <stdint.h>

struct tg_bucket {
    uint64_t hash;
    tg_shared_cell *cell; /* NULL: of an earlier run, not used yet in this one */
    int64_t full_at;      /* ms UTC, as noted; 0: not noted */
};

struct tg_buckets {
    struct tg_bucket *list;
    size_t n;
};

void tg_buckets_fini(struct tg_buckets *b);
/* What an earlier run noted. At the start. */
TG_MUST_CHECK int tg_buckets_recall(struct tg_buckets *b, struct tg_state *s, struct tg_err *err);
/* The bucket of that name; NULL when the table of cells is full. Without memory it is one that is forgotten
 * at the end. */
tg_shared_cell *tg_buckets_find(struct tg_buckets *b, struct tg_shared *s, struct tg_str name);
/* Notes what has changed. Every second, and at the end. */
void tg_buckets_save(struct tg_buckets *b, struct tg_state *s);

#endif
