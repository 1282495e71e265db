/* What outlives the log: events waiting for a retry, dead letters, and small facts about destinations, in
 * <spool>/state.db (SQLite, WAL, synchronous=FULL; readable with the sqlite3 tool; schema in
 * src/spool/README.md).
 *
 * One file for the whole spool, opened by every worker and by the command line. Writes of a worker are
 * operations that are queued and committed together in one transaction on its helper thread; each gets its
 * callback on the loop's thread when it is durable. Reads that the loop needs (due retries) are operations
 * too: the loop never waits for the disk. */
#ifndef TG_SPOOL_STATE_H
#define TG_SPOOL_STATE_H

#include "base/err.h"
#include "base/helper.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_state;

#define TG_STATE_FILE "state.db"

/* Opens or makes <spool_dir>/state.db. TG_BADVERSION for a newer schema, upgrades an older one; TG_CORRUPT
 * names the file and what to do. helper may be NULL for the command line: then only the synchronous functions
 * may be used. */
TG_MUST_CHECK int tg_state_open(const char *spool_dir, struct tg_helper *helper, struct tg_state **out,
                                struct tg_err *err);
void tg_state_close(struct tg_state **state); /* after tg_helper_drain */

/* --- retry set --- */
struct tg_retry {
    int64_t id; /* given by the database; 0 when new */
    const char *destination;
    uint32_t partition;
    uint64_t seq;
    int64_t due;           /* ms UTC */
    int64_t first_failure; /* ms UTC */
    int64_t budget_used;   /* ms of the deadline used up (the clock stands still while paused) */
    uint32_t attempts;
    int64_t received_at;
    const char *source, *message_id, *reason;
    struct tg_str header, body; /* the event, as in the log */
    struct tg_str responses; /* JSON: responses of deliveries already done, by call number; at most 64 KiB */
};

/* --- dead letters --- */
struct tg_dead {
    int64_t id;
    const char *destination; /* NULL: set aside by ingest */
    const char *source, *message_id, *type, *event_name;
    const char *reason;  /* stable word: http_400, script_error, invalid_type … */
    const char *message; /* for the person; traceback, partner's words */
    int status;          /* last HTTP status, 0: none */
    uint32_t attempts;
    int64_t received_at, first, last; /* ms UTC: first and last failure */
    struct tg_str header;             /* as in the log; empty for what ingest set aside */
    struct tg_str body;               /* as in the log; of what ingest set aside the raw bytes */
    struct tg_str request;            /* masked text of the last request */
    struct tg_str response;           /* status line, headers, first 4 KiB of its response */
    int64_t generation;               /* of the script set */
    /* The event's place in the log. With a place a put replaces the row of the same destination and place (a
     * crash may repeat an event); with seq 0 there is none and each put is a new row. */
    uint32_t partition;
    uint64_t seq;
};

struct tg_dead_filter { /* NULL or 0: any */
    const char *destination, *reason, *source, *message_id, *event_name, *user_id;
    bool set_aside_only;  /* destination is null */
    int64_t since, until; /* on `last` */
    int64_t id, after_id, limit;
};

/* How long to wait for transactions of other processes, 5000 ms unless told. */
void tg_state_set_patience(struct tg_state *s, int ms);

/* --- operations of a worker (loop thread) --- */
/* Everything is copied before the call returns; TG_OK means that `done`, which may be NULL, will be called
 * once, anything else that it will not: TG_NOMEM; TG_BUSY when 8 MiB wait already (try again after a
 * callback); TG_TOOBIG for responses above 64 KiB. Operations take effect in the order in which they were
 * given; reads see the writes given before them.
 *
 * Status of `done`, with why in words ("" for TG_OK): TG_OK durable; TG_FULL the disk is full (the log frees
 * its reserve and the operation may be tried again); TG_IO; TG_BUSY another process held the file for too
 * long; TG_NOMEM; TG_CORRUPT. These concern all operations of a transaction, and none of them is in the file.
 * TG_NOTFOUND (update of a row that is gone) and TG_INVALID (no destination, no reason) concern the one
 * operation only. */
enum { TG_STATE_RESPONSES_MAX = 64 * 1024, TG_STATE_QUEUE_MAX = 8 * 1024 * 1024 };
typedef void tg_state_done(void *arg, int status, const char *why);
/* A new row. One for the same destination, partition and seq (above 0) is replaced: a crash may repeat an
 * event. */
TG_MUST_CHECK int tg_state_put_retry(struct tg_state *s, const struct tg_retry *r, tg_state_done *done,
                                     void *arg);
/* New due, first_failure, budget_used, attempts, reason and responses of row r->id; the rest of *r is not
 * looked at. */
TG_MUST_CHECK int tg_state_update_retry(struct tg_state *s, const struct tg_retry *r, tg_state_done *done,
                                        void *arg);
/* No such row is fine, here and in tg_state_retry_to_dead. */
TG_MUST_CHECK int tg_state_delete_retry(struct tg_state *s, int64_t id, tg_state_done *done, void *arg);
TG_MUST_CHECK int tg_state_put_dead(struct tg_state *s, const struct tg_dead *d, tg_state_done *done,
                                    void *arg);
/* One transaction: dead letter in, retry row `id` out. */
TG_MUST_CHECK int tg_state_retry_to_dead(struct tg_state *s, int64_t id, const struct tg_dead *d,
                                         tg_state_done *done, void *arg);
/* At most `limit` rows of a destination in one worker's partitions (partition % workers == worker) that are
 * due at or before `now`, by due time; rows whose id is in `busy` are left out. Rows are lent during the
 * callback. *next_due: when the next row that is not in the answer is due, or TG_NO_TIME; total: rows of the
 * destination in these partitions. */
/* At most 4 MiB of rows are read at once: then next_due is not above `now` although fewer than `limit` came.
 */
typedef void tg_state_due(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                          int64_t total);
TG_MUST_CHECK int tg_state_due_retries(struct tg_state *s, const char *destination, uint32_t worker,
                                       uint32_t workers, int64_t now, size_t limit, const int64_t *busy,
                                       size_t n_busy, tg_state_due *done, void *arg);
/* The same by age, the oldest first, whenever they are due. */
TG_MUST_CHECK int tg_state_oldest_retries(struct tg_state *s, const char *destination, uint32_t worker,
                                          uint32_t workers, size_t limit, const int64_t *busy, size_t n_busy,
                                          tg_state_due *done, void *arg);
/* Makes room: the oldest dead letters of a destination (destination NULL: what ingest set aside of that
 * source) go until the rest is within keep_bytes. At most 500 at once: `dropped` of 500 means ask again. */
typedef void tg_state_trimmed(void *arg, int status, const char *why, int64_t dropped);
TG_MUST_CHECK int tg_state_trim_dead(struct tg_state *s, const char *destination, const char *source,
                                     int64_t keep_bytes, tg_state_trimmed *done, void *arg);
/* Small durable facts, e.g. ("park", destination) -> JSON. An empty value deletes. */
TG_MUST_CHECK int tg_state_put_fact(struct tg_state *s, const char *kind, const char *name,
                                    struct tg_str value, tg_state_done *done, void *arg);

/* `done` is called when every operation given before has ended; its status is that of the transaction which
 * the last of them was part of. */
TG_MUST_CHECK int tg_state_after_all(struct tg_state *s, tg_state_done *done, void *arg);
/* What a destination has here: its dead letters, and its retry rows in one worker's partitions. */
struct tg_usage {
    int64_t dead_bytes;
    int64_t retries, retry_bytes;
    int64_t oldest_retry; /* received at, of all workers' rows; TG_NO_TIME: there is none */
};
typedef void tg_state_used(void *arg, int status, const struct tg_usage *usage);
TG_MUST_CHECK int tg_state_usage(struct tg_state *s, const char *destination, uint32_t worker,
                                 uint32_t workers, tg_state_used *done, void *arg);

/* --- synchronous: start-up, shutdown, command line --- */
/* On the loop's thread. They wait for the disk, for other processes, and for the transaction that the helper
 * is in: not in the course of ordinary work. Operations that are queued and not yet committed are not seen.
 *
 * Calls each row, oldest id first; `each` returns non-zero to stop, which is then the result. Rows are lent
 * during the call; no lock is held then, so it may take its time and call functions of this module. Rows that
 * go meanwhile are left out. With a limit: the oldest `limit` rows. */
TG_MUST_CHECK int tg_state_dead_each(struct tg_state *s, const struct tg_dead_filter *f,
                                     int (*each)(void *arg, const struct tg_dead *d), void *arg,
                                     struct tg_err *err);
TG_MUST_CHECK int tg_state_dead_drop(struct tg_state *s, const struct tg_dead_filter *f, int64_t *dropped,
                                     struct tg_err *err);
/* Dead letters go back into the retry set: due at `now`, no attempts counted, the whole deadline before them.
 * Each moves in one transaction. Left where they are and counted: what ingest set aside, and letters of a
 * destination that is not among the `n` names, for nobody would fetch those. */
struct tg_replayed {
    int64_t replayed, set_aside, unknown;
};
TG_MUST_CHECK int tg_state_dead_replay(struct tg_state *s, const struct tg_dead_filter *f,
                                       const char *const *destinations, size_t n, int64_t now,
                                       struct tg_replayed *out, struct tg_err *err);
/* Deletes users' retries, dead letters (requests for deletion stay: the partner must get them), and what
 * ingest set aside of those users as far as its bytes are JSON; of each what was received until then. One
 * pass over the rows, however many users. */
struct tg_forgotten_user {
    struct tg_str id;
    int64_t until; /* ms UTC */
};
struct tg_forgotten_rows {
    int64_t retries, dead, set_aside;
};
TG_MUST_CHECK int tg_state_forget_users(struct tg_state *s, const struct tg_forgotten_user *users, size_t n,
                                        struct tg_forgotten_rows *out, struct tg_err *err);
/* Calls each {destination (NULL for set aside), reason, count, bytes}. */
TG_MUST_CHECK int tg_state_dead_counts(struct tg_state *s,
                                       int (*each)(void *arg, const char *destination, const char *reason,
                                                   int64_t count, int64_t bytes),
                                       void *arg, struct tg_err *err);
TG_MUST_CHECK int tg_state_retry_counts(struct tg_state *s,
                                        int (*each)(void *arg, const char *destination, int64_t count,
                                                    int64_t bytes, int64_t oldest_received),
                                        void *arg, struct tg_err *err);
/* Highest seq in the retry set of a partition, 0 when none (least_next_seq of the log). */
TG_MUST_CHECK int tg_state_highest_seq(struct tg_state *s, uint32_t partition, uint64_t *seq,
                                       struct tg_err *err);
/* Whether a partition has retry rows. */
TG_MUST_CHECK int tg_state_partition_rows(struct tg_state *s, uint32_t partition, int64_t *rows,
                                          struct tg_err *err);
TG_MUST_CHECK int tg_state_facts_each(struct tg_state *s, const char *kind,
                                      int (*each)(void *arg, const char *name, struct tg_str value),
                                      void *arg, struct tg_err *err);
/* The same value for many names of a kind, some at a time in one transaction. */
TG_MUST_CHECK int tg_state_put_facts_now(struct tg_state *s, const char *kind, const char *const *names,
                                         size_t n, struct tg_str value, struct tg_err *err);
TG_MUST_CHECK int tg_state_put_fact_now(struct tg_state *s, const char *kind, const char *name,
                                        struct tg_str value, struct tg_err *err);

#endif
