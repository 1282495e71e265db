/* The configuration in force, and how another takes its place.
 *
 * A child builds a new snapshot and checks it; only a good one is sent to the workers, and it is in force
 * when all that are up have swapped. A worker that is down meanwhile starts with the new one. A refused one
 * leaves everything as it was. Sockets and spool stay those of the first snapshot until the relay is started
 * again. */
#ifndef TG_DAEMON_RELOAD_H
#define TG_DAEMON_RELOAD_H

#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/snapshot.h"

struct tg_reload_options {
    struct event_base *base;
    const char *config_path;
    struct tg_metrics *metrics;
    struct tg_crew *crew;
    struct tg_snapshot *first; /* stays the owner's */
    int first_fd;
};

struct tg_reload;

/* The first snapshot is in force. NULL without memory. */
struct tg_reload *tg_reload_new(const struct tg_reload_options *options);
/* Whoever waits is told that the relay stops. */
void tg_reload_free(struct tg_reload **r);

/* One that is asked for while another is under way follows it. */
void tg_reload_begin(struct tg_reload *r);
/* The same for a person, who is answered at its end. False: not now, and `client` is still to be answered. */
bool tg_reload_ask(struct tg_reload *r, struct tg_control_client *client);
/* Reloads when a file of the configuration in force changes, if that says so. */
void tg_reload_follow_files(struct tg_reload *r);
/* The relay stops: nobody can ask any more. */
void tg_reload_stop(struct tg_reload *r);

/* Closes what a forked worker has inherited of it, without touching the parent's loop. */
void tg_reload_close_in_child(struct tg_reload *r);

const struct tg_snapshot *tg_reload_in_force(const struct tg_reload *r);
/* What a worker that starts now starts with; stays the reload's. */
int tg_reload_snapshot_fd(const struct tg_reload *r);

/* A worker's TG_MSG_RELOADED, and its end. */
void tg_reload_swapped(struct tg_reload *r, unsigned slot, const struct tg_msg *msg);
void tg_reload_worker_gone(struct tg_reload *r, unsigned slot);

#endif
