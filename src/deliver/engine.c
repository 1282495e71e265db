/* The engine's frame: its parts and outlets, who has the next turn, the tick, stopping.
 *
 * A turn of the loop gives the outlets that have work a slice each of script time, in rotation (deficit round
 * robin), until a few milliseconds are gone; what is left is done in the next turn, after the sockets have
 * been looked at. */
#include "deliver/engine.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/dead_quota.h"
#include "deliver/forgetting.h"
#include "deliver/item_end.h"
#include "deliver/item_write.h"
#include "deliver/outlet.h"
#include "deliver/outlet_status.h"
#include "deliver/outlet_turn.h"
#include "deliver/part.h"
#include "deliver/recall.h"
#include "deliver/shot_send.h"
#include "deliver/standing.h"
#include "deliver/timer.h"
#include "deliver/turns.h"

#include <assert.h>
#include <event2/event.h>
#include <stdatomic.h>

enum {
    SLICE_US = 1000,
    TURN_US = 4000,
    TICK_MS = 1000,
    LOOK_EVERY_TICKS = 60,
    POISON_WINDOW_MS = 60000,
    POISON_EVENTS = 3,
};

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
        tg_timer_arm(e->pump, left < 50 ? left : 50);
        return;
    }
    e->stopped = true;
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_shot_cancel_all(o);
    tg_helper_drain(e->o.helper);
    for (size_t i = 0; i < e->o.n_parts; i++)
        tg_part_save_last(&e->parts[i]);
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
    tg_timer_arm(e->pump, 0);
}

/* --- turns --- */

/* What may have changed without our doing. */
static void look(struct tg_engine *e)
{
    tg_poison_expire(&e->poison, e->o.state, tg_wall_ms());
    for (struct outlet *o = e->outlets; o; o = o->next) {
        o->next_due = INT64_MIN;
        tg_dead_quota_ask(o);
    }
    tg_engine_wake_all(e);
}

static void follow_forgotten(struct tg_engine *e)
{
    if (tg_forgetting_follow(e))
        look(e);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_engine *e = arg;
    int64_t until = tg_mono_us() + TURN_US;
    struct outlet *o;
    follow_forgotten(e);
    tg_engine_check(e);
    while (!e->stopped && (o = tg_engine_next_ready(e))) {
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
    tg_engine_wake_all(arg);
}

/* --- the tick --- */

static void drop_removed(struct tg_engine *e)
{
    for (struct outlet **at = &e->outlets; *at;) {
        struct outlet *o = *at;
        if (!o->removed || o->n_items || o->asking || o->quota.asking || o->quota.asking_rows) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        tg_outlet_unready(o);
        tg_counters_clear(&o->counters);
        tg_outlet_free(&o);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_engine *e = arg;
    if (e->stopping) {
        maybe_stopped(e);
        return;
    }
    tg_told_clock(&e->apart, tg_wall_ms(), tg_mono_ms());
    drop_removed(e);
    follow_forgotten(e);
    for (size_t i = 0; i < e->o.n_parts; i++) {
        tg_reaper_step(e->parts[i].reaper, tg_wall_ms());
        tg_part_save(&e->parts[i]);
    }
    if (++e->ticks % LOOK_EVERY_TICKS == 0) {
        tg_forgetting_keep(e);
        look(e);
    }
    for (struct outlet *o = e->outlets; o; o = o->next) {
        tg_outlet_show(o);
        tg_dead_quota_tick(o);
        if (tg_outlet_stands_still(o))
            tg_outlet_touch_all(o);
    }
    tg_engine_check(e);
    tg_engine_wake_all(e); /* another worker may have resumed or paused one */
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

static int start(struct tg_engine *e, struct tg_err *err)
{
    struct event_base *base = e->o.base;
    e->pump = evtimer_new(base, on_pump, e);
    e->tick = event_new(base, -1, EV_PERSIST, on_tick, e);
    e->again = evtimer_new(base, tg_items_write_again, e);
    if (!e->o.shared)
        e->o.shared = e->own_shared = tg_shared_new();
    if (!e->o.rates)
        e->o.rates = e->o.shared;
    if (!e->pump || !e->tick || !e->again || !e->o.shared || take_parts(e) != TG_OK ||
        tg_random(&e->random, sizeof e->random) != TG_OK)
        return tg_fail(err, TG_NOMEM, "delivery: out of memory");
    e->random |= 1;
    tg_told_clock(&e->apart, tg_wall_ms(), tg_mono_ms());
    tg_timer_arm(e->tick, e->o.save_ms ? e->o.save_ms : TICK_MS);
    tg_helper_drain(e->o.helper); /* synchronous calls of the state want it idle */
    int rc = tg_forgetting_begin(e, err);
    if (rc == TG_OK)
        rc = tg_engine_recall(e, err);
    return rc == TG_OK ? tg_poison_load(&e->poison, e->o.state, err) : rc;
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
    tg_forgetting_end(e);
    tg_shared_free(&e->own_shared);
    tg_free(e->parts);
    tg_free(e);
}

/* --- the operator, and what else comes from outside --- */

int tg_engine_pause(struct tg_engine *e, const char *destination)
{
    struct outlet *o = tg_engine_find_outlet(e, destination);
    if (!o || o->removed)
        return TG_NOTFOUND;
    tg_outlet_hold(o, true);
    return TG_OK;
}

int tg_engine_resume(struct tg_engine *e, const char *destination)
{
    struct outlet *o = tg_engine_find_outlet(e, destination);
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

void tg_engine_forgot(struct tg_engine *e, size_t users)
{
    tg_forgetting_order(e, users);
    tg_engine_wake(e);
}

int tg_engine_look(struct tg_engine *e)
{
    int rc = tg_forgetting_reload(e);
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_outlet_touch_all(o);
    tg_engine_check(e);
    look(e);
    return rc;
}

void tg_engine_set_spool_bytes(struct tg_engine *e, uint64_t bytes)
{
    e->o.spool_bytes = bytes;
}

int tg_engine_flush(struct tg_engine *e, void (*done)(void *arg, int status, const char *why), void *arg)
{
    return tg_state_after_all(e->o.state, done, arg);
}

int tg_engine_strike(struct tg_engine *e, const char *destination, uint64_t mark, const char *reason)
{
    struct tg_err err = {0};
    int64_t now = tg_wall_ms();
    struct outlet *o = tg_engine_find_outlet(e, destination);
    tg_helper_drain(e->o.helper); /* synchronous calls of the state want it idle */
    int rc = tg_poison_strike(&e->poison, e->o.state, destination, mark, reason, now, &err);
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

struct removed {
    const struct part *part;
    struct tg_buf *json;
    bool first;
    int rc;
};

static void add_removed(void *arg, struct tg_cursor *cursor)
{
    struct removed *r = arg;
    if (r->rc == TG_OK)
        r->rc = tg_removed_status(r->part, cursor, &r->first, r->json);
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
            rc = tg_outlet_status(o, json);
    }
    struct removed r = {.json = json, .first = first, .rc = rc};
    for (size_t i = 0; i < e->o.n_parts; i++) {
        r.part = &e->parts[i];
        tg_cursors_each(e->parts[i].cursors, add_removed, &r);
    }
    rc = r.rc;
    return rc == TG_OK ? tg_buf_addc(json, ']') : rc;
}
