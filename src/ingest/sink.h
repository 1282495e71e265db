/* Where ingest puts what it accepted: the spool, behind an interface, so that ingest does not know it. */
#ifndef TG_INGEST_SINK_H
#define TG_INGEST_SINK_H

#include "base/event.h"

/* What was wrong with one item of a good request: it becomes a dead letter of its source. */
struct tg_setaside {
    struct tg_str source;     /* name of the source */
    struct tg_str reason;     /* short stable word, for metrics and filters */
    struct tg_str detail;     /* for the person: what, where; may be empty */
    struct tg_str message_id; /* if it had one */
    struct tg_str body;       /* the item as sent, validated JSON text */
    int64_t received_at;      /* ms UTC */
};

struct tg_sink {
    void *arg;
    /* Whether anything can be accepted now: TG_OK, TG_BUSY (overload: 429), or TG_FULL, TG_IO, TG_QUOTA,
     * TG_CLOSED (disk full, disk fault, a quota, stopping: 503). Otherwise *why and *retry_after_s (1 to 300)
     * say more; *why must outlive the call. */
    int (*ready)(void *arg, const char **why, int *retry_after_s);
    /* Takes all of it or nothing. Copies what it needs before it returns. An answer other than TG_OK means
     * that nothing was taken and `done` will not be called; otherwise `done` is called once, on the loop's
     * thread, perhaps before this returns: TG_OK when everything is durable, else a code as above. */
    int (*append)(void *arg, const struct tg_event *events, size_t n, const struct tg_setaside *bad,
                  size_t n_bad, void (*done)(void *done_arg, int status, const char *why), void *done_arg);
};

#endif
