/* The configuration that a worker runs with, out of a snapshot. */
#ifndef TG_DAEMON_WORKER_CONFIG_H
#define TG_DAEMON_WORKER_CONFIG_H

#include "config/config.h"
#include "daemon/snapshot.h"
#include "daemon/worker_start.h"

/* Reads the memory file and evaluates the text in it. On failure nothing is to be freed. */
TG_MUST_CHECK int tg_worker_config_read(int fd, struct tg_snapshot **snapshot, struct tg_config **config,
                                        struct tg_err *err);
/* The one that a worker begins with: the snapshot in force, but for what belongs to sockets and spool, which
 * are those of the first. */
TG_MUST_CHECK int tg_worker_config_first(const struct tg_worker_start *start, struct tg_snapshot **snapshot,
                                         struct tg_config **config, struct tg_err *err);
/* What needs a restart is in `next` as it was in `running`, which gets what `next` said of it, to be freed
 * with it. */
void tg_worker_config_keep(struct tg_config *running, struct tg_config *next);

/* Problems as one error: for a set that was good in the process that checked it. */
int tg_worker_config_fail(const struct tg_problems *problems, struct tg_err *err);

#endif
