/* Turns the JSON of one request into events: the Segment message rules (ingest contract sections 8 and 9),
 * without I/O, without a clock. The caller has found the source and checks duplicates afterwards.
 *
 * What is wrong with the request as a whole is a fault (400). What is wrong with one item of it is set aside
 * with a reason, and the others are accepted, because no sender reads per-item answers. Not thread-safe: one
 * tg_items per thread. */
#ifndef TG_INGEST_NORMALISE_H
#define TG_INGEST_NORMALISE_H

#include "base/event.h"
#include "ingest/arena.h"
#include "ingest/sink.h"

/* Why a whole request is refused: `code` is a short stable word for the answer, err.msg the sentence.
 * invalid_json, json_too_deep, invalid_request (not an object), invalid_batch, batch_too_large (items),
 * envelope_too_large, request_too_large (what the envelope adds to every item, added up). */
struct tg_request_fault {
    const char *code;
    struct tg_err err;
};

/* Validates a request's body. *body is then its one object, without white space around it; the functions
 * below take only that. TG_INVALID: see fault. */
TG_MUST_CHECK int tg_body_parse(struct tg_str text, unsigned max_depth, struct tg_str *body,
                                struct tg_request_fault *fault);

/* Adds the top-level writeKey, wherever it stands; of several the last. A number gives its digits, a masked
 * key is taken as it is. TG_NOTFOUND when missing, null, "" or of another type. */
TG_MUST_CHECK int tg_body_write_key(struct tg_str body, struct tg_buf *out);

struct tg_normalise_in {
    struct tg_str body;            /* from tg_body_parse */
    bool batch;                    /* {"batch":[…]}: each item says its type */
    enum tg_event_type route_type; /* not batch: the path's type, which wins over the body's */
    struct tg_str source;          /* its name */
    int64_t received_at;           /* ms UTC */
    bool trusted;                  /* another relay: receivedAt, the other times and context stay as sent */
    bool record_ip;                /* context.ip may be filled in */
    bool browser;                  /* the request had an Origin */
    bool allow_delete;
    bool forget_on_delete;        /* delete events get tg_event.forgets */
    struct tg_str client_ip;      /* text; empty: not known */
    struct tg_str user_agent;     /* header; may be any bytes */
    struct tg_str sent_at_header; /* RudderStack's SentAt; empty: none */
    size_t max_event_bytes;       /* one item as sent; also the envelope's context or integrations */
    size_t max_items;             /* of one batch */
    size_t
        max_total_bytes; /* items plus what replaces their context and integrations: a small body must not
                            grow into a large one through its envelope. Four times the body limit is ample */
};

/* What became of the items, each list in request order. Spans point into the body, the arguments and the
 * arena. */
struct tg_items {
    struct tg_event *events;
    size_t n_events;
    struct tg_setaside *bad; /* reasons: see normalise.c; detail names the path and what to do */
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

/* Clears *items and fills it. TG_INVALID: see fault; TG_NOMEM, TG_IO (no random numbers): nothing is to be
 * accepted. */
TG_MUST_CHECK int tg_normalise(const struct tg_normalise_in *in, struct tg_items *items,
                               struct tg_request_fault *fault);

#endif
