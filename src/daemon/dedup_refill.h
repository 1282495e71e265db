/* What the saved set of messageIds (daemon/dedup_store.h) does not know after a crash of everything stands in
 * the log: the events of the seconds before. They are put back into the set before the door opens.
 *
 * Only the end of the log is read: from the last save on, and never more than a set or MOST_BYTES holds, so
 * that a large backlog costs no start. */
#ifndef TG_DAEMON_DEDUP_REFILL_H
#define TG_DAEMON_DEDUP_REFILL_H

#include "ingest/dedup.h"
#include "spool/log.h"

struct tg_dedup_refill {
    struct tg_log *log; /* as recovery left it: what is not in it may suppress nothing */
    struct tg_dedup *set;
    int64_t since; /* ms UTC: everything before is in the set already; 0: nothing is */
    int64_t now;
    uint64_t most; /* events */
};

/* How many events were read. A log that cannot be read costs duplicates, nothing else. Blocking; on the
 * thread of the log. */
uint64_t tg_dedup_refill(const struct tg_dedup_refill *options);

#endif
