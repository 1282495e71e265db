/* A request's JSON as a whole: its validation, its write key, why it is refused, and what the caller knows of
 * it beside. */
#ifndef TG_INGEST_REQUEST_H
#define TG_INGEST_REQUEST_H

#include "base/event.h"

/* Why a whole request is refused: `code` is a short stable word for the answer, err.msg the sentence.
 * invalid_json, json_too_deep, invalid_request (not an object), invalid_batch, batch_too_large (items),
 * envelope_too_large, request_too_large (what the envelope adds to every item, added up). */
struct tg_request_fault {
    const char *code;
    struct tg_err err;
};
/* Sets the code; TG_INVALID, so that it can be returned. */
int tg_request_fault(struct tg_request_fault *fault, const char *code);

/* Validates a request's body. *body is then its one object, without white space around it; what reads it
 * afterwards takes only that. TG_INVALID: see fault. */
TG_MUST_CHECK int tg_body_parse(struct tg_str text, unsigned max_depth, struct tg_str *body,
                                struct tg_request_fault *fault);

/* Adds the top-level writeKey, wherever it stands; of several the last. A number gives its digits, a masked
 * key is taken as it is. TG_NOTFOUND when missing, null, "" or of another type. */
TG_MUST_CHECK int tg_body_write_key(struct tg_str body, struct tg_buf *out);

/* What tg_normalise is told. */
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

#endif
