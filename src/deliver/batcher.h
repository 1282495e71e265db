/* Gathers deliveries that may go out as one request: equal batch, method, URL and headers. Pure: `now` is an
 * argument (ms), and what is gathered belongs to the caller. */
#ifndef TG_DELIVER_BATCHER_H
#define TG_DELIVER_BATCHER_H

#include "script/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One group, open or ready. */
struct tg_batch {
    struct tg_batch *next;
    const struct tg_batch_spec *spec;
    struct tg_request **requests; /* n of each, lent by the caller of tg_batcher_add */
    void **owners;
    size_t n, cap, bytes;
    int64_t due; /* when it goes out at the latest */
};
struct tg_batcher {
    struct tg_batch *open, *ready; /* oldest first */
    size_t n_open;
};

/* A ceiling of open groups: one more makes the oldest ready. */
enum { TG_BATCH_GROUPS = 64 };

/* `spec` and `request` must stay until the batch has been taken or the owner removed. A group is ready when
 * it has max_items, or would pass max_bytes with the next, or has waited max_wait_ms. */
TG_MUST_CHECK int tg_batcher_add(struct tg_batcher *b, const struct tg_batch_spec *spec,
                                 struct tg_request *request, void *owner, int64_t now);
/* A batch that is ready at `now`, or any when `all` is set; NULL when there is none. Free it with
 * tg_batch_free. */
struct tg_batch *tg_batcher_take(struct tg_batcher *b, int64_t now, bool all);
/* When the next open group becomes due; INT64_MAX: there is none. */
int64_t tg_batcher_due(const struct tg_batcher *b);
/* Takes one out again. False when it is not here. */
bool tg_batcher_remove(struct tg_batcher *b, const void *owner);
void tg_batch_free(struct tg_batch **batch);
void tg_batcher_fini(struct tg_batcher *b);

#endif
