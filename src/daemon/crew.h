/* The workers as processes: started, listened to, watched, started again when they die.
 *
 * One that dies is started again at once, and when it keeps dying after a pause that grows to 1 s. One whose
 * script call passes the hard limit, or whose loop stands still, is killed. What a worker is for and what it
 * says is the owner's affair: see the callbacks. */
#ifndef TG_DAEMON_CREW_H
#define TG_DAEMON_CREW_H

#include "base/metrics.h"
#include "daemon/board.h"
#include "daemon/channel.h"

#include <event2/event.h>

struct tg_crew_options {
    struct event_base *base;
    struct tg_board *board;
    struct tg_metrics *metrics;
    unsigned workers; /* at most TG_MAX_WORKERS */
    /* In the child, whose end of the channel this is: the worker's whole life; returns its exit status. */
    int (*live)(void *arg, unsigned slot, int channel);
    /* In the parent, for each message of a worker. */
    void (*on_message)(void *arg, unsigned slot, const struct tg_msg *msg);
    /* Once a worker is down, after its last message; its pid may be another's soon. */
    void (*on_gone)(void *arg, unsigned slot, int pid);
    void *arg;
};

struct tg_crew;

/* Starts nobody yet. NULL without memory. */
struct tg_crew *tg_crew_new(const struct tg_crew_options *options);
/* Everybody should have ended. */
void tg_crew_free(struct tg_crew **c);

void tg_crew_start(struct tg_crew *c);
/* Every 50 ms or so, and after SIGCHLD: reaps, starts again, and kills what hangs. The limits are those in
 * force; hang_ms 0: none. */
void tg_crew_tick(struct tg_crew *c, int64_t now, int64_t hang_ms, int64_t hard_ms);
/* SIGTERM for everybody, nobody is started again; who is still up at kill_at gets SIGKILL at the next tick.
 */
void tg_crew_stop(struct tg_crew *c, int64_t kill_at);

unsigned tg_crew_size(const struct tg_crew *c);
bool tg_crew_is_up(const struct tg_crew *c, unsigned slot);
bool tg_crew_any_up(const struct tg_crew *c);
/* Whether everybody serves. */
bool tg_crew_all_ready(const struct tg_crew *c);

/* False when the worker is down or does not read its channel. fd may be -1. */
bool tg_crew_send(struct tg_crew *c, unsigned slot, const struct tg_msg *msg, int fd);
/* Its successor starts as if it had crashed. */
void tg_crew_kill(struct tg_crew *c, unsigned slot);

#endif
