/* What the supervisor gives a worker to live with. */
#ifndef TG_DAEMON_WORKER_START_H
#define TG_DAEMON_WORKER_START_H

#include "daemon/commons.h"
#include "daemon/listeners.h"

struct tg_worker_start {
    unsigned slot; /* 0 … workers - 1 */
    unsigned workers;
    int channel; /* to the supervisor */
    int snapshot_fd;
    int first_fd; /* the snapshot that the relay began with: what cannot be reloaded is as it says */
    const struct tg_listeners *listeners;
    const struct tg_commons *commons;
    int64_t dedup_since; /* the set of messageIds knows all that was accepted before, ms UTC */
};

enum { TG_EXIT_CANNOT_START = 3 };

#endif
