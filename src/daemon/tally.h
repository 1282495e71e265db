/* What has been counted since the start, for the status: a destination's events by reason, what each source
 * has sent, requests that were refused. Read from the metrics, which all workers share. */
#ifndef TG_DAEMON_TALLY_H
#define TG_DAEMON_TALLY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/metrics.h"

struct tg_tally_row {
    const char *what; /* delivered, skipped, accepted … */
    char *of;         /* the destination or source; "" for requests */
    char *why;        /* the reason or code; "" where there is none */
    bool is_source;
    int64_t n; /* never 0 */
};
struct tg_tally {
    struct tg_tally_row *rows;
    size_t n;
};

/* TG_NOMEM: then it is empty. Free it with fini. */
TG_MUST_CHECK int tg_tally_read(struct tg_metrics *m, struct tg_tally *out);
void tg_tally_fini(struct tg_tally *t);

/* A destination's events that were `what`, for whatever reason. */
int64_t tg_tally_total(const struct tg_tally *t, const char *destination, const char *what);

/* Each appends an object: {"skipped":{"no_email":3},"dead":{…}} of one destination, {"web":{"accepted":5,
 * "duplicates":1,"set_aside":{"invalid_type":2}}} of all sources, {"unknown_write_key":7} of requests. */
TG_MUST_CHECK int tg_tally_reasons(const struct tg_tally *t, const char *destination, struct tg_buf *json);
TG_MUST_CHECK int tg_tally_sources(const struct tg_tally *t, struct tg_buf *json);
TG_MUST_CHECK int tg_tally_refused(const struct tg_tally *t, struct tg_buf *json);

#endif
