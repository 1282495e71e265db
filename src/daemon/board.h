/* The board: memory shared by the supervisor and all workers, made before the first fork. Who runs, who is
 * down, who accepts, what each worker last said of itself, and the watch cell of the script call that each is
 * in.
 *
 * Every field has one writer: the supervisor for `pid` and `down_since`, the worker for the rest of its row.
 */
#ifndef TG_DAEMON_BOARD_H
#define TG_DAEMON_BOARD_H

#include "base/buf.h"
#include "script/host.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TG_MAX_WORKERS = 64, TG_BOARD_STATUS_MAX = 1024 * 1024, TG_STRIKES = 256, TG_BOARD_WHY_MAX = 320 };

struct tg_board_row {
    _Atomic int pid;            /* 0: down */
    _Atomic int64_t down_since; /* tg_mono_ms; 0: up and ready */
    _Atomic int accepting;      /* whether an ingest POST would be taken now */
    _Atomic uint64_t restarts;
    _Atomic uint64_t beats;      /* of its loop */
    _Atomic uint64_t generation; /* of the snapshot that it runs */
    _Atomic int remembers;       /* what its logs hold is in the set of messageIds */
    struct tg_watch_cell watch;
    _Atomic uint32_t version; /* odd while status is being written */
    uint32_t status_len;
    char why[TG_BOARD_WHY_MAX]; /* why it does not accept */
    char status[TG_BOARD_STATUS_MAX];
};

/* An event in which a script was killed, or with which its worker crashed. */
struct tg_strike {
    char destination[64];
    uint64_t seq;
    uint32_t worker;
    uint32_t timed_out;     /* killed by the watchdog; else it crashed */
    _Atomic uint32_t taken; /* the worker has noted it durably */
    _Atomic uint32_t used;
};

struct tg_board {
    unsigned workers;
    int64_t started_at; /* ms UTC */
    _Atomic int stopping;
    struct tg_strike strikes[TG_STRIKES]; /* written by the supervisor */
    _Atomic uint32_t next_strike;
    struct tg_board_row rows[];
};

/* NULL when out of memory. Untouched pages cost nothing. */
struct tg_board *tg_board_new(unsigned workers);
void tg_board_free(struct tg_board **board);

/* ms since the relay began. */
int64_t tg_board_uptime(const struct tg_board *board);

/* A worker's own report: JSON text, cut off (replaced by {}) when larger than TG_BOARD_STATUS_MAX. */
void tg_board_say(struct tg_board *board, unsigned worker, struct tg_str json, bool accepting,
                  const char *why);
/* Adds what a worker last said; nothing when it has said nothing yet. TG_BUSY: it was killed while it wrote.
 */
TG_MUST_CHECK int tg_board_read(struct tg_board *board, unsigned worker, struct tg_buf *json);

/* Supervisor: notes a strike for the event that the worker's script call is in, for its successor to take.
 * False when it is in none. */
bool tg_board_strike(struct tg_board *board, unsigned worker, bool timed_out);

/* Whether every worker that is up accepts and at least one is up; why not goes into `why`. */
bool tg_board_ready(struct tg_board *board, char *why, size_t size);

#endif
