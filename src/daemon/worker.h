/* One worker process: HTTP door, spool partitions, script host, delivery, on one event loop. */
#ifndef TG_DAEMON_WORKER_H
#define TG_DAEMON_WORKER_H

#include "daemon/worker_start.h"

/* Runs until it is told to stop; the exit status. 0: stopped in order. Signals are blocked when it is called.
 */
int tg_worker_main(const struct tg_worker_start *start);

#endif
