/* One destination: where it stands in each partition, whether it may send, and its turn of the worker's time.
 *
 * Reading: each lane has a cursor and a reader. A record that is not for the destination settles at once; one
 * that is becomes an item and is marked busy. Items may be given back (deliver/item.c); then the lane reads
 * again from its cursor and steps over what is settled or busy. Sequences that are missing (damaged records,
 * numbering that went on after a restart) count as settled.
 *
 * Retry rows are fetched when they are due, a few at a time, and take turns with the log. */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "deliver/gate.h"

#include <assert.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
    WINDOW_EVENTS = 1024,
    WINDOW_BYTES = 4 << 20,
    DUE_ROWS = 64,
    RECORDS_A_TURN = 1000,
    SHED_PAUSE_MS = 1000,
    AGAIN_MS = 100,
    SLOW_MS = 50,
};

/* --- birth and end --- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct outlet *o = arg;
    assert(o->magic == OUTLET_MAGIC);
    tg_outlet_wake(o);
}

static int find_cells(struct outlet *o)
{
    struct tg_shared *s = o->engine->o.shared;
    struct tg_str name = tg_str_of(o->name);
    o->parked = tg_shared_cell_of(s, "parked", name);
    o->held = tg_shared_cell_of(s, "held", name);
    o->paused = tg_shared_cell_of(s, "paused", name);
    o->quota.dead_full = tg_shared_cell_of(s, "dead_full", name);
    o->strikes = tg_shared_cell_of(s, "strikes", name);
    if (!o->parked || !o->held || !o->paused || !o->quota.dead_full || !o->strikes)
        return TG_NOMEM;
    return tg_circuit_find(o);
}

struct outlet *tg_outlet_new(struct tg_engine *e, const char *name)
{
    struct outlet *o = tg_calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->magic = OUTLET_MAGIC;
    o->engine = e;
    o->waiting_tail = &o->waiting;
    o->breaker.ramp = TG_RAMP_FROM; /* after a start the partner is not run over either */
    o->next_due = INT64_MIN;
    o->rate_wake = o->again_at = o->oldest_retry = INT64_MAX;
    o->name = tg_strdup(name);
    o->lanes = tg_calloc(e->o.n_parts ? e->o.n_parts : 1, sizeof *o->lanes);
    o->timer = evtimer_new(e->o.base, on_timer, o);
    if (!o->name || !o->lanes || !o->timer || find_cells(o) != TG_OK ||
        tg_counters_init(&o->counters, e->o.metrics, name) != TG_OK)
        tg_outlet_free(&o);
    return o;
}

/* Frees the destination with its last user. */
void tg_outlet_drop_script(struct script **p)
{
    struct script *script = *p;
    *p = NULL;
    if (!script || --script->users > 0)
        return;
    if (script->dest)
        tg_dest_free(&script->dest);
    tg_free(script);
}

static void free_strings(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_free(v[i]);
    tg_free(v);
}

/* Its items must be gone or may be dropped; it must not be asking the state. */
void tg_outlet_free(struct outlet **p)
{
    struct outlet *o = *p;
    *p = NULL;
    tg_shot_cancel_all(o);
    while (o->items) {
        struct item *item = o->items;
        tg_item_free(&item);
    }
    tg_batcher_fini(&o->batcher);
    for (size_t i = 0; o->lanes && i < o->engine->o.n_parts; i++)
        if (o->lanes[i].reader)
            tg_log_reader_close(&o->lanes[i].reader);
    if (o->timer)
        event_free(o->timer);
    tg_outlet_drop_script(&o->script);
    tg_counters_fini(&o->counters);
    free_strings(o->sources, o->n_sources);
    free_strings(o->consent, o->n_consent);
    tg_free(o->filter);
    tg_free(o->settings);
    tg_free(o->lanes);
    tg_free(o->name);
    o->magic = 0;
    tg_free(o);
}

int tg_outlet_attach(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    for (size_t i = 0; i < e->o.n_parts; i++) {
        struct lane *lane = &o->lanes[i];
        struct tg_err err = {0};
        lane->part = &e->parts[i];
        lane->cursor = tg_cursors_find(lane->part->cursors, o->name);
        if (lane->cursor) {
            tg_reaper_spare(lane->part->reaper, o->name);
            tg_cursor_set_removed_at(lane->cursor, 0);
            continue;
        }
        /* New: it begins at the next event. But where the cursors were lost, at the first that is stored:
         * those of the start may not be new at all; what a reload adds is. */
        const struct tg_log *log = lane->part->log;
        bool lost = tg_cursors_fresh(lane->part->cursors) && !e->has_begun;
        uint64_t low = lost ? tg_log_first(log) : tg_log_last(log) + 1;
        int rc = tg_cursors_add(lane->part->cursors, o->name, low, &lane->cursor, &err);
        if (rc != TG_OK)
            return rc;
        lane->part->settled++;
    }
    return TG_OK;
}

/* --- open or not --- */

bool tg_outlet_is_parked(const struct outlet *o)
{
    return atomic_load(o->parked) > 0;
}

bool tg_outlet_is_held(const struct outlet *o)
{
    return atomic_load(o->held) > 0;
}

bool tg_outlet_open(struct outlet *o)
{
    if (!o->enabled || o->removed || !o->script || o->engine->stopping)
        return false;
    int64_t paused = atomic_load(o->paused); /* hardly ever is a clock needed */
    return !tg_outlet_is_parked(o) && !tg_outlet_is_held(o) && (paused <= 0 || paused <= tg_mono_ms());
}

static void put_fact(struct outlet *o, const char *kind, struct tg_str value)
{
    int rc = tg_state_put_fact(o->engine->o.state, kind, o->name, value, NULL, NULL);
    if (rc != TG_OK)
        tg_warn("could not be noted for the next start", TG_FS("what", kind), TG_FS("destination", o->name),
                TG_FS("error", tg_code_text(rc)));
}

/* For people, now and after a restart. */
static void note_why(struct outlet *o, const char *why)
{
    snprintf(o->why, sizeof o->why, "%s", why ? why : "");
    put_fact(o, "why", tg_str_of(o->why));
}

void tg_outlet_park(struct outlet *o, const char *reason, const char *why)
{
    if (atomic_exchange(o->parked, 1) == 1)
        return;
    note_why(o, why);
    struct tg_buf fact = TG_BUF_INIT(4096);
    snprintf(o->park_reason, sizeof o->park_reason, "%s", reason);
    tg_gauge(o->counters.parked, 1);
    tg_error("destination parked: repair it, then `tidegate resume`", TG_FS("destination", o->name),
             TG_FS("reason", reason), TG_FS("answer", why));
    if (tg_buf_adds(&fact, reason) == TG_OK)
        put_fact(o, "park", tg_buf_str(&fact));
    tg_buf_fini(&fact);
    tg_outlet_touch_all(o);
}

void tg_outlet_touch_all(struct outlet *o)
{
    for (struct item *item = o->items; item; item = item->next)
        tg_engine_touch(o->engine, item);
}

void tg_outlet_pause(struct outlet *o, int64_t ms, const char *why)
{
    int64_t until = tg_mono_ms() + ms, old = atomic_load(o->paused);
    while (old < until && !atomic_compare_exchange_weak(o->paused, &old, until))
        ;
    if (old >= until)
        return;
    o->paused_until = tg_wall_ms() + ms;
    char text[32];
    int n = snprintf(text, sizeof text, "%lld", (long long)o->paused_until);
    bool parked = tg_outlet_is_parked(o); /* which is what a person has to know */
    if (!parked)
        snprintf(o->why, sizeof o->why, "%s", why);
    /* Short ones are over before anybody could restart. */
    if (ms < 2000)
        return;
    put_fact(o, "pause", tg_str_n(text, (size_t)n));
    if (!parked)
        note_why(o, why);
}

void tg_outlet_hold(struct outlet *o, bool hold)
{
    atomic_store(o->held, hold ? 1 : TG_CELL_OFF);
    put_fact(o, "hold", hold ? TG_STR("1") : (struct tg_str){0});
}

void tg_outlet_resume(struct outlet *o)
{
    atomic_store(o->parked, TG_CELL_OFF);
    atomic_store(o->paused, TG_CELL_OFF);
    tg_gauge(o->counters.parked, 0);
    o->park_reason[0] = 0;
    o->paused_until = 0;
    note_why(o, NULL);
    atomic_store(o->strikes, 0);
    tg_circuit_reset(o);
    o->next_due = INT64_MIN;
    put_fact(o, "park", (struct tg_str){0});
    put_fact(o, "pause", (struct tg_str){0});
    tg_outlet_hold(o, false);
    tg_outlet_wake(o);
}

/* What waits to run once more has its room already. */
static bool is_full(const struct outlet *o)
{
    return o->n_items >= WINDOW_EVENTS || (o->n_items && o->item_bytes >= WINDOW_BYTES);
}

/* Room for one more event. While the breaker is half-open, one at a time. */
static bool may_take(struct outlet *o, int64_t now)
{
    if (!tg_outlet_open(o))
        return false;
    if (!o->waiting && is_full(o))
        return false;
    if (tg_breaker_window(&o->breaker, o->concurrency, now) == 0)
        return false;
    return o->breaker.state == TG_BREAKER_CLOSED ||
           (o->queue == NULL && o->n_sent == 0 && o->batcher.n_open == 0);
}

/* --- the log --- */

static bool is_busy(const struct lane *lane, uint64_t seq)
{
    size_t bit = seq % TG_CURSOR_WINDOW;
    return lane->busy[bit / 8] & (1u << (bit % 8));
}

static void set_busy(struct lane *lane, uint64_t seq)
{
    size_t bit = seq % TG_CURSOR_WINDOW;
    lane->busy[bit / 8] |= (unsigned char)(1u << (bit % 8));
    lane->n_busy++;
}

/* Something failed that has nothing to do with the event (memory, the disk). */
static void try_again_soon(struct outlet *o)
{
    o->again_at = tg_mono_ms() + AGAIN_MS;
}

static bool position(struct outlet *o, struct lane *lane)
{
    struct tg_err err = {0};
    if (lane->reader && !lane->rewind)
        return true;
    if (lane->reader)
        tg_log_reader_close(&lane->reader);
    if (tg_log_reader_open(lane->part->log, tg_cursor_low(lane->cursor), &lane->reader, &err) != TG_OK) {
        tg_warn("log cannot be read", TG_FS("destination", o->name), TG_FS("error", err.msg));
        try_again_soon(o);
        return false;
    }
    lane->rewind = false;
    return true;
}

/* Sequences from `at` to below `seq` do not exist. */
static void settle_gap(struct lane *lane, uint64_t at, uint64_t seq)
{
    if (tg_cursor_low(lane->cursor) >= at && tg_cursor_low(lane->cursor) < seq) {
        tg_cursor_settle_below(lane->cursor, seq);
        return;
    }
    for (; at < seq && at < tg_cursor_limit(lane->cursor); at++)
        tg_cursor_settle(lane->cursor, at);
}

enum taken { TAKEN_NOTHING, TAKEN_SKIPPED, TAKEN_ITEM };

static void skip(struct outlet *o, struct lane *lane, uint64_t seq, const char *reason)
{
    tg_counters_event(&o->counters, TG_COUNT_SKIPPED, reason);
    tg_cursor_settle(lane->cursor, seq);
    tg_engine_settled(lane->part);
}

/* An event that has brought the process down twice is not run again. */
static void refuse_poison(struct item *item)
{
    const char *reason = tg_poison_of(&item->outlet->engine->poison, item->outlet->name, item->seq);
    if (reason)
        tg_item_fail(item, TG_OUTCOME_REJECT, reason, "the script did not survive this event, twice", 0);
}

static void move_span(struct tg_str *s, struct tg_str from, struct tg_str to)
{
    if (s->n && s->p >= from.p && s->p < from.p + from.n)
        s->p = to.p + (s->p - from.p);
}

/* The spans of an event that point into the record, made to point into the item's copy of it. */
static void move_event(struct item *item, const struct tg_record *record, const struct tg_event *event,
                       struct tg_str options)
{
    struct tg_event *to = &item->event;
    *to = *event;
    item->options = options;
    struct tg_str *spans[] = {&to->source, &to->message_id, &to->user_id,      &to->anonymous_id,
                              &to->name,   &to->context,    &to->integrations, &to->bundled,
                              &to->body,   &item->options};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        move_span(spans[i], record->header, item->header);
        move_span(spans[i], record->body, item->body);
    }
}

static struct item *item_of(struct outlet *o, struct lane *lane, const struct tg_record *record)
{
    struct item *item = tg_item_new(o, record->header, record->body);
    if (!item) {
        lane->rewind = true;
        try_again_soon(o);
        return NULL;
    }
    item->lane = lane;
    item->seq = record->seq;
    item->partition = lane->part->number;
    item->received_at = record->received_at;
    set_busy(lane, record->seq);
    return item;
}

/* More waits than may: this one is the oldest. */
static enum taken shed_record(struct outlet *o, struct lane *lane, const struct tg_record *record,
                              const struct tg_event *event, const char *reason, struct item **out)
{
    if (o->quota.drop_backlog) {
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, reason);
        tg_cursor_settle(lane->cursor, record->seq);
        tg_engine_settled(lane->part);
        return TAKEN_SKIPPED;
    }
    struct item *item = item_of(o, lane, record);
    if (!item)
        return TAKEN_NOTHING;
    move_event(item, record, event, (struct tg_str){0});
    item->shed = true;
    o->quota.n_shedding++;
    tg_item_fail(item, TG_OUTCOME_REJECT, reason, tg_quota_message(reason), 0);
    *out = item;
    return TAKEN_ITEM;
}

static enum taken take_record(struct outlet *o, struct lane *lane, const struct tg_record *record,
                              struct item **out)
{
    struct tg_event event;
    struct tg_str options = {0};
    struct tg_err err = {.code = 0};
    bool readable = tg_event_decode(record->header, record->body, &event, &err) == TG_OK;
    const struct tg_gate_rules rules = {o->sources, o->n_sources, o->consent, o->n_consent};
    const char *why = NULL;
    if (readable && tg_forgotten_hides(&o->engine->forgotten, &event))
        why = "forgotten";
    else if (readable)
        why = tg_gate(o->script->dest, &rules, &event, &options);
    if (why) {
        skip(o, lane, record->seq, why);
        return TAKEN_SKIPPED;
    }
    const char *refused = readable ? tg_quota_refuses(o, lane, record) : NULL;
    if (refused)
        return shed_record(o, lane, record, &event, refused, out);
    if (o->shedding && readable) {
        lane->rewind = true;
        return TAKEN_NOTHING;
    }
    struct item *item = item_of(o, lane, record);
    if (!item)
        return TAKEN_NOTHING;
    refuse_poison(item);
    if (!readable)
        tg_item_fail(item, TG_OUTCOME_REJECT, "corrupt_event", err.msg, 0);
    else
        move_event(item, record, &event, options);
    *out = item;
    return TAKEN_ITEM;
}

static enum taken take_from_lane(struct outlet *o, struct lane *lane, struct item **out)
{
    struct tg_record record;
    struct tg_err err = {0};
    if (!position(o, lane))
        return TAKEN_NOTHING;
    uint64_t at = tg_log_reader_at(lane->reader);
    if (at >= tg_cursor_limit(lane->cursor))
        return TAKEN_NOTHING;
    int rc = tg_log_reader_next(lane->reader, &record, &err);
    if (rc < 0) {
        tg_warn("log cannot be read", TG_FS("destination", o->name), TG_FS("error", err.msg));
        try_again_soon(o);
    }
    if (rc <= 0)
        return TAKEN_NOTHING;
    settle_gap(lane, at, record.seq);
    if (record.seq < tg_cursor_low(lane->cursor) || tg_cursor_settled(lane->cursor, record.seq))
        return TAKEN_SKIPPED;
    if (record.seq >= tg_cursor_limit(lane->cursor)) {
        lane->rewind = true; /* a wide gap: again when the events before it are done */
        return TAKEN_NOTHING;
    }
    if (is_busy(lane, record.seq))
        return TAKEN_SKIPPED;
    return take_record(o, lane, &record, out);
}

static enum taken take_from_log(struct outlet *o, struct item **out)
{
    size_t n = o->engine->o.n_parts;
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = &o->lanes[o->at_lane];
        enum taken taken = take_from_lane(o, lane, out);
        if (taken != TAKEN_NOTHING)
            return taken;
        o->at_lane = (o->at_lane + 1) % n;
    }
    return TAKEN_NOTHING;
}

/* --- the retry set --- */

/* Keeps count and age of the retry set without asking the state. The age is that of the oldest row since the
 * set was last empty. */
void tg_outlet_saw_retry(struct outlet *o, int64_t received_at, int64_t more, int64_t bytes)
{
    o->n_retries += more;
    o->retry_bytes += bytes;
    if (received_at < o->oldest_retry)
        o->oldest_retry = received_at;
    if (o->n_retries <= 0) {
        o->oldest_retry = INT64_MAX;
        o->retry_bytes = 0;
    }
}

struct item *tg_outlet_item_of_row(struct outlet *o, const struct tg_retry *row)
{
    struct tg_err err = {0};
    struct item *item = tg_item_new(o, row->header, row->body);
    if (!item)
        return NULL;
    o->n_rows++;
    item->retry_id = row->id;
    item->row_bytes = (int64_t)(row->header.n + row->body.n + row->responses.n + strlen(row->source) +
                                strlen(row->message_id) + strlen(row->reason)) +
                      256;
    item->partition = row->partition;
    item->seq = row->seq;
    item->attempts = row->attempts;
    item->first_failure = row->first_failure;
    item->budget_used = row->budget_used;
    item->received_at = row->received_at;
    if (tg_event_decode(item->header, item->body, &item->event, &err) != TG_OK)
        tg_item_fail(item, TG_OUTCOME_REJECT, "corrupt_event", err.msg, 0);
    return item;
}

static void take_row(struct outlet *o, const struct tg_retry *row)
{
    struct item *item = tg_outlet_item_of_row(o, row);
    if (!item) {
        o->next_due = INT64_MIN;
        return;
    }
    tg_outlet_saw_retry(o, row->received_at, 0, 0);
    refuse_poison(item);
    if (tg_buf_addstr(&item->responses, row->responses) != TG_OK)
        tg_buf_clear(&item->responses);
    *o->waiting_tail = item;
    o->waiting_tail = &item->queue_next;
}

static void on_due(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                   int64_t total)
{
    struct outlet *o = arg;
    assert(o->magic == OUTLET_MAGIC);
    o->asking = false;
    if (status != TG_OK) {
        o->next_due = tg_wall_ms() + 1000;
        tg_warn("retry set cannot be read", TG_FS("destination", o->name),
                TG_FS("error", tg_code_text(status)));
        return;
    }
    /* Rows written meanwhile have lowered next_due themselves. */
    int64_t then = next_due == TG_NO_TIME ? INT64_MAX : next_due;
    o->next_due = o->next_due == INT64_MAX || then < o->next_due ? then : o->next_due;
    o->n_retries = total;
    for (size_t i = 0; i < n && !o->removed; i++)
        take_row(o, &rows[i]);
    tg_outlet_wake(o);
}

/* No row is written with a longer delay. */
static int64_t longest_delay(const struct outlet *o)
{
    int64_t ms = o->backoff.max_ms > o->backoff.deadline_ms ? o->backoff.max_ms : o->backoff.deadline_ms;
    return (ms > TG_PAUSE_MAX_MS ? ms : TG_PAUSE_MAX_MS) + 1000;
}

static void ask_for_due(struct outlet *o, int64_t now)
{
    struct tg_engine *e = o->engine;
    size_t n = 0;
    /* The clock has gone back since that row was written: it is not to wait for so long. */
    if (o->next_due != INT64_MAX && o->next_due != INT64_MIN && o->next_due - now > longest_delay(o))
        now = o->next_due;
    if (o->asking || o->quota.asking_rows || o->next_due > now || o->waiting)
        return;
    int64_t *busy = tg_calloc(o->n_items ? o->n_items : 1, sizeof *busy);
    if (!busy) {
        try_again_soon(o);
        return;
    }
    for (const struct item *item = o->items; item; item = item->next)
        if (item->retry_id)
            busy[n++] = item->retry_id;
    o->next_due = INT64_MAX;
    o->asking = true;
    int rc = tg_state_due_retries(e->o.state, o->name, e->o.worker, e->o.workers, now, DUE_ROWS, busy, n,
                                  on_due, o);
    tg_free(busy);
    if (rc != TG_OK)
        on_due(o, rc, NULL, 0, TG_NO_TIME, 0);
}

static struct item *take_waiting(struct outlet *o)
{
    struct item *item = o->waiting;
    if (!item)
        return NULL;
    o->waiting = item->queue_next;
    if (!o->waiting)
        o->waiting_tail = &o->waiting;
    item->queue_next = NULL;
    return item;
}

/* --- a turn --- */

/* From the retry set and the log by turns, so that neither keeps the other waiting. */
static enum taken take(struct outlet *o, struct item **out)
{
    o->fresh_turn = !o->fresh_turn;
    if ((!o->fresh_turn || is_full(o)) && (*out = take_waiting(o)))
        return TAKEN_ITEM;
    enum taken taken = take_from_log(o, out);
    if (taken == TAKEN_NOTHING && (*out = take_waiting(o)))
        taken = TAKEN_ITEM;
    return taken;
}

void tg_outlet_give_back_unsent(struct outlet *o)
{
    struct item *item;
    while ((item = take_waiting(o)))
        tg_item_put_back(item);
    tg_outlet_touch_all(o);
    tg_engine_check(o->engine);
}

void tg_outlet_remove(struct outlet *o)
{
    o->removed = true;
    atomic_store(o->quota.dead_full, 0);
    tg_outlet_give_back_unsent(o);
}

/* What script time is measured by. */
int64_t tg_outlet_clock_us(const struct outlet *o)
{
    return o->rest.suspect ? tg_thread_cpu_us() : tg_mono_us();
}

static bool take_up(struct outlet *o, int64_t now)
{
    int64_t (*const clock)(void) = o->rest.suspect ? tg_thread_cpu_us : tg_mono_us;
    int64_t before = clock();
    for (int i = 0; i < RECORDS_A_TURN && may_take(o, now); i++) {
        if (o->deficit_us <= 0)
            return true;
        struct item *item = NULL;
        enum taken taken = take(o, &item);
        if (taken == TAKEN_NOTHING)
            return false;
        if (taken == TAKEN_ITEM) {
            o->took_at = now;
            o->rest.suspect -= o->rest.suspect > 0;
            tg_item_start(item);
            tg_engine_check(o->engine);
        }
        int64_t after = clock();
        o->deficit_us -= after - before;
        before = after;
        if (i == RECORDS_A_TURN - 1)
            return true;
    }
    return false;
}

/* Takes the oldest events out of a backlog that is over its ceiling, whether the destination may send or not.
 */
static bool shed(struct outlet *o, struct lane *lane, int64_t now)
{
    for (int i = 0;
         i < RECORDS_A_TURN && o->quota.n_shedding < TG_SHED_EVENTS && tg_quota_wants(o, lane, now); i++) {
        struct item *item = NULL;
        o->shedding = true;
        enum taken taken = take_from_lane(o, lane, &item);
        o->shedding = false;
        if (taken == TAKEN_NOTHING) {
            o->quota.again_at = now + SHED_PAUSE_MS;
            return false;
        }
        if (taken == TAKEN_ITEM) {
            tg_item_start(item);
            tg_engine_check(o->engine);
        }
    }
    return o->quota.n_shedding < TG_SHED_EVENTS && tg_quota_wants(o, lane, now);
}

/* Mono ms when another destination last took up an event; 0: never. */
static int64_t others_at(const struct outlet *o)
{
    int64_t at = 0;
    for (const struct outlet *other = o->engine->outlets; other; other = other->next)
        if (other != o && other->took_at > at)
            at = other->took_at;
    return at;
}

/* A script call that took more than its slice is paid back in time, not only in turns, for the others may be
 * waiting for their sockets and have no turns to give. */
static bool rests(struct outlet *o, int64_t us, int64_t now)
{
    if (o->deficit_us < -us) {
        int64_t over = -o->deficit_us, ms = tg_rest_begin(&o->rest, over, now);
        o->deficit_us = 0;
        if (ms >= SLOW_MS && tg_rest_ends(&o->rest, others_at(o)) > now)
            tg_tell_slow(o, over / 1000, ms);
    }
    return o->rest.until > now && tg_rest_ends(&o->rest, others_at(o)) > now;
}

bool tg_outlet_turn(struct outlet *o, int64_t us)
{
    int64_t now = tg_mono_ms();
    if (o->removed)
        return false;
    if (o->again_at <= now)
        o->again_at = INT64_MAX;
    if (tg_circuit_follow(o))
        tg_outlet_touch_all(o);
    if (tg_outlet_open(o)) {
        ask_for_due(o, tg_wall_ms());
        (void)tg_breaker_window(&o->breaker, o->concurrency, now); /* its time may be over */
    }
    bool over = false, more, resting = rests(o, us, now);
    o->deficit_us += us;
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        over = shed(o, &o->lanes[i], now) || over;
    tg_quota_shed_rows(o, now);
    more = !resting && take_up(o, now);
    if (!more && o->deficit_us > 0)
        o->deficit_us = 0;
    tg_shot_flush(o, now, false);
    tg_shot_send(o, now);
    tg_engine_check(o->engine);
    tg_outlet_set_timer(o);
    return more || over;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The next moment at which time alone changes something. An opened breaker and rows that are due change
 * nothing while the destination may not send or still has rows in hand: those moments may lie in the past,
 * and a timer for them would go off at once, again and again. */
void tg_outlet_set_timer(struct outlet *o)
{
    int64_t now = tg_mono_ms(), at = INT64_MAX;
    int64_t paused = atomic_load(o->paused);
    bool open = tg_outlet_open(o);
    if (o->batcher.open || o->batcher.ready)
        at = sooner(at, tg_batcher_due(&o->batcher));
    at = sooner(sooner(at, o->rate_wake), o->again_at);
    if (paused > now)
        at = sooner(at, paused);
    if (o->rest.until > now)
        at = sooner(at, tg_rest_ends(&o->rest, others_at(o)));
    if (open && o->breaker.state == TG_BREAKER_OPEN)
        at = sooner(at, o->breaker.until);
    bool may_ask = open && !o->waiting && !o->asking && !o->quota.asking_rows;
    if (may_ask && o->next_due != INT64_MAX && o->next_due != INT64_MIN)
        at = sooner(at, now + (o->next_due - tg_wall_ms()));
    if (at == INT64_MAX) {
        event_del(o->timer);
        return;
    }
    int64_t ms = at > now ? at - now : 1;
    if (ms > 3600000)
        ms = 3600000;
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    event_add(o->timer, &tv);
}
