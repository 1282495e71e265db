/* Removes the rows of users whose delete events asked for it (sources with forget_on_delete), in a child
 * process of the supervisor: a pass over all retries and dead letters takes its time, and no worker's loop or
 * disk thread is to wait for it. What is still to be done stands in the state (TG_FORGET_ROWS), so a relay
 * that is killed in the middle goes on with it after its next start. */
#ifndef TG_DAEMON_FORGETTER_H
#define TG_DAEMON_FORGETTER_H

#include "base/err.h"
#include "base/metrics.h"
#include "daemon/board.h"
#include "deliver/shared.h"

struct tg_forgetter;

struct tg_forgetter_options {
    const char *spool_path; /* copied; the rest is lent */
    struct tg_shared *shared;
    struct tg_board *board;
    struct tg_metrics *metrics;
};

/* NULL when out of memory. */
struct tg_forgetter *tg_forgetter_new(const struct tg_forgetter_options *options);
/* Ends a child that is at work. */
void tg_forgetter_free(struct tg_forgetter **forgetter);
/* Starts a child when there is something to do, and takes the one that has ended. Call it every tick and at
 * SIGCHLD; `now` is tg_mono_ms. */
void tg_forgetter_tick(struct tg_forgetter *forgetter, int64_t now);

#endif
