/* The sources as ingest needs them: keys to find them by, parsed addresses, buckets, metric cells. One table
 * is made per configuration and shared by counting: a request that waits for the disk keeps the table that it
 * began with. */
#ifndef TG_INGEST_SOURCES_H
#define TG_INGEST_SOURCES_H

#include "ingest/client_ip.h"
#include "ingest/ingest.h"
#include "ingest/write_key.h"

struct tg_source {
    char *name;
    bool enabled, allow_delete, forget_on_delete, trusted, record_ip;
    char **origins;
    size_t n_origins;
    struct tg_cidr *proxies;
    size_t n_proxies;
    double rate; /* a second; 0: no limit */
    /* The time, monotonic us, at which the bucket will be full again. A batch larger than what is there is
     * let in and paid for later. */
    _Atomic int64_t *bucket, own;
    size_t body_bytes, event_bytes, batch_events; /* at most; SIZE_MAX: no limit of its own */
    tg_cell *accepted[TG_EVENT_TYPES], *duplicates, *bytes, *merges;
};

struct tg_sources {
    unsigned refs;
    size_t n;
    struct tg_source *list;
    struct tg_write_keys *keys; /* owners are indexes of list */
};

/* With one reference, the caller's. */
TG_MUST_CHECK int tg_sources_new(struct tg_sources **out, const struct tg_ingest_source *sources, size_t n,
                                 struct tg_metrics *metrics, struct tg_err *err);
struct tg_sources *tg_sources_ref(struct tg_sources *s);
void tg_sources_unref(struct tg_sources **s);

/* NULL when nobody has this key. */
struct tg_source *tg_sources_find(struct tg_sources *s, struct tg_str key);
bool tg_source_allows_origin(const struct tg_source *s, struct tg_str origin);
/* Takes n events from the bucket. 0, or the whole seconds (1 to 300) after which it is worth trying again. */
int tg_source_take(struct tg_source *s, size_t n, int64_t now_ms);

#endif
