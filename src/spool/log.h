/* One partition's segmented append-only log: events wait here from the moment they are acknowledged until
 * every destination has settled them. Design section 6; files byte by byte in src/spool/README.md.
 *
 * Appends are grouped: while one write and sync is under way on the helper thread, later appends gather and
 * go together in the next. A record can be read once its sync has returned. All functions run on the loop's
 * thread. */
#ifndef TG_SPOOL_LOG_H
#define TG_SPOOL_LOG_H

#include "base/err.h"
#include "base/helper.h"
#include "base/metrics.h"
#include "base/str.h"
#include "spool/io.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_log;
struct tg_log_reader;

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

/* One record. Spans are lent as each function says. */
struct tg_record {
    uint64_t seq;
    int64_t received_at; /* ms */
    uint32_t flags;
    struct tg_str header; /* tg_event_encode */
    struct tg_str body;
};

/* Opens or makes the log: recovery is one pass over the segments found (torn tail cut, damaged records
 * counted and copied to quarantine/); the next append begins a new one. What it found is in *found if not
 * NULL. Blocking. A full disk is no reason to fail: the log then opens closed for appends. */
struct tg_log_found {
    uint64_t segments, records, damaged, torn_bytes;
    uint64_t first_seq, last_seq; /* 0 and 0 when empty */
    bool unsynced; /* the last segment could not be synced: what was read of it may not be on disk */
};
TG_MUST_CHECK int tg_log_open(const struct tg_log_options *options, struct tg_log **out,
                              struct tg_log_found *found, struct tg_err *err);
/* Waits for the sync under way, closes the files. Appends not yet synced get their callback with TG_CLOSED.
 */
void tg_log_close(struct tg_log **log);

/* Called on the loop's thread when the records are durable (TG_OK) or will not be (TG_FULL, TG_IO, TG_CLOSED;
 * `why` says more). */
typedef void tg_append_done(void *arg, int status, const char *why, uint64_t first_seq);

/* Copies the records (seq is ignored and assigned, contiguous from first_seq), all or none. Refused at once,
 * without a callback: TG_FULL (ceiling reached, or the disk is full and has not recovered), TG_BUSY
 * (max_pending_bytes), TG_TOOBIG, TG_NOMEM. */
TG_MUST_CHECK int tg_log_append(struct tg_log *log, const struct tg_record *records, size_t n,
                                tg_append_done *done, void *arg, struct tg_err *err);
/* Whether an append of about this size would be taken now, so that ingest can answer before it reads a body.
 */
int tg_log_can_append(const struct tg_log *log, size_t bytes, const char **why);

/* First sequence that is still stored and last that is synced; first == last + 1 when empty. */
uint64_t tg_log_first(const struct tg_log *log);
uint64_t tg_log_last(const struct tg_log *log);
uint64_t tg_log_bytes(const struct tg_log *log); /* on disk, all segments */
/* Bytes of stored records with seq >= from, to the precision of a segment's average. */
uint64_t tg_log_bytes_from(const struct tg_log *log, uint64_t from);
/* Called after each successful sync: something new can be read. One listener. */
void tg_log_on_synced(struct tg_log *log, void (*fn)(void *arg), void *arg);

/* Readers: any number, each with its own position; a small shared cache serves those that read the same
 * place. Opening at a sequence that is gone begins at the first stored one. */
TG_MUST_CHECK int tg_log_reader_open(struct tg_log *log, uint64_t from, struct tg_log_reader **out,
                                     struct tg_err *err);
void tg_log_reader_close(struct tg_log_reader **reader);
/* 1 and the record (spans lent until the next call of any reader of this log); 0: nothing synced beyond;
 * negative: a code. Damaged records are skipped and counted; sequences may therefore have gaps. */
int tg_log_reader_next(struct tg_log_reader *reader, struct tg_record *record, struct tg_err *err);
/* Sequence that the next call would look for first. */
uint64_t tg_log_reader_at(const struct tg_log_reader *reader);

/* Everything below `seq` is durably settled for every destination (tg_cursors_saved_low): unlinks whole
 * segments beneath it (on the helper thread). */
void tg_log_release(struct tg_log *log, uint64_t seq);

/* Frees the reserve at once (a state write met ENOSPC). The log itself restores it before appends are taken
 * again. */
void tg_log_free_reserve(struct tg_log *log);

/* Reading without a daemon, for `tidegate spool ls|cat|verify` and tests: calls `each` for every intact
 * record of one segment file (non-zero stops), `damaged` for each stretch that is not one. */
struct tg_segment_info {
    uint32_t version, partition;
    uint64_t epoch, first_seq, records, damaged, bytes, last_seq;
    bool torn;
};
TG_MUST_CHECK int tg_segment_scan(struct tg_io *io, const char *path, struct tg_segment_info *info,
                                  int (*each)(void *arg, const struct tg_record *record, uint64_t offset),
                                  void (*damaged)(void *arg, uint64_t offset, uint64_t bytes,
                                                  const char *why),
                                  void *arg, struct tg_err *err);

#endif
