/* The part of the spool that a worker has: its own partition, and those that nobody writes any more because
 * there were more workers once. */
#ifndef TG_DAEMON_WORKER_SPOOL_H
#define TG_DAEMON_WORKER_SPOOL_H

#include "base/helper.h"
#include "config/config.h"
#include "daemon/worker_start.h"
#include "spool/cursors.h"
#include "spool/log.h"
#include "spool/partition.h"
#include "spool/state.h"

struct event_base;

enum { TG_WORKER_PARTS = 64 };

struct tg_worker_part {
    struct tg_partition lock;
    struct tg_cursors *cursors;
    struct tg_log *log;
    bool drained;  /* nothing waits in it: said by who knows, before it is closed */
    bool unsynced; /* what recovery found may not be on disk */
};

struct tg_worker_spool {
    struct tg_worker_part parts[TG_WORKER_PARTS]; /* the own one first */
    size_t n;
};

struct tg_worker_spool_options {
    const struct tg_worker_start *start;
    const struct tg_config *config;
    struct tg_state *state;
    struct tg_helper *helper;
    struct event_base *base;
};

/* Waits some seconds for a partition that a predecessor still holds. On failure those that are open are
 * closed with tg_worker_spool_close. */
TG_MUST_CHECK int tg_worker_spool_open(struct tg_worker_spool *s, const struct tg_worker_spool_options *o,
                                       struct tg_err *err);
/* What the logs hold and the set of messageIds does not know is put into it; then waits until the siblings
 * have done so too, but not for ever. */
void tg_worker_spool_remember(struct tg_worker_spool *s, const struct tg_worker_start *start,
                              const struct tg_config *config);
/* spool.max_bytes of another configuration. */
void tg_worker_spool_set_max(struct tg_worker_spool *s, const struct tg_worker_start *start,
                             const struct tg_config *config);
/* A drained partition that no worker writes is removed. */
void tg_worker_spool_close(struct tg_worker_spool *s, const struct tg_worker_start *start);

#endif
