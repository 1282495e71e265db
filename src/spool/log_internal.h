/* The log's own state, shared by log.c (appending, keeping house) and log_reader.c. Nobody else includes it.
 */
#ifndef TG_SPOOL_LOG_INTERNAL_H
#define TG_SPOOL_LOG_INTERNAL_H

#include "spool/cache.h"
#include "spool/seglist.h"
#include "spool/writer.h"

#include <event2/util.h>

struct event;

struct waiter {
    tg_append_done *done;
    void *arg;
    uint64_t first_seq;
};

/* Records that go to disk with one write and one sync. */
struct group {
    struct tg_buf bytes;
    struct waiter *waiters;
    size_t n, cap;
    uint64_t first_seq, next_seq;
};

/* What the writer looks like after a job, for the loop, which must not look into it while jobs run. */
struct outcome {
    int status;
    struct tg_err err;
    uint64_t open_first; /* the open segment; 0: none */
    uint64_t at, size, spare_size;
    bool reserve;
};

/* A job of the helper thread that works on the writer. */
struct task {
    struct tg_job job;
    struct tg_log *log;
    bool running; /* given and not yet done */
    bool wanted;  /* once more when done */
    bool may_create;
    struct outcome outcome;
};

struct log_metrics {
    tg_cell *damaged, *records, *syncs, *sync_us, *sync_failures, *bytes, *segments, *closed;
};

struct tg_log {
    struct tg_log_options o;
    char *dir;
    struct tg_writer writer; /* the helper's while a job runs */
    struct tg_seglist segments;
    struct tg_seg *fresh; /* for the segment that the next commit may begin */
    bool open;            /* the last segment of the list is being written */
    uint64_t room;        /* bytes that still fit into it */
    uint64_t size;        /* its preallocated bytes */
    uint64_t spare_size;  /* 0: none */
    bool reserve;
    uint64_t next_seq; /* for the next append */
    uint64_t last_seq; /* last that may be read */
    uint64_t removing; /* bytes of segments that are being unlinked */

    struct group filling, flying;
    size_t pending; /* bytes in both */
    struct task commit, upkeep, interval, freeing, seal;
    int64_t commit_began; /* us */
    uint64_t released;    /* highest that was */

    int closed; /* why nothing can be appended; TG_OK: it can */
    char why[256];
    bool closing;
    struct event *kick, *probe, *ticker;
    void (*synced)(void *arg);
    void *synced_arg;

    struct tg_cache cache;
    struct tg_log_reader *readers;
    struct log_metrics m;
};

struct tg_log_reader {
    struct tg_log *log;
    struct tg_log_reader *next;
    struct tg_seg *seg; /* NULL: nothing is stored at or above `want` yet */
    struct tg_scan scan;
    uint64_t want; /* the sequence to look for */
};

/* --- log_house.c --- */
extern const char tg_log_ceiling_text[];
void tg_log_show_metrics(struct tg_log *log);
/* No appends from now on: TG_FULL or TG_IO. Probed for every second. */
void tg_log_shut(struct tg_log *log, int status, const char *why);
/* Whether `more` bytes on disk stay beneath the ceiling. */
bool tg_log_beneath_ceiling(const struct tg_log *log, uint64_t more);
/* Whether `bytes` more than what is pending will find a segment. */
bool tg_log_has_room(const struct tg_log *log, uint64_t bytes);
/* Gives a task to the helper; its `run` ends with tg_log_look_at_writer, its `done` begins with
 * tg_log_absorb. */
void tg_log_give(struct task *t, void (*run)(struct tg_job *), void (*done)(struct tg_job *));
void tg_log_look_at_writer(struct task *t);
struct tg_log *tg_log_absorb(struct task *t);
/* Gives the helper what there is to restore. While the log is shut only when `now`: the probe decides the
 * pace. */
void tg_log_keep_house(struct tg_log *log, bool now);
void tg_log_first_upkeep(struct tg_log *log); /* blocking, when opening */
void tg_log_on_probe(evutil_socket_t fd, short what, void *arg);

/* --- log_commit.c --- */
/* Sends what has gathered, unless a commit is under way. */
void tg_log_start_commit(struct tg_log *log);
/* Empties a group and tells its waiters. */
void tg_log_fail_group(struct tg_log *log, struct group *g, int status, const char *why);
void tg_log_on_kick(evutil_socket_t fd, short what, void *arg);
void tg_log_on_tick(evutil_socket_t fd, short what, void *arg);

/* --- log_reader.c --- */
/* Damage met while reading; counted once. */
void tg_log_note_damage(struct tg_log *log, struct tg_seg *seg, const struct tg_scan_item *item);
/* Moves readers out of a segment that is going. */
void tg_log_readers_leave(struct tg_log *log, struct tg_seg *seg);

#endif
