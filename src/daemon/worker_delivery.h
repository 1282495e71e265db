/* What takes a worker's events to the destinations: script host, HTTP client, engine. */
#ifndef TG_DAEMON_WORKER_DELIVERY_H
#define TG_DAEMON_WORKER_DELIVERY_H

#include "daemon/snapshot.h"
#include "daemon/worker_spool.h"
#include "deliver/engine.h"

struct tg_worker_delivery {
    struct tg_host *host;
    struct tg_client *client;
    struct tg_engine *engine;
};

/* With the destinations of config. On failure end it with close. */
TG_MUST_CHECK int tg_worker_delivery_open(struct tg_worker_delivery *d,
                                          const struct tg_worker_spool_options *o,
                                          const struct tg_worker_spool *spool,
                                          const struct tg_snapshot *snapshot, struct tg_err *err);
/* Another configuration: what destinations may reach, what scripts may take, and every destination. On
 * failure the worker is to be ended. */
TG_MUST_CHECK int tg_worker_delivery_swap(struct tg_worker_delivery *d, const struct tg_snapshot *s,
                                          const struct tg_config *c, struct tg_err *err);
/* Events in which a script call did not come back or took a predecessor with it are noted. Call before any
 * event is read. */
TG_MUST_CHECK int tg_worker_delivery_strikes(struct tg_worker_delivery *d,
                                             const struct tg_worker_start *start, struct tg_err *err);
/* Says of each partition whether it is drained; the spool is closed afterwards. */
void tg_worker_delivery_close(struct tg_worker_delivery *d, struct tg_worker_spool *spool);

#endif
