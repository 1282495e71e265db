/* The engine's nouns: what its modules work on, and nothing that does anything.
 *
 *     engine   parts (log + cursors), outlets, turns
 *     outlet   one destination: its lane in each part, limits, breaker, queue of requests
 *     item     one event on its way through a destination
 *     delivery one request that the item's run asked for
 *     shot     one HTTP request: one delivery, or a batch of them
 *
 * Callbacks of runs only change an item's fields and mark it as touched (turns.h); what follows from that
 * (settling, writing, freeing) happens in tg_engine_check (item_end.h), when no script code is on the stack.
 * Nobody outside this room includes this. */
#ifndef TG_DELIVER_MODEL_H
#define TG_DELIVER_MODEL_H

#include "deliver/backoff.h"
#include "deliver/batcher.h"
#include "deliver/breaker.h"
#include "deliver/counters.h"
#include "deliver/engine_options.h"
#include "deliver/forgotten.h"
#include "deliver/judge.h"
#include "deliver/poison.h"
#include "deliver/reaper.h"
#include "deliver/rest.h"
#include "deliver/script_ref.h"
#include "deliver/told.h"
#include "script/host.h"

struct event;

enum { ITEM_MAGIC = 0x7c412001, SHOT_MAGIC = 0x7c412002, OUTLET_MAGIC = 0x7c412003 };

struct part {
    uint32_t number;
    struct tg_log *log;
    struct tg_cursors *cursors;
    struct tg_engine *engine;
    struct tg_reaper *reaper;
    bool saving;
    size_t settled;      /* since the last save began */
    uint64_t held, mark; /* the log is released to there once its messageIds up to the mark are kept */
    struct tg_told told; /* that cursors cannot be saved; see told.h */
};

struct tg_engine {
    struct tg_engine_options o;
    struct tg_shared *own_shared;
    struct part *parts;
    struct outlet *outlets;
    struct event *pump, *tick, *again;
    struct outlet *ready, **ready_tail; /* outlets with work, in turn */
    struct item *touched;
    struct item *unwritten; /* items whose state write failed: tried again by `again` */
    size_t writing;         /* state writes under way */
    bool write_fails;       /* one has failed, and none has succeeded since */
    struct tg_told told;    /* that it does; see told.h */
    int64_t apart;          /* of the clocks, at the last tick */
    int64_t generation;
    uint64_t random;
    bool has_begun; /* the start's destinations are there */
    unsigned ticks;
    bool stopping, stopped;
    int64_t stop_at;
    void (*stop_done)(void *arg);
    void *stop_arg;
    struct tg_poison poison;
    struct tg_forgotten forgotten;
    tg_shared_cell **clear; /* of each worker: tg_forgotten_clear */
    struct tg_forget_cells forget;
    tg_shared_cell *forget_seen; /* ours */
    int64_t forget_read;         /* the epoch as of which the tombstones were read last */
    int64_t forget_said;         /* the one that forget_seen is about to say */
    bool forget_saying;
    int64_t forget_again_us; /* mono: not read again before */
    tg_cell *forgotten_users;
};

/* One destination's way through one partition. */
struct lane {
    struct part *part;
    struct tg_cursor *cursor;
    struct tg_log_reader *reader;
    bool rewind; /* events were given back: read again from the cursor */
    size_t n_busy;
    unsigned char busy[TG_CURSOR_WINDOW / 8]; /* sequences being worked on, modulo the window */
};

/* The destination's ceilings, 0: none; see quota.h, dead_quota.h. */
struct quota {
    uint64_t backlog_bytes; /* in this worker's partitions */
    int64_t backlog_age;    /* ms */
    bool drop_backlog;      /* else dead letters */
    int64_t again_at;       /* mono ms: not looked at before, because nothing could be shed */
    size_t n_shedding;      /* events on their way from the backlog into the dead letters */
    uint64_t dead_bytes;    /* of all workers */
    uint64_t dead_used;     /* of all workers, as the state said last */
    bool drop_dead;         /* else nothing more is accepted */
    bool dead_changed, asking;
    bool asking_rows;          /* for the oldest retries */
    int64_t rows_again_at;     /* mono ms: not asked before */
    tg_shared_cell *dead_full; /* shared: 1 while nothing may be accepted */
};

struct outlet {
    unsigned magic;
    struct tg_engine *engine;
    struct outlet *next, *ready_next;
    bool is_ready;
    char *name;
    struct script *script; /* NULL: none loaded (disabled) */
    bool enabled, removed;
    char **sources, **consent;
    size_t n_sources, n_consent;
    char *filter; /* JSON text, or NULL */
    char *settings;
    int64_t settings_since; /* generation that brought them; 0: the first */
    unsigned resumes;       /* how often it was told to go on, at this worker */
    unsigned concurrency;
    int64_t timeout_ms;
    struct tg_backoff backoff;

    struct lane *lanes; /* one for each part */
    size_t at_lane;
    struct item *items; /* all of them */
    size_t n_items, item_bytes;
    struct item *waiting, **waiting_tail; /* fetched retry rows, and items to run once more */
    bool fresh_turn;                      /* the log's turn before the retry rows' */

    struct tg_batcher batcher;
    struct shot *queue, *queue_last, *sent;
    size_t n_sent;
    size_t n_stale; /* events run again because their token had ended, since one was sent in time */

    struct tg_breaker breaker;
    tg_shared_cell *circuit, *probe; /* shared: see circuit.h */
    int64_t circuit_seen, probe_until;
    tg_shared_cell *strikes; /* see deliver/judge.h */
    struct quota quota;
    bool shedding;      /* while a record is read only to see whether it must go */
    int64_t oldest_age; /* ms, as of the last tick */
    /* Shared: parked, held by the operator, paused until (mono ms). 0: nobody has said anything since the
     * relay's start, and only then does what the state holds count; TG_CELL_OFF: it is not. */
    tg_shared_cell *parked, *held, *paused;
    char park_reason[TG_REASON_MAX];
    char ails[TG_MESSAGE_MAX]; /* the answer by which the breaker opened at this worker, for people */
    char why[TG_MESSAGE_MAX];  /* the answer by which it was parked or paused, for people; empty: not known
                                  here */
    int64_t paused_until;      /* wall ms, for people */

    int64_t next_due; /* wall ms of the next retry row; INT64_MIN: not known */
    bool asking;
    int64_t n_retries, retry_bytes; /* of this worker's partitions */
    size_t n_rows;                  /* of these in hand */
    int64_t oldest_retry;           /* received at; of the rows seen since there were none; INT64_MAX: none */
    int64_t rate_wake;              /* mono ms; INT64_MAX: no request waits for a rate */
    int64_t again_at;               /* mono ms: something failed that may work then; INT64_MAX: nothing */
    struct event *timer;
    int64_t deficit_us;
    struct tg_rest rest; /* a script call took so much more than its share */
    int64_t took_at;     /* mono ms: it took up an event */
    struct {
        struct tg_told_reasons retry, dead, dropped;
        struct tg_told breaker, wait, slow;
        bool away; /* said, and not yet that it is over */
    } told;
    struct tg_counters counters;
};

enum item_state { ITEM_WAITING, ITEM_RUNNING, ITEM_WRITING };
enum item_write {
    WRITE_NONE,
    WRITE_PUT_RETRY,
    WRITE_UPDATE_RETRY,
    WRITE_DELETE_RETRY,
    WRITE_PUT_DEAD,
    WRITE_RETRY_TO_DEAD
};

enum { TG_RESPONSES_MAX = 128 << 10 }; /* of answers kept for the next attempt */
struct item {
    unsigned magic;
    struct outlet *outlet;
    struct item *next, *prev; /* outlet->items */
    struct item *queue_next;  /* outlet->waiting, engine->touched's own below, engine->unwritten */
    struct item *touch_next;
    bool is_touched;
    enum item_state state;
    struct script *script; /* while it runs */
    struct lane *lane;     /* NULL: from the retry set */
    uint32_t partition;
    uint64_t seq;
    int64_t retry_id;
    int64_t row_bytes; /* what its row counts for in outlet->retry_bytes */
    uint32_t attempts; /* failed ones so far */
    int64_t first_failure, budget_used, received_at, taken_at;
    struct tg_str header, body; /* in `mem` */
    struct tg_buf responses;    /* of earlier attempts */
    struct tg_event event;
    struct tg_event shown;  /* what the filter leaves of it: what the script sees */
    struct tg_buf filtered; /* its bytes */
    struct tg_str options;

    struct tg_run *run;
    struct delivery *deliveries;
    size_t n_open, n_sent; /* deliveries not done; of these on the wire */
    bool any_ok;           /* a delivery has succeeded since the event was taken up: no row knows of it yet */
    bool delivered;        /* anything was asked for */
    bool hurries;          /* it has waited its time: what it asks for goes to the front */
    bool ended, skipped, rerun, probe, shed;
    bool renewed; /* run again because of a 401, with a fresh token */
    unsigned memory_strikes;

    bool failed;
    enum tg_outcome outcome;
    char reason[TG_REASON_MAX];
    char *message;
    int status;
    int64_t retry_after;
    struct tg_buf request_text, response_text;

    enum item_write write;
    int64_t due;
    size_t bytes;
    char mem[];
};

enum delivery_state { DELIVERY_BATCHED, DELIVERY_QUEUED, DELIVERY_SENT };
struct delivery {
    struct item *item;
    struct delivery *next; /* item->deliveries */
    struct tg_request *request;
    enum delivery_state state;
    struct shot *shot;
};

struct shot {
    unsigned magic;
    struct outlet *outlet;
    struct script *script;
    struct shot *next, *prev;
    struct delivery **deliveries;
    size_t n;
    bool is_batch;
    int64_t born;              /* mono ms */
    unsigned resumes;          /* of the outlet, as it was sent */
    struct tg_request *joined; /* of a batch, once it is sent; NULL: the delivery's own */
    struct tg_client_call *call;
    bool probe;
    uint64_t *keys;         /* of its deliveries, as in leases.h, sorted; NULL: not asked for yet, or none */
    size_t n_keys, keys_of; /* the latter: of how many deliveries */
    int64_t leased_until;   /* 0: no leases are held */
};

#endif
