/* Commits: one group of appends at a time goes to disk, and its senders are told. See log.c for the whole. */
#ifndef TG_SPOOL_LOG_COMMIT_H
#define TG_SPOOL_LOG_COMMIT_H

#include "spool/log_state.h"

/* Sends what has gathered, unless a commit is under way. */
void tg_log_start_commit(struct tg_log *log);
/* Empties a group and tells its waiters. */
void tg_log_fail_group(struct tg_log *log, struct group *g, int status, const char *why);
/* Timers' callbacks: the end of a turn in which something was appended; the interval mode's. */
void tg_log_on_kick(evutil_socket_t fd, short what, void *arg);
void tg_log_on_tick(evutil_socket_t fd, short what, void *arg);

#endif
