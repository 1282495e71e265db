/* The results of one request: its items as events, and those that are set aside. Their memory is used again
 * by the next request. Not thread-safe: one tg_items per thread. */
#ifndef TG_INGEST_ITEMS_H
#define TG_INGEST_ITEMS_H

#include "base/event.h"
#include "ingest/arena.h"
#include "ingest/sink.h"

/* Each list is in request order. Spans point into the body, the arguments and the
 * arena. */
struct tg_items {
    struct tg_event *events;
    size_t n_events;
    struct tg_setaside *bad; /* reasons: see item.h; detail names the path and what to do */
    size_t n_bad;
    size_t merges; /* items of type "merge": counted, dropped */

    /* private */
    size_t cap_events, cap_bad;
    size_t total;
    struct tg_arena arena;
    struct tg_buf scratch;
    unsigned char random[256];
    size_t random_left;
};

void tg_items_init(struct tg_items *items);
/* Forgets the results, keeps ordinary amounts of memory for the next request. */
void tg_items_clear(struct tg_items *items);
void tg_items_fini(struct tg_items *items);

/* For those who fill it; TG_NOMEM. The result is copied, what its spans point to is not. */
TG_MUST_CHECK int tg_items_add(struct tg_items *items, const struct tg_event *ev);
TG_MUST_CHECK int tg_items_add_bad(struct tg_items *items, const struct tg_setaside *bad);
/* Forgets the results only: what is in the arena stays. */
void tg_items_forget(struct tg_items *items);
/* A copy of what stands in `scratch`, in the arena. TG_NOMEM. */
TG_MUST_CHECK int tg_items_keep_scratch(struct tg_items *items, struct tg_str *copy);

#endif
