/* What the files behind ingest.h share: the front with the memory that every request uses again, and a
 * request on its way through the steps. Nobody else looks inside. */
#ifndef TG_INGEST_INGEST_STATE_H
#define TG_INGEST_INGEST_STATE_H

#include "ingest/browser_script.h"
#include "ingest/ingest.h"
#include "ingest/items.h"
#include "ingest/public_url.h"
#include "ingest/routes.h"
#include "ingest/sources.h"

struct tg_pending;

struct tg_ingest {
    struct tg_ingest_limits limits;
    struct tg_sink sink;
    struct tg_dedup *dedup;
    struct tg_metrics *metrics;
    struct tg_http *http;
    struct tg_sources *sources;
    struct tg_public_url public_url;
    struct tg_browser_script browser_script;
    struct tg_pending *spare; /* for reuse */
    size_t n_spare;
    size_t n_pending; /* requests that are with the sink */
    bool gone;        /* given up by its owner: see tg_pending_abandon */
    struct tg_items items;
    struct tg_buf body;  /* inflated, or made from a query */
    struct tg_buf key;   /* a decoded write key */
    struct tg_buf lines; /* header lines of the answer */
    struct tg_buf text;  /* body of the answer */
    struct tg_buf seen;  /* table of a batch's fingerprints */
};

/* A request on its way through the steps: it lives on the stack. */
struct tg_call {
    struct tg_ingest *in;
    struct tg_http_req *req;
    const struct tg_http_msg *msg;
    struct tg_route route;
    struct tg_str origin;
    struct tg_str key;
    struct tg_source *source; /* NULL: not known yet */
    struct tg_str body;       /* encoded, then decoded, then one JSON object */
    int64_t received_at;
};

#endif
