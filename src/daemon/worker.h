/* One worker process: HTTP door, spool partitions, script host, delivery, on one event loop. */
#ifndef TG_DAEMON_WORKER_H
#define TG_DAEMON_WORKER_H

#include "base/metrics.h"
#include "daemon/board.h"

struct tg_shared;
struct tg_dedup;

struct tg_worker_start {
    unsigned slot; /* 0 … workers - 1 */
    unsigned workers;
    int channel; /* to the supervisor */
    int snapshot_fd;
    int first_fd; /* the snapshot that the relay began with: listen, admin and spool.path are as it says */
    /* Listening sockets [address][worker], all of them, so that a sibling can be stood in for. */
    const int *listen_fds;
    size_t n_listen;
    int admin_fd; /* or -1 */
    struct tg_board *board;
    struct tg_metrics *metrics;
    struct tg_shared *shared; /* pauses and the like over all workers */
    struct tg_shared *rates;  /* what is left of rates; NULL: it does not outlive the relay */
    struct tg_dedup *dedup;   /* in shared memory; NULL: duplicates are not looked for */
    int64_t dedup_since;      /* it knows all that was accepted before, ms UTC */
};

/* Runs until it is told to stop; the exit status. 0: stopped in order. Signals are blocked when it is called.
 */
int tg_worker_main(const struct tg_worker_start *start);

enum { TG_EXIT_CANNOT_START = 3 };

#endif
