/* The engine's frame: its parts and outlets, who has the next turn, the set of destinations, saving and
 * stopping.
 *
 * A turn of the loop gives the outlets that have work a slice each of script time, in rotation (deficit round
 * robin), until a few milliseconds are gone; what is left is done in the next turn, after the sockets have
 * been looked at. */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SLICE_US = 1000,
    TURN_US = 4000,
    TICK_MS = 1000,
    AGAIN_MS = 200,
    LOOK_EVERY_TICKS = 60,
    SAVE_AFTER = 4096,
    CONCURRENCY_DEFAULT = 16,
    TIMEOUT_DEFAULT_MS = 30000,
    POISON_WINDOW_MS = 60000,
    POISON_EVENTS = 3,
    SAME_PAUSE_MS = 1000,
};

static void arm(struct event *ev, int64_t ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    event_add(ev, &tv);
}

uint64_t tg_engine_random(struct tg_engine *e)
{
    e->random ^= e->random << 13;
    e->random ^= e->random >> 7;
    e->random ^= e->random << 17;
    return e->random;
}

/* --- turns --- */

void tg_engine_wake(struct tg_engine *e)
{
    if (!evtimer_pending(e->pump, NULL))
        arm(e->pump, 0);
}

void tg_outlet_wake(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    if (o->is_ready)
        return;
    o->is_ready = true;
    o->ready_next = NULL;
    *e->ready_tail = o;
    e->ready_tail = &o->ready_next;
    tg_engine_wake(e);
}

static struct outlet *next_ready(struct tg_engine *e)
{
    struct outlet *o = e->ready;
    if (!o)
        return NULL;
    e->ready = o->ready_next;
    if (!e->ready)
        e->ready_tail = &e->ready;
    o->is_ready = false;
    return o;
}

static void unready(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    struct outlet **at = &e->ready;
    if (!o->is_ready)
        return;
    while (*at != o)
        at = &(*at)->ready_next;
    *at = o->ready_next;
    if (!*at)
        e->ready_tail = at;
    o->is_ready = false;
}

static void wake_all(struct tg_engine *e)
{
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_outlet_wake(o);
}

void tg_engine_touch(struct tg_engine *e, struct item *item)
{
    if (item->is_touched)
        return;
    item->is_touched = true;
    item->touch_next = e->touched;
    e->touched = item;
}

void tg_engine_check(struct tg_engine *e)
{
    while (e->touched) {
        struct item *item = e->touched;
        e->touched = item->touch_next;
        item->is_touched = false;
        tg_item_check(item);
    }
}

static void maybe_stopped(struct tg_engine *e);
static void follow_forgotten(struct tg_engine *e);
static void look(struct tg_engine *e);

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_engine *e = arg;
    int64_t until = tg_mono_us() + TURN_US;
    struct outlet *o;
    follow_forgotten(e);
    tg_engine_check(e);
    while (!e->stopped && (o = next_ready(e))) {
        if (tg_outlet_turn(o, SLICE_US))
            tg_outlet_wake(o);
        if (tg_mono_us() >= until)
            break;
    }
    for (size_t i = 0; !e->stopping && i < e->o.n_parts; i++)
        if (tg_reaper_hurries(e->parts[i].reaper))
            tg_reaper_step(e->parts[i].reaper, tg_wall_ms());
    if (e->ready)
        tg_engine_wake(e);
    maybe_stopped(e);
}

static void on_synced(void *arg)
{
    wake_all(arg);
}

/* --- saving --- */

static void on_saved(void *arg, int status)
{
    struct part *part = arg;
    part->saving = false;
    if (status != TG_OK) { /* tried again with the next tick */
        if (tg_tell_due(&part->told, tg_mono_ms()))
            tg_tell_warn(&part->told,
                         "cursors could not be saved: events may be delivered twice after a restart",
                         TG_FI("partition", part->number), TG_FS("error", tg_cursors_error(part->cursors)));
        return;
    }
    uint64_t low = tg_cursors_saved_low(part->cursors), end = tg_log_last(part->log) + 1;
    tg_log_release(part->log, low < end ? low : end);
}

static void save(struct part *part)
{
    if (part->saving)
        return;
    part->saving = true;
    part->settled = 0;
    tg_cursors_save(part->cursors, on_saved, part);
}

void tg_engine_settled(struct part *part)
{
    if (++part->settled >= SAVE_AFTER)
        save(part);
}

/* --- writes that failed --- */

void tg_engine_write_failed(struct tg_engine *e, struct item *item, int status, const char *why)
{
    /* The reserve is there for exactly these rows. */
    for (size_t i = 0; status == TG_FULL && i < e->o.n_parts; i++)
        tg_log_free_reserve(e->parts[i].log);
    if (tg_tell_due(&e->told, tg_mono_ms()))
        tg_tell_warn(&e->told, "state cannot be written; trying again",
                     TG_FS("destination", item->outlet->name),
                     TG_FS("error", why ? why : tg_code_text(status)));
    e->write_fails = true;
    item->queue_next = e->unwritten;
    e->unwritten = item;
    if (!evtimer_pending(e->again, NULL))
        arm(e->again, AGAIN_MS);
}

void tg_engine_written(struct tg_engine *e)
{
    if (!e->write_fails || e->unwritten)
        return;
    e->write_fails = false;
    tg_info("state is written again");
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_engine *e = arg;
    struct item *item = e->unwritten;
    e->unwritten = NULL;
    while (item) {
        struct item *next = item->queue_next;
        item->queue_next = NULL;
        tg_item_write(item);
        item = next;
    }
}

/* --- the tick --- */

static int64_t oldest_received(const struct outlet *o)
{
    int64_t oldest = o->oldest_retry;
    for (const struct item *item = o->items; item; item = item->next)
        if (item->received_at < oldest)
            oldest = item->received_at;
    return oldest;
}

static uint64_t backlog_events(const struct outlet *o)
{
    uint64_t n = 0;
    for (size_t i = 0; i < o->engine->o.n_parts; i++) {
        const struct lane *lane = &o->lanes[i];
        uint64_t end = tg_log_last(lane->part->log) + 1, low = tg_cursor_low(lane->cursor);
        uint64_t first = tg_log_first(lane->part->log); /* numbering may have jumped ahead of the cursor */
        low = low > first ? low : first;
        uint64_t above = tg_cursor_settled_above(lane->cursor);
        n += end > low + above ? end - low - above : 0;
    }
    return n;
}

/* Age of the oldest event that waits: of those in hand, or else of the next in the log. */
static int64_t oldest_age(struct outlet *o)
{
    int64_t oldest = oldest_received(o);
    for (size_t i = 0; i < o->engine->o.n_parts; i++) {
        struct lane *lane = &o->lanes[i];
        struct tg_log_reader *reader = NULL;
        struct tg_record record;
        if (lane->n_busy || tg_cursor_low(lane->cursor) > tg_log_last(lane->part->log))
            continue;
        if (tg_log_reader_open(lane->part->log, tg_cursor_low(lane->cursor), &reader, NULL) != TG_OK)
            continue;
        if (tg_log_reader_next(reader, &record, NULL) == 1 && record.received_at < oldest)
            oldest = record.received_at;
        tg_log_reader_close(&reader);
    }
    int64_t age = oldest == INT64_MAX ? 0 : tg_wall_ms() - oldest;
    return age > 0 ? age : 0;
}

static uint64_t backlog_bytes(const struct outlet *o)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        bytes += tg_log_bytes_from(o->lanes[i].part->log, tg_cursor_low(o->lanes[i].cursor));
    return bytes;
}

static void show(struct outlet *o)
{
    uint64_t in_log = backlog_bytes(o);
    tg_gauge(o->counters.backlog_bytes, (int64_t)in_log);
    tg_gauge(o->counters.backlog_free, (int64_t)tg_quota_backlog_free(o, in_log));
    tg_gauge(o->counters.dead_free, (int64_t)tg_quota_dead_free(o));
    tg_gauge(o->counters.backlog, (int64_t)backlog_events(o));
    o->oldest_age = oldest_age(o);
    tg_gauge(o->counters.oldest, o->oldest_age / 1000);
    tg_gauge(o->counters.retries, o->n_retries);
    tg_gauge(o->counters.retry_bytes, o->retry_bytes > 0 ? o->retry_bytes : 0);
    tg_gauge(o->counters.in_flight, (int64_t)o->n_sent);
    tg_gauge(o->counters.parked, tg_outlet_is_parked(o));
    int64_t left = atomic_load(o->paused) - tg_mono_ms();
    tg_gauge(o->counters.waiting, left > 0 ? (left + 999) / 1000 : 0);
    tg_gauge(o->counters.held, tg_outlet_is_held(o));
    tg_gauge(o->counters.breaker, o->breaker.state != TG_BREAKER_CLOSED);
}

static void drop_removed(struct tg_engine *e)
{
    for (struct outlet **at = &e->outlets; *at;) {
        struct outlet *o = *at;
        if (!o->removed || o->n_items || o->asking || o->quota.asking || o->quota.asking_rows) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        unready(o);
        tg_counters_clear(&o->counters);
        tg_outlet_free(&o);
    }
}

static int reload_forgotten(struct tg_engine *e)
{
    struct tg_err err = {0};
    int rc = tg_forgotten_load(&e->forgotten, e->o.state, tg_wall_ms(), &err);
    if (rc != TG_OK)
        tg_warn("tombstones of forgotten users could not be read",
                TG_FS("error", err.msg[0] ? err.msg : tg_code_text(rc)));
    return rc;
}

/* All that was being written when the tombstones were read is durable. */
static void on_flushed(void *arg, int status, const char *why)
{
    struct tg_engine *e = arg;
    (void)why;
    e->forget_saying = false;
    if (status == TG_OK)
        atomic_store(e->forget_seen, e->forget_said);
}

static void say_seen(struct tg_engine *e)
{
    if (e->forget_saying || atomic_load(e->forget_seen) == e->forget_read)
        return;
    e->forget_said = e->forget_read;
    e->forget_saying = tg_state_after_all(e->o.state, on_flushed, e) == TG_OK;
}

/* Somebody has left tombstones: what is in hand of those users goes. Reading them costs more the more there
 * are, so it is not done again before three times as long has passed. */
static void follow_forgotten(struct tg_engine *e)
{
    int64_t epoch = atomic_load(e->forget.epoch), began = tg_mono_us();
    if (epoch != e->forget_read && began >= e->forget_again_us && !e->stopping) {
        if (reload_forgotten(e) == TG_OK) {
            e->forget_read = epoch;
            for (struct outlet *o = e->outlets; o; o = o->next)
                tg_outlet_touch_all(o);
            tg_engine_check(e);
            look(e); /* rows may have gone */
        }
        e->forget_again_us = began + 4 * (tg_mono_us() - began);
    }
    say_seen(e);
}

void tg_engine_forgot(struct tg_engine *e, size_t users)
{
    tg_count(e->forgotten_users, (int64_t)users);
    atomic_fetch_add(e->forget.epoch, 1);
    atomic_fetch_add(e->forget.asked, 1);
    tg_engine_wake(e);
}

/* Removes tombstones that no worker needs any more; the first one does it. */
static void bury(struct tg_engine *e)
{
    int64_t clear = INT64_MAX;
    for (uint32_t i = 0; i < e->o.workers; i++) {
        int64_t at = atomic_load(e->clear[i]);
        clear = at < clear ? at : clear;
    }
    for (size_t i = 0; e->o.worker == 0 && i < e->forgotten.n; i++)
        if (e->forgotten.list[i].at <= clear && !e->forgotten.list[i].has_rows &&
            tg_state_put_fact(e->o.state, TG_FORGET_FACT, e->forgotten.list[i].name, (struct tg_str){0}, NULL,
                              NULL) != TG_OK)
            return; /* in a minute again */
}

/* Every minute. */
static void keep_forgotten(struct tg_engine *e)
{
    int64_t now = tg_wall_ms();
    if (tg_forgotten_is_stale(&e->forgotten, now))
        (void)reload_forgotten(e);
    for (size_t i = 0; i < e->o.n_parts; i++)
        tg_forgotten_look(&e->forgotten, i, tg_log_first(e->parts[i].log), tg_log_last(e->parts[i].log), now);
    atomic_store(e->clear[e->o.worker], tg_forgotten_clear(&e->forgotten));
    bury(e);
}

/* What may have changed without our doing. */
static void look(struct tg_engine *e)
{
    tg_poison_expire(&e->poison, e->o.state, tg_wall_ms());
    for (struct outlet *o = e->outlets; o; o = o->next) {
        o->next_due = INT64_MIN;
        tg_quota_ask(o);
    }
    wake_all(e);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_engine *e = arg;
    if (e->stopping) {
        maybe_stopped(e);
        return;
    }
    tg_tell_clock(&e->apart, tg_wall_ms(), tg_mono_ms());
    drop_removed(e);
    follow_forgotten(e);
    for (size_t i = 0; i < e->o.n_parts; i++) {
        tg_reaper_step(e->parts[i].reaper, tg_wall_ms());
        save(&e->parts[i]);
    }
    if (++e->ticks % LOOK_EVERY_TICKS == 0) {
        keep_forgotten(e);
        look(e);
    }
    for (struct outlet *o = e->outlets; o; o = o->next) {
        show(o);
        tg_quota_tick(o);
        if (tg_item_stands_still(o))
            tg_outlet_touch_all(o);
    }
    tg_engine_check(e);
    wake_all(e); /* another worker may have resumed or paused one */
}

/* --- birth and end --- */

static void count_removed(void *arg, const char *destination)
{
    struct tg_engine *e = arg;
    struct tg_buf labels = TG_BUF_INIT(1024);
    tg_engine_wake(e); /* it may want to go on */
    int rc = tg_metric_label(&labels, "destination", tg_str_of(destination));
    if (rc == TG_OK)
        rc = tg_metric_label(&labels, "reason", TG_STR("destination_removed"));
    const char *text = rc == TG_OK ? tg_buf_cstr(&labels) : NULL;
    if (text)
        tg_count(tg_metric(e->o.metrics, TG_COUNTER, TG_EVENTS_DEAD, TG_EVENTS_DEAD_HELP, text), 1);
    tg_buf_fini(&labels);
}

static bool hides(void *arg, const struct tg_event *event)
{
    return tg_forgotten_hides(&((struct tg_engine *)arg)->forgotten, event);
}

static int take_parts(struct tg_engine *e)
{
    e->parts = tg_calloc(e->o.n_parts ? e->o.n_parts : 1, sizeof *e->parts);
    if (!e->parts)
        return TG_NOMEM;
    for (size_t i = 0; i < e->o.n_parts; i++) {
        const struct tg_engine_part *p = &e->o.parts[i];
        e->parts[i] = (struct part){.number = p->number, .log = p->log, .cursors = p->cursors, .engine = e};
        struct tg_reaper_options r = {.state = e->o.state,
                                      .log = p->log,
                                      .cursors = p->cursors,
                                      .partition = p->number,
                                      .worker = e->o.worker,
                                      .workers = e->o.workers,
                                      .hides = hides,
                                      .ceiling = e->o.spool_bytes / 2 / (e->o.workers ? e->o.workers : 1),
                                      .counted = count_removed,
                                      .arg = e};
        if (tg_reaper_new(&r, &e->parts[i].reaper) != TG_OK)
            return TG_NOMEM;
        tg_log_on_synced(p->log, on_synced, e);
    }
    return TG_OK;
}

/* A worker that is started again knows less than the cells do: a resume of just now may not be in the state
 * yet. */
static void recall_cell(struct tg_engine *e, const char *kind, const char *name, int64_t value)
{
    tg_shared_cell *cell = tg_shared_cell_of(e->o.shared, kind, tg_str_of(name));
    int64_t not_known = 0;
    if (cell)
        (void)atomic_compare_exchange_strong(cell, &not_known, value);
}

static int recall_park(void *arg, const char *name, struct tg_str value)
{
    (void)value;
    recall_cell(arg, "parked", name, 1);
    return 0;
}

static int recall_hold(void *arg, const char *name, struct tg_str value)
{
    (void)value;
    recall_cell(arg, "held", name, 1);
    return 0;
}

static int recall_pause(void *arg, const char *name, struct tg_str value)
{
    char text[32] = "";
    memcpy(text, value.n ? value.p : "", value.n < sizeof text ? value.n : 0);
    int64_t left = strtoll(text, NULL, 10) - tg_wall_ms();
    /* No pause is that long: the clock has gone back. */
    if (left > 0 && left <= TG_PAUSE_MAX_MS)
        recall_cell(arg, "paused", name, tg_mono_ms() + left);
    return 0;
}

/* Rows that a relay before this one was ordered to remove, and was killed. */
static void resume_forgetting(struct tg_engine *e)
{
    bool wanted = false;
    for (size_t i = 0; i < e->forgotten.n; i++)
        wanted |= e->forgotten.list[i].has_rows;
    if (wanted)
        atomic_fetch_add(e->forget.asked, 1);
}

static int recall_forgotten(struct tg_engine *e, struct tg_err *err)
{
    int64_t epoch = atomic_load(e->forget.epoch);
    int rc = tg_forgotten_load(&e->forgotten, e->o.state, tg_wall_ms(), err);
    if (rc != TG_OK)
        return rc;
    e->forget_read = epoch;
    atomic_store(e->forget_seen, epoch);
    resume_forgetting(e);
    return TG_OK;
}

static int recall(struct tg_engine *e, struct tg_err *err)
{
    int rc = tg_state_facts_each(e->o.state, "park", recall_park, e, err);
    if (rc == TG_OK)
        rc = tg_state_facts_each(e->o.state, "hold", recall_hold, e, err);
    if (rc == TG_OK)
        rc = tg_state_facts_each(e->o.state, "pause", recall_pause, e, err);
    if (rc == TG_OK)
        rc = tg_state_facts_each(e->o.state, "breaker", tg_circuit_recall, e, err);
    if (rc == TG_OK)
        rc = recall_forgotten(e, err);
    return rc == TG_OK ? tg_poison_load(&e->poison, e->o.state, err) : rc;
}

static int find_clear_cells(struct tg_engine *e)
{
    tg_forgotten_init(&e->forgotten, e->o.n_parts);
    e->forget_seen = tg_forget_seen(e->o.shared, e->o.worker);
    if (!tg_forget_cells(e->o.shared, &e->forget) || !e->forget_seen)
        return TG_NOMEM;
    e->forgotten_users = tg_metric(e->o.metrics, TG_COUNTER, "tidegate_users_forgotten_total",
                                   "Users that delete events have had forgotten.", "");
    e->clear = tg_calloc(e->o.workers ? e->o.workers : 1, sizeof *e->clear);
    for (uint32_t i = 0; e->clear && i < e->o.workers; i++) {
        char name[16];
        snprintf(name, sizeof name, "%" PRIu32, i);
        e->clear[i] = tg_shared_cell_of(e->o.shared, "forgotten", tg_str_of(name));
        if (!e->clear[i])
            return TG_NOMEM;
    }
    return e->clear ? TG_OK : TG_NOMEM;
}

static int start(struct tg_engine *e, struct tg_err *err)
{
    struct event_base *base = e->o.base;
    e->pump = evtimer_new(base, on_pump, e);
    e->tick = event_new(base, -1, EV_PERSIST, on_tick, e);
    e->again = evtimer_new(base, on_again, e);
    if (!e->o.shared)
        e->o.shared = e->own_shared = tg_shared_new();
    if (!e->o.rates)
        e->o.rates = e->o.shared;
    if (!e->pump || !e->tick || !e->again || !e->o.shared || take_parts(e) != TG_OK ||
        tg_random(&e->random, sizeof e->random) != TG_OK)
        return tg_fail(err, TG_NOMEM, "delivery: out of memory");
    e->random |= 1;
    if (find_clear_cells(e) != TG_OK)
        return tg_fail(err, TG_NOMEM, "delivery: out of memory");
    tg_tell_clock(&e->apart, tg_wall_ms(), tg_mono_ms());
    arm(e->tick, e->o.save_ms ? e->o.save_ms : TICK_MS);
    tg_helper_drain(e->o.helper); /* synchronous calls of the state want it idle */
    return recall(e, err);
}

int tg_engine_new(const struct tg_engine_options *options, struct tg_engine **out, struct tg_err *err)
{
    struct tg_engine *e = tg_calloc(1, sizeof *e);
    if (!e)
        return tg_fail(err, TG_NOMEM, "delivery: out of memory");
    e->o = *options;
    e->ready_tail = &e->ready;
    int rc = start(e, err);
    if (rc != TG_OK) {
        tg_engine_free(&e);
        return rc;
    }
    *out = e;
    return TG_OK;
}

void tg_engine_free(struct tg_engine **p)
{
    struct tg_engine *e = *p;
    if (!e)
        return;
    *p = NULL;
    e->stopping = e->stopped = true;
    tg_helper_drain(e->o.helper); /* callbacks of writes, saves and questions under way still find us */
    for (size_t i = 0; e->parts && i < e->o.n_parts; i++) {
        if (e->parts[i].log)
            tg_log_on_synced(e->parts[i].log, NULL, NULL);
        tg_reaper_free(&e->parts[i].reaper);
    }
    while (e->outlets) {
        struct outlet *o = e->outlets;
        e->outlets = o->next;
        tg_outlet_free(&o);
    }
    struct event *events[] = {e->pump, e->tick, e->again};
    for (size_t i = 0; i < 3; i++)
        if (events[i])
            event_free(events[i]);
    tg_poison_fini(&e->poison);
    tg_forgotten_fini(&e->forgotten);
    tg_free(e->clear);
    tg_shared_free(&e->own_shared);
    tg_free(e->parts);
    tg_free(e);
}

/* --- stop --- */

static bool under_way(const struct tg_engine *e)
{
    size_t n = e->writing;
    for (const struct outlet *o = e->outlets; o; o = o->next)
        n += o->n_sent;
    return n > 0;
}

static void maybe_stopped(struct tg_engine *e)
{
    if (!e->stopping || e->stopped)
        return;
    int64_t left = e->stop_at - tg_mono_ms();
    if (under_way(e) && left > 0) {
        arm(e->pump, left < 50 ? left : 50);
        return;
    }
    e->stopped = true;
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_shot_cancel_all(o);
    tg_helper_drain(e->o.helper);
    for (size_t i = 0; i < e->o.n_parts; i++) {
        struct tg_err err = {0};
        if (tg_cursors_save_now(e->parts[i].cursors, &err) != TG_OK)
            tg_warn("cursors could not be saved: events may be delivered twice after the restart",
                    TG_FI("partition", e->parts[i].number), TG_FS("error", err.msg));
    }
    if (e->stop_done)
        e->stop_done(e->stop_arg);
}

void tg_engine_stop(struct tg_engine *e, int64_t deadline_ms, void (*done)(void *arg), void *arg)
{
    e->stopping = true;
    e->stop_at = deadline_ms;
    e->stop_done = done;
    e->stop_arg = arg;
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_outlet_give_back_unsent(o);
    event_del(e->pump);
    arm(e->pump, 0);
}

/* --- the set of destinations --- */

static struct outlet *find(struct tg_engine *e, const char *name)
{
    struct outlet *o = e->outlets;
    while (o && strcmp(o->name, name) != 0)
        o = o->next;
    return o;
}

/* All that can fail for one destination, prepared before anything changes. */
struct change {
    struct outlet *outlet;
    bool is_new;
    struct script *script;
    char **sources, **consent;
    size_t n_sources, n_consent;
    char *filter;
    char *settings;
};

static int copy_strings(char ***to, size_t *n, const struct tg_strings *from)
{
    *to = tg_calloc(from->n ? from->n : 1, sizeof **to);
    for (; *to && *n < from->n; ++*n)
        if (!((*to)[*n] = tg_strdup(from->v[*n])))
            return TG_NOMEM;
    return *to ? TG_OK : TG_NOMEM;
}

static int prepare(struct tg_engine *e, struct change *c, const struct tg_engine_dest *d)
{
    c->outlet = find(e, d->config->name);
    if (!c->outlet) {
        c->is_new = true;
        c->outlet = tg_outlet_new(e, d->config->name);
        if (!c->outlet)
            return TG_NOMEM;
    }
    c->script = d->dest ? tg_calloc(1, sizeof *c->script) : NULL;
    c->settings = tg_strdup(d->config->settings ? d->config->settings : "{}");
    if ((d->dest && !c->script) || !c->settings)
        return TG_NOMEM;
    if (d->config->filter && !(c->filter = tg_strdup(d->config->filter)))
        return TG_NOMEM;
    int rc = copy_strings(&c->sources, &c->n_sources, &d->config->sources);
    if (rc == TG_OK)
        rc = copy_strings(&c->consent, &c->n_consent, &d->config->consent);
    return rc;
}

static void swap_pointers(void *a, void *b)
{
    void *kept;
    memcpy(&kept, a, sizeof kept);
    memcpy(a, b, sizeof kept);
    memcpy(b, &kept, sizeof kept);
}

static void swap_counts(size_t *a, size_t *b)
{
    size_t kept = *a;
    *a = *b;
    *b = kept;
}

static int recall_why(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        snprintf(o->why, sizeof o->why, "%.*s", TG_STR_ARG(value));
    return 0;
}

static int recall_until(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        (void)tg_json_int(value, &o->paused_until);
    return 0;
}

static int recall_reason(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        snprintf(o->park_reason, sizeof o->park_reason, "%.*s", TG_STR_ARG(value));
    return 0;
}

/* What is only for people is left out where it cannot be read. */
static void recall_for_people(struct outlet *o)
{
    struct tg_state *s = o->engine->o.state;
    if (tg_state_facts_each(s, "park", recall_reason, o, NULL) != TG_OK)
        o->park_reason[0] = 0;
    if (tg_state_facts_each(s, "why", recall_why, o, NULL) != TG_OK)
        o->why[0] = 0;
    if (tg_state_facts_each(s, "pause", recall_until, o, NULL) != TG_OK)
        o->paused_until = 0;
}

/* Puts the new things in place; what was there before is left in *c. */
static void commit(struct tg_engine *e, struct change *c, const struct tg_engine_dest *d)
{
    struct outlet *o = c->outlet;
    const struct tg_destination_config *config = d->config;
    bool changed = o->settings && strcmp(o->settings, c->settings) != 0;
    if (c->script)
        *c->script = (struct script){.dest = d->dest, .users = 1, .generation = e->generation};
    tg_shot_flush(o, tg_mono_ms(), true); /* what was gathered for the old script is joined by it */
    swap_pointers(&o->script, &c->script);
    swap_pointers(&o->sources, &c->sources);
    swap_pointers(&o->consent, &c->consent);
    swap_pointers(&o->filter, &c->filter);
    swap_pointers(&o->settings, &c->settings);
    swap_counts(&o->n_sources, &c->n_sources);
    swap_counts(&o->n_consent, &c->n_consent);
    unsigned asked =
        o->script && o->script->dest->concurrency ? o->script->dest->concurrency : CONCURRENCY_DEFAULT;
    o->concurrency = config->concurrency ? config->concurrency : asked;
    o->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    o->backoff = (struct tg_backoff){config->retry.first_ms, config->retry.max_ms, config->retry.deadline_ms};
    o->enabled = config->enabled;
    o->removed = false;
    tg_quota_set(o, config);
    tg_rest_watch(&o->rest);
    if (changed && tg_outlet_is_parked(o))
        tg_outlet_resume(o);
    if (c->is_new) {
        o->next = e->outlets;
        e->outlets = o;
        recall_for_people(o);
    }
    if (!o->enabled)
        tg_outlet_give_back_unsent(o);
    show(o);
    tg_outlet_wake(o);
}

static void clear_change(struct change *c, bool committed)
{
    if (committed)
        tg_outlet_drop_script(&c->script);
    else
        tg_free(c->script);
    for (size_t i = 0; i < c->n_sources; i++)
        tg_free(c->sources[i]);
    for (size_t i = 0; i < c->n_consent; i++)
        tg_free(c->consent[i]);
    tg_free(c->sources);
    tg_free(c->consent);
    tg_free(c->filter);
    tg_free(c->settings);
    if (!committed && c->is_new && c->outlet)
        tg_outlet_free(&c->outlet);
}

static void mark_removed(struct tg_engine *e, const struct tg_engine_dest *dests, size_t n)
{
    for (struct outlet *o = e->outlets; o; o = o->next) {
        bool there = false;
        for (size_t i = 0; i < n && !there; i++)
            there = strcmp(o->name, dests[i].config->name) == 0;
        if (there || o->removed)
            continue;
        tg_outlet_remove(o);
        tg_info("destination removed; its backlog is kept for 24 hours", TG_FS("destination", o->name));
    }
}

/* Cursors whose destination is gone, of this run or an earlier one, note since when. */
static void note_removed(void *arg, struct tg_cursor *cursor)
{
    struct tg_engine *e = arg;
    struct outlet *o = find(e, tg_cursor_name(cursor));
    if ((!o || o->removed) && tg_cursor_removed_at(cursor) == 0)
        tg_cursor_set_removed_at(cursor, tg_wall_ms());
}

int tg_engine_set_destinations(struct tg_engine *e, const struct tg_engine_dest *dests, size_t n,
                               int64_t generation, struct tg_err *err)
{
    struct change *changes = tg_calloc(n ? n : 1, sizeof *changes);
    int rc = changes ? TG_OK : TG_NOMEM;
    size_t ready = 0;
    for (; rc == TG_OK && ready < n; ready++)
        rc = prepare(e, &changes[ready], &dests[ready]);
    for (size_t i = 0; rc == TG_OK && i < n; i++)
        rc = tg_outlet_attach(changes[i].outlet);
    if (rc == TG_OK) {
        e->generation = generation;
        e->has_begun = true;
        for (size_t i = 0; i < n; i++)
            commit(e, &changes[i], &dests[i]);
        mark_removed(e, dests, n);
        for (size_t i = 0; i < e->o.n_parts; i++) {
            tg_cursors_each(e->parts[i].cursors, note_removed, e);
            save(&e->parts[i]);
        }
    }
    for (size_t i = 0; i < ready; i++)
        clear_change(&changes[i], rc == TG_OK);
    tg_free(changes);
    return rc == TG_OK ? TG_OK : tg_fail(err, rc, "destinations: %s", tg_code_text(rc));
}

/* --- the operator --- */

int tg_engine_pause(struct tg_engine *e, const char *destination)
{
    struct outlet *o = find(e, destination);
    if (!o || o->removed)
        return TG_NOTFOUND;
    tg_outlet_hold(o, true);
    return TG_OK;
}

int tg_engine_resume(struct tg_engine *e, const char *destination)
{
    struct outlet *o = find(e, destination);
    if (!o || o->removed)
        return TG_NOTFOUND;
    tg_outlet_resume(o);
    return TG_OK;
}

const char *tg_engine_dead_full(const struct tg_engine *e)
{
    for (const struct outlet *o = e->outlets; o; o = o->next)
        if (!o->removed && atomic_load(o->quota.dead_full))
            return o->name;
    return NULL;
}

int tg_engine_look(struct tg_engine *e)
{
    int rc = reload_forgotten(e);
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_outlet_touch_all(o);
    tg_engine_check(e);
    look(e);
    return rc;
}

int tg_engine_flush(struct tg_engine *e, void (*done)(void *arg, int status, const char *why), void *arg)
{
    return tg_state_after_all(e->o.state, done, arg);
}

int tg_engine_strike(struct tg_engine *e, const char *destination, uint64_t seq, const char *reason)
{
    struct tg_err err = {0};
    int64_t now = tg_wall_ms();
    struct outlet *o = find(e, destination);
    tg_helper_drain(e->o.helper); /* synchronous calls of the state want it idle */
    int rc = tg_poison_strike(&e->poison, e->o.state, destination, seq, reason, now, &err);
    if (rc == TG_OK && o &&
        tg_poison_recent(&e->poison, destination, now - POISON_WINDOW_MS) >= POISON_EVENTS)
        tg_outlet_park(o, reason, NULL);
    return rc;
}

bool tg_engine_drained(struct tg_engine *e, uint32_t partition)
{
    int64_t rows = 0;
    for (size_t i = 0; i < e->o.n_parts; i++) {
        struct part *part = &e->parts[i];
        if (part->number != partition)
            continue;
        if (tg_cursors_saved_low(part->cursors) <= tg_log_last(part->log))
            return false;
        tg_helper_drain(e->o.helper); /* synchronous calls of the state want it idle */
        return tg_state_partition_rows(e->o.state, partition, &rows, NULL) == TG_OK && rows == 0;
    }
    return false;
}

/* --- status --- */

static const char *state_name(struct outlet *o)
{
    if (!o->enabled)
        return "disabled";
    if (tg_outlet_is_parked(o))
        return "parked";
    if (tg_outlet_is_held(o))
        return "paused";
    if (atomic_load(o->paused) > tg_mono_ms())
        return "waiting";
    if (o->breaker.state != TG_BREAKER_CLOSED)
        return "open";
    return o->queue && o->rate_wake != INT64_MAX ? "rate_limited" : "running";
}

static int add_text_member(struct tg_buf *json, const char *name, const char *text)
{
    int rc = tg_buf_printf(json, ",\"%s\":", name);
    if (rc != TG_OK)
        return rc;
    return text && *text ? tg_json_quote(json, tg_str_of(text)) : tg_buf_adds(json, "null");
}

/* The answer by which it stands still, when that came to this worker: of another one's pause it knows the end
 * only. */
static const char *because(const struct outlet *o, int64_t left)
{
    if (tg_outlet_is_parked(o))
        return o->park_reason[0] ? o->why : NULL;
    int64_t apart = o->paused_until - (tg_wall_ms() + left);
    return left > 0 && apart > -SAME_PAUSE_MS && apart < SAME_PAUSE_MS ? o->why : NULL;
}

static int add_status(struct outlet *o, struct tg_buf *json)
{
    char until[TG_TIME_LEN + 1] = "";
    int64_t left = atomic_load(o->paused) - tg_mono_ms();
    if (left > 0)
        tg_time_format(tg_wall_ms() + left, until);
    int rc = tg_buf_adds(json, "{\"name\":");
    if (rc == TG_OK)
        rc = tg_json_quote(json, tg_str_of(o->name));
    if (rc == TG_OK)
        rc = add_text_member(json, "script", o->script ? o->script->dest->script : NULL);
    if (rc == TG_OK)
        rc = add_text_member(json, "state", state_name(o));
    if (rc == TG_OK)
        rc = tg_buf_printf(
            json,
            ",\"backlog_events\":%llu,\"backlog_bytes\":%llu,\"backlog_free_bytes\":%llu,\"oldest_ms\":%lld,"
            "\"in_flight\":%zu,\"retries\":%lld,\"retry_bytes\":%lld,\"dead_bytes\":%lld,"
            "\"dead_free_bytes\":%lld",
            (unsigned long long)backlog_events(o), (unsigned long long)backlog_bytes(o),
            (unsigned long long)tg_quota_backlog_free(o, backlog_bytes(o)), (long long)oldest_age(o),
            o->n_sent, (long long)o->n_retries, (long long)(o->retry_bytes > 0 ? o->retry_bytes : 0),
            (long long)o->quota.dead_used, (long long)tg_quota_dead_free(o));
    if (rc == TG_OK)
        rc = add_text_member(json, "parked_reason", tg_outlet_is_parked(o) ? o->park_reason : NULL);
    if (rc == TG_OK)
        rc = add_text_member(json, "paused_until", until);
    if (rc == TG_OK)
        rc = add_text_member(json, "because", because(o, left));
    if (rc == TG_OK)
        rc = add_text_member(json, "breaker", tg_breaker_name(&o->breaker));
    return rc == TG_OK ? tg_buf_addc(json, '}') : rc;
}

int tg_engine_status(struct tg_engine *e, struct tg_buf *json)
{
    int rc = tg_buf_addc(json, '[');
    bool first = true;
    for (struct outlet *o = e->outlets; rc == TG_OK && o; o = o->next) {
        if (o->removed)
            continue;
        if (!first)
            rc = tg_buf_addc(json, ',');
        first = false;
        if (rc == TG_OK)
            rc = add_status(o, json);
    }
    return rc == TG_OK ? tg_buf_addc(json, ']') : rc;
}
