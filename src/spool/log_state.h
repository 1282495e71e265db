/* The log's own state, as data: what the log_* modules work on. Nobody else includes it. */
#ifndef TG_SPOOL_LOG_STATE_H
#define TG_SPOOL_LOG_STATE_H

#include "base/buf.h"
#include "base/helper.h"
#include "base/metrics.h"
#include "spool/cache.h"
#include "spool/log_options.h"
#include "spool/seglist.h"
#include "spool/writer.h"

#include <event2/util.h>

struct event;

struct waiter {
    void (*done)(void *arg, int status, const char *why, uint64_t first_seq); /* tg_append_done */
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
    char why[512];
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

#endif
