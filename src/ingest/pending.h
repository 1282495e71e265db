/* A request that is with the sink: what its answer needs, copied, because the call is over by then. A few are
 * kept for reuse. */
#ifndef TG_INGEST_PENDING_H
#define TG_INGEST_PENDING_H

#include "ingest/dedup.h"
#include "ingest/ingest_state.h"

enum { TG_PENDING_FEW_PRINTS = 2, TG_PENDING_ORIGIN_BYTES = 200, TG_PENDING_MAGIC = 0x70656e64 };

struct tg_pending {
    unsigned magic; /* it comes back through a void pointer */
    struct tg_ingest *in;
    struct tg_pending *next; /* in the list of spare ones */
    struct tg_http_req *req;
    struct tg_sources *sources; /* keeps `source` */
    struct tg_source *source;
    bool pixel;
    uint32_t counts[TG_EVENT_TYPES];
    size_t n_prints;
    struct tg_fingerprint *prints; /* of its events; `few`, or of the heap */
    struct tg_fingerprint few[TG_PENDING_FEW_PRINTS];
    size_t origin_len;
    char origin[TG_PENDING_ORIGIN_BYTES];
};

/* NULL when out of memory. */
struct tg_pending *tg_pending_new(const struct tg_call *c);
/* Place for n fingerprints. TG_NOMEM. */
TG_MUST_CHECK int tg_pending_reserve(struct tg_pending *p, size_t n);
void tg_pending_free(struct tg_pending *p);
/* The front's owner gives it up and has freed all else of it: what remains goes now, or with the last request
 * that is with the sink. */
void tg_pending_abandon(struct tg_ingest *in);

#endif
