/* What a log is opened with, and what is found in it then. */
#ifndef TG_SPOOL_LOG_OPTIONS_H
#define TG_SPOOL_LOG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct tg_helper;
struct tg_io;
struct tg_metrics;

enum tg_sync_mode { TG_SYNC_GROUP, TG_SYNC_INTERVAL, TG_SYNC_NONE };

struct tg_log_options {
    const char *dir;    /* the partition's folder; made when missing, mode 0700 */
    uint32_t partition; /* its number */
    uint64_t epoch;     /* of the partition's lock (spool/partition.h) */
    uint64_t segment_bytes;
    uint64_t max_bytes;     /* ceiling of this partition's segments together */
    uint64_t reserve_bytes; /* freed on ENOSPC so that state can still be written; 0: none */
    enum tg_sync_mode sync;
    int64_t sync_interval_ms;
    size_t max_pending_bytes; /* appended and not yet synced; above: TG_BUSY */
    uint64_t
        least_next_seq; /* numbering continues at or above this too (cursors, settled sets, retry rows) */
    struct tg_io *io;
    struct tg_helper *helper;
    struct event_base *base; /* for the interval mode and the probe after ENOSPC */
    struct tg_metrics *metrics;
};

struct tg_log_found {
    uint64_t segments, records, damaged, torn_bytes;
    uint64_t first_seq, last_seq; /* 0 and 0 when empty */
    bool unsynced; /* the last segment could not be synced: what was read of it may not be on disk */
};

#endif
