#include "deliver/outlet_turn.h"

#include "base/clock.h"
#include "deliver/circuit.h"
#include "deliver/item.h"
#include "deliver/item_end.h"
#include "deliver/item_run.h"
#include "deliver/lane.h"
#include "deliver/retry_set.h"
#include "deliver/shed.h"
#include "deliver/shot.h"
#include "deliver/shot_send.h"
#include "deliver/standing.h"
#include "deliver/tell.h"
#include "deliver/timer.h"
#include "deliver/turns.h"

#include <event2/event.h>
#include <stdatomic.h>

enum { RECORDS_A_TURN = 1000, SLOW_MS = 50 };

/* Room for one more event. While the breaker is half-open, one at a time. */
static bool may_take(struct outlet *o, int64_t now)
{
    if (!tg_outlet_open(o))
        return false;
    if (!o->waiting && tg_outlet_is_full(o))
        return false;
    if (tg_breaker_window(&o->breaker, o->concurrency, now) == 0)
        return false;
    return o->breaker.state == TG_BREAKER_CLOSED ||
           (o->queue == NULL && o->n_sent == 0 && o->batcher.n_open == 0);
}

/* From the retry set and the log by turns, so that neither keeps the other waiting. */
static enum taken take(struct outlet *o, struct item **out)
{
    o->fresh_turn = !o->fresh_turn;
    if ((!o->fresh_turn || tg_outlet_is_full(o)) && (*out = tg_outlet_take_waiting(o)))
        return TAKEN_ITEM;
    enum taken taken = tg_lanes_take(o, out);
    if (taken == TAKEN_NOTHING && (*out = tg_outlet_take_waiting(o)))
        taken = TAKEN_ITEM;
    return taken;
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
        if (o->rest.sure && ms >= SLOW_MS && tg_rest_ends(&o->rest, others_at(o)) > now)
            tg_tell_slow(o, over / 1000, ms);
    }
    return o->rest.until > now && tg_rest_ends(&o->rest, others_at(o)) > now;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The next moment at which time alone changes something. An opened breaker and rows that are due change
 * nothing while the destination may not send or still has rows in hand: those moments may lie in the past,
 * and a timer for them would go off at once, again and again. */
static void set_timer(struct outlet *o)
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
    tg_timer_arm(o->timer, ms);
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
        tg_outlet_ask_for_due(o, tg_wall_ms());
        (void)tg_breaker_window(&o->breaker, o->concurrency, now); /* its time may be over */
    }
    bool over = false, more, resting = rests(o, us, now);
    o->deficit_us += us;
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        over = tg_shed_lane(o, &o->lanes[i], now) || over;
    tg_shed_rows(o, now);
    more = !resting && take_up(o, now);
    if (!more && o->deficit_us > 0)
        o->deficit_us = 0;
    tg_shot_flush(o, now, false);
    tg_shot_send(o, now);
    tg_engine_check(o->engine);
    set_timer(o);
    return more || over;
}
