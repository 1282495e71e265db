/* Where senders come in: a worker's HTTP door, what stands between it and the spool, the admin listener, and
 * the doors of siblings that are down. */
#ifndef TG_DAEMON_WORKER_DOOR_H
#define TG_DAEMON_WORKER_DOOR_H

#include "config/config.h"
#include "daemon/admin.h"
#include "daemon/sink.h"
#include "daemon/worker_start.h"
#include "ingest/ingest.h"

struct tg_worker_door {
    const struct tg_worker_start *start;
    struct tg_aside *aside;
    struct tg_spool_sink *sink;
    struct tg_ingest *ingest;
    struct tg_http_tls **tls; /* per listener; NULL: plain */
    struct tg_admin *admin;
    bool standing_in[TG_MAX_WORKERS]; /* for a sibling that is down */
};

struct tg_worker_door_options {
    const struct tg_worker_start *start;
    const struct tg_config *config;
    struct event_base *base;
    struct tg_log *log; /* the own partition's */
    struct tg_state *state;
    void (*forgotten)(void *arg, size_t users); /* of tg_spool_sink_options */
    void *forgotten_arg;
};

/* Accepts from then on. On failure close it. */
TG_MUST_CHECK int tg_worker_door_open(struct tg_worker_door *d, const struct tg_worker_door_options *o,
                                      struct tg_err *err);
/* Sources, limits and certificates of another configuration. On failure some of it may be in force. */
TG_MUST_CHECK int tg_worker_door_set(struct tg_worker_door *d, const struct tg_config *c, struct tg_err *err);
/* Siblings that have been down for a while: their queues are served here until they are back. */
void tg_worker_door_stand_in(struct tg_worker_door *d, int64_t now);
/* Whether events are taken now; else *why says why not. */
bool tg_worker_door_accepts(const struct tg_worker_door *d, const char **why);

/* Closes the doors and takes nothing in any more; what is under way goes on. Before log and state go. */
void tg_worker_door_close(struct tg_worker_door *d);
/* When log and state are closed. */
void tg_worker_door_fini(struct tg_worker_door *d);

#endif
