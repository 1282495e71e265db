/* The ingest room's front: HTTP requests of SDKs in, events to the sink, answers out (ingest contract; design
 * section 5).
 *
 * The order of checks is the contract's section 9: route, key, body, room, items, duplicates. Everything is
 * called on the loop's thread. */
#ifndef TG_INGEST_INGEST_H
#define TG_INGEST_INGEST_H

#include "base/metrics.h"
#include "ingest/http_server.h"
#include "ingest/sink.h"

struct tg_dedup;
struct tg_ingest;

struct tg_ingest_source {
    const char *name;
    const char *const *write_keys;
    size_t n_write_keys;
    bool enabled;
    bool allow_delete;
    bool forget_on_delete;              /* its requests for deletion take what waits of the user too */
    bool trusted;                       /* another tidegate: its times and addresses stay */
    bool record_ip;                     /* fill context.ip of client-side events */
    const char *const *allowed_origins; /* none: all; "*": all */
    size_t n_allowed_origins;
    const char *const *trusted_proxies; /* CIDRs whose X-Forwarded-For is believed */
    size_t n_trusted_proxies;
    double rate;             /* events a second, burst of one second; 0: no limit */
    _Atomic int64_t *bucket; /* what is used up of it, lent; shared by all workers. NULL: its own */
    size_t body_bytes, event_bytes, batch_events; /* lower than the limits of all; 0: the same */
};

struct tg_ingest_limits {
    struct tg_http_limits http; /* http.body_bytes also bounds the body after decompression */
    size_t event_bytes;
    size_t batch_events; /* most events of one request; more: 400 */
};
/* http defaults, 512 KiB, 20000. */
extern const struct tg_ingest_limits tg_ingest_default_limits;

struct tg_ingest_options {
    struct event_base *base;
    struct tg_metrics *metrics;
    struct tg_ingest_limits limits;
    struct tg_sink sink;    /* copied */
    struct tg_dedup *dedup; /* lent; NULL: duplicates are not looked for */
};

/* Starts without sources and without listeners. */
TG_MUST_CHECK int tg_ingest_new(struct tg_ingest **out, const struct tg_ingest_options *options,
                                struct tg_err *err);
/* Best after tg_http_stop's callback. Requests that are still with the sink lose their answer; it may call
 * `done` for them later (it must, or their memory is lost). */
void tg_ingest_free(struct tg_ingest **in);

/* Copies the sources and swaps them in between requests; on failure (a key used twice, a CIDR that does not
 * parse, memory) the old ones stay. */
TG_MUST_CHECK int tg_ingest_set_sources(struct tg_ingest *in, const struct tg_ingest_source *sources,
                                        size_t n, struct tg_err *err);
void tg_ingest_set_limits(struct tg_ingest *in, const struct tg_ingest_limits *limits);
/* The http or https URL by which browsers reach the relay, copied; NULL: what their request says. On failure
 * (TG_INVALID, TG_NOMEM) the old one stays. */
TG_MUST_CHECK int tg_ingest_set_public_url(struct tg_ingest *in, const char *url, struct tg_err *err);

/* What pages load as analytics.min.js, copied; NULL: nothing. On failure (TG_TOOBIG, TG_NOMEM) the old one
 * stays. */
TG_MUST_CHECK int tg_ingest_set_browser_script(struct tg_ingest *in, const char *text, struct tg_err *err);

/* Its HTTP server: listeners, pause and stop. */
struct tg_http *tg_ingest_http(struct tg_ingest *in);

#endif
