/* The memory that the supervisor and all workers share, made before the first fork. */
#ifndef TG_DAEMON_COMMONS_H
#define TG_DAEMON_COMMONS_H

#include "base/metrics.h"
#include "daemon/board.h"
#include "daemon/snapshot.h"

struct tg_shared;
struct tg_dedup;
struct tg_leases;

struct tg_commons {
    struct tg_board *board;
    struct tg_metrics *metrics; /* slot 0 is the supervisor's, worker n writes n + 1 */
    struct tg_shared *shared;   /* pauses and the like over all workers */
    struct tg_shared *rates;    /* what is left of rates; NULL: it does not outlive the relay */
    struct tg_leases *leases;   /* keys of deliveries under way */
    struct tg_dedup *dedup;     /* NULL: duplicates are not looked for */
    void *dedup_memory;
    size_t dedup_bytes;
};

/* For so many workers. Rates that cannot be kept in the spool's folder are warned of, not an error. Whatever
 * is returned, free it with fini. */
TG_MUST_CHECK int tg_commons_init(struct tg_commons *c, const struct tg_plain *plain, struct tg_err *err);
void tg_commons_fini(struct tg_commons *c);

#endif
