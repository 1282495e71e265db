/* What the files of the delivery engine share. Nobody outside this room includes it.
 *
 *     engine   parts (log + cursors), outlets, turns
 *     outlet   one destination: readers, limits, breaker, queue of requests           outlet.c
 *     item     one event on its way through a destination                             item.c
 *     delivery one request that the item's run asked for                              shot.c
 *     shot     one HTTP request: one delivery, or a batch of them                     shot.c
 *
 * Callbacks of runs only change an item's fields and mark it as touched; what follows from that (settling,
 * writing, freeing) happens in tg_engine_check, when no script code is on the stack. */
#ifndef TG_DELIVER_INTERNAL_H
#define TG_DELIVER_INTERNAL_H

#include "deliver/backoff.h"
#include "deliver/batcher.h"
#include "deliver/breaker.h"
#include "deliver/counters.h"
#include "deliver/engine.h"
#include "deliver/forgotten.h"
#include "deliver/judge.h"
#include "deliver/poison.h"
#include "deliver/reaper.h"
#include "deliver/rest.h"
#include "deliver/tell.h"

struct event;
struct outlet;
struct shot;

enum { ITEM_MAGIC = 0x7c412001, SHOT_MAGIC = 0x7c412002, OUTLET_MAGIC = 0x7c412003 };

/* A loaded script, kept until the last item that began with it has gone. */
struct script {
    struct tg_dest *dest;
    size_t users;
    int64_t generation;
};

struct part {
    uint32_t number;
    struct tg_log *log;
    struct tg_cursors *cursors;
    struct tg_engine *engine;
    struct tg_reaper *reaper;
    bool saving;
    size_t settled;      /* since the last save began */
    struct tg_told told; /* that cursors cannot be saved; see tell.h */
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
    struct tg_told told;    /* that it does; see tell.h */
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

/* The destination's ceilings, 0: none; see quota.c. */
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
    tg_shared_cell *circuit, *probe; /* shared: see circuit.c */
    int64_t circuit_seen, probe_until;
    tg_shared_cell *strikes; /* see deliver/judge.h */
    struct quota quota;
    bool shedding;      /* while a record is read only to see whether it must go */
    int64_t oldest_age; /* ms, as of the last tick */
    /* Shared: parked, held by the operator, paused until (mono ms). 0: nobody has said anything since the
     * relay's start, and only then does what the state holds count; TG_CELL_OFF: it is not. */
    tg_shared_cell *parked, *held, *paused;
    char park_reason[TG_REASON_MAX];
    char why[TG_MESSAGE_MAX]; /* the answer by which it was parked or paused, for people; empty: not known
                                 here */
    int64_t paused_until;     /* wall ms, for people */

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
    struct tg_tell tell;
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
    struct tg_request *joined; /* of a batch, once it is sent; NULL: the delivery's own */
    struct tg_client_call *call;
    bool probe;
};

/* engine.c */
void tg_engine_wake(struct tg_engine *e);
void tg_engine_touch(struct tg_engine *e, struct item *item);
void tg_engine_check(struct tg_engine *e); /* handles touched items */
uint64_t tg_engine_random(struct tg_engine *e);
void tg_engine_settled(struct part *part);
void tg_engine_written(struct tg_engine *e); /* a write has succeeded */
void tg_engine_write_failed(struct tg_engine *e, struct item *item, int status, const char *why);

/* outlet.c */
struct outlet *tg_outlet_new(struct tg_engine *e, const char *name);
void tg_outlet_free(struct outlet **outlet);
TG_MUST_CHECK int tg_outlet_attach(struct outlet *o); /* cursors: found or added */
void tg_outlet_wake(struct outlet *o);
/* A turn: at most `us` of script time. True when more could be done at once. */
bool tg_outlet_turn(struct outlet *o, int64_t us);
void tg_outlet_set_timer(struct outlet *o);
int64_t tg_outlet_clock_us(const struct outlet *o); /* what script time is measured by */
enum { TG_CELL_OFF = -1 };
bool tg_outlet_is_parked(const struct outlet *o);
bool tg_outlet_is_held(const struct outlet *o);
bool tg_outlet_open(struct outlet *o); /* may send: enabled, not parked, held, paused */
/* why: "401 from POST https://…", without secrets; NULL: it was no answer. */
void tg_outlet_park(struct outlet *o, const char *reason, const char *why);
void tg_outlet_touch_all(
    struct outlet *o); /* every item is looked at again: may what it has not sent still go out? */
void tg_outlet_pause(struct outlet *o, int64_t ms, const char *why);
void tg_outlet_saw_retry(struct outlet *o, int64_t received_at, int64_t more, int64_t bytes);
struct item *tg_outlet_item_of_row(struct outlet *o, const struct tg_retry *row); /* NULL: no memory */
void tg_outlet_hold(struct outlet *o, bool hold);
void tg_outlet_resume(struct outlet *o);
/* What has not been sent goes back where it came from; what is on the wire is waited for. When it no longer
 * may send. */
void tg_outlet_give_back_unsent(struct outlet *o);
void tg_outlet_remove(struct outlet *o); /* gone from the configuration: gives back what can be, and ends when
                                            the rest is done */
void tg_outlet_drop_script(struct script **script);

/* item.c */
struct item *tg_item_new(struct outlet *o, struct tg_str header, struct tg_str body);
void tg_item_start(struct item *item);
/* The first failure counts; a park goes before a reject, a reject before a retry. */
void tg_item_fail(struct item *item, enum tg_outcome outcome, const char *reason, const char *message,
                  int status);
void tg_item_check(struct item *item);
/* What has not been sent will not be for long: the events wait in the log or the retry set instead. */
bool tg_item_stands_still(const struct outlet *o);
void tg_item_write(struct item *item);
void tg_item_give_back(struct item *item); /* as if it had never been taken up; frees it */
/* The same, but what it has been answered already is kept in a row, so that it is not asked again. */
void tg_item_put_back(struct item *item);
void tg_item_free(struct item **item);

/* shot.c */
TG_MUST_CHECK int tg_shot_add(struct item *item,
                              struct tg_request *request); /* takes the request when it succeeds */
void tg_shot_drop_unsent(struct item *item);
void tg_shot_flush(struct outlet *o, int64_t now, bool all); /* batches that are ready become shots */
void tg_shot_send(struct outlet *o, int64_t now);
void tg_shot_cancel_all(struct outlet *o);
void tg_delivery_free(struct delivery *d);

/* circuit.c */
enum { TG_RAMP_FROM = 2 }; /* requests at once after a start and after a resume, one more with each success */
TG_MUST_CHECK int tg_circuit_find(struct outlet *o); /* its shared cells */
int tg_circuit_recall(void *engine, const char *name, struct tg_str value);
/* What another worker has seen. True: it is open now, and every item of the outlet is to be looked at. */
TG_MUST_CHECK bool tg_circuit_follow(struct outlet *o);
/* Our breaker was in state `before` and may have left it: then all hear of it. */
void tg_circuit_changed(struct outlet *o, enum tg_breaker_state before);
/* False: half-open, and another worker's probe is under way. */
bool tg_circuit_may_probe(struct outlet *o, int64_t now);
void tg_circuit_probed(struct outlet *o); /* our probe has ended */
void tg_circuit_reset(struct outlet *o);  /* closed, for all, as a person wants it */

/* quota.c */
enum { TG_SHED_EVENTS = 256 }; /* of a destination on their way out at a time */
void tg_quota_set(struct outlet *o, const struct tg_destination_config *config);
/* The reason for which a record must not wait any longer, or NULL. */
const char *tg_quota_refuses(const struct outlet *o, const struct lane *lane, const struct tg_record *record);
const char *tg_quota_message(const char *reason); /* for the person */
/* Whether the next record of the lane should be looked at, even while the destination may not send. */
bool tg_quota_wants(const struct outlet *o, const struct lane *lane, int64_t now);
void tg_quota_shed_rows(struct outlet *o, int64_t now); /* of the retry set, while too much waits */
void tg_quota_ask(struct outlet *o);                    /* what do its dead letters and retries take? */
void tg_quota_tick(struct outlet *o);
/* What of its ceilings is left, bytes: of this worker's share of the backlog, where `in_log` lies in the log;
 * of the dead letters of all workers. */
uint64_t tg_quota_backlog_free(const struct outlet *o, uint64_t in_log);
uint64_t tg_quota_dead_free(const struct outlet *o);

/* dead.c */
/* What was asked and answered; `place`: a line "# …" that says where in a batch, or empty. */
void tg_dead_note(struct item *item, const char *place, const struct tg_request *request,
                  const struct tg_response *response);
int tg_dead_put(struct item *item, tg_state_done *done);
/* "429 from POST https://host/path", without secrets and query. Cut off where it is longer. */
void tg_dead_answer(const struct tg_request *request, const struct tg_response *response,
                    char text[TG_MESSAGE_MAX]);

#endif
