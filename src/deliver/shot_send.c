#include "deliver/shot_send.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/circuit.h"
#include "deliver/item_end.h"
#include "deliver/shot.h"
#include "deliver/shot_key.h"
#include "deliver/shot_rate.h"
#include "deliver/shot_verdict.h"
#include "deliver/standing.h"
#include "deliver/turns.h"

#include <assert.h>

enum { STEP_OVER_MAX = 32, RENDER_AGAIN_MS = 30000, KEYS_AGAIN_US = 50000 };

/* --- may it go out now? --- */

/* What was asked with a token that has ended since is not sent: its events run again, with a fresh one. But
 * where tokens end faster than anything can be sent, it is sent all the same, for the partner to judge, until
 * one holds again. */
static bool is_stale(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    enum tg_tokens all = TG_TOKENS_NONE;
    for (size_t i = 0; i < shot->n; i++) {
        struct item *item = shot->deliveries[i]->item;
        enum tg_tokens own = tg_run_tokens(item->run);
        all = own > all ? own : all;
        if (own != TG_TOKENS_GONE || o->n_stale >= 2 * o->n_items)
            continue;
        item->rerun = true;
        tg_engine_touch(o->engine, item);
    }
    bool stale = all == TG_TOKENS_GONE && o->n_stale < 2 * o->n_items;
    if (stale)
        o->n_stale += shot->n;
    else if (all == TG_TOKENS_GOOD)
        o->n_stale = 0;
    return stale;
}

/* A request that has waited long for its rate: what was signed with the time of day is old, and the script or
 * its settings may have changed. When its turn has come its events run again, and the new one takes its place
 * at the front. Batches are joined when they are sent. */
static bool is_old(struct outlet *o, struct shot *shot, int64_t now)
{
    int64_t limit = o->engine->o.render_again_ms ? o->engine->o.render_again_ms : RENDER_AGAIN_MS;
    return !shot->is_batch && now - shot->born > limit && !tg_shot_key_taken(o, shot) &&
           tg_shot_may_take_token(o, shot);
}

/* The keys, over all workers, and a token. 0, or for how many microseconds it has to wait. */
static int64_t take_leave(const struct outlet *o, struct shot *shot, int64_t now)
{
    bool may = tg_shot_may_take_token(o, shot); /* where tokens lack, keys are left to others */
    if (may && !tg_shot_lease_keys(shot, now))
        return KEYS_AGAIN_US;
    int64_t wait_us = tg_shot_take_token(o, shot);
    if (wait_us > 0)
        tg_shot_give_keys(shot);
    else if (!may && !tg_shot_lease_keys(shot, now)) /* one has come in between: it is lost */
        wait_us = KEYS_AGAIN_US;
    return wait_us;
}

static void render_again(struct outlet *o, struct shot *shot, bool hurries)
{
    for (size_t i = 0; i < shot->n; i++) {
        struct item *item = shot->deliveries[i]->item;
        item->rerun = true;
        item->hurries = item->hurries || hurries;
        tg_engine_touch(o->engine, item);
    }
}

void tg_shot_renew(struct outlet *o)
{
    for (struct shot *shot = o->queue; shot; shot = shot->next)
        render_again(o, shot, false);
    tg_engine_check(o->engine);
}

/* --- sending --- */

/* The script joins a batch; false: it could not, and the shot is gone. Then one item may be what join cannot
 * take, or all together may be more than its memory holds: the halves come instead. */
static bool join(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    struct tg_err err = {0};
    struct tg_request **requests = tg_calloc(shot->n, sizeof *requests);
    int64_t began = tg_outlet_clock_us(o);
    int rc = requests ? TG_OK : TG_NOMEM;
    for (size_t i = 0; rc == TG_OK && i < shot->n; i++)
        requests[i] = shot->deliveries[i]->request;
    if (rc == TG_OK)
        rc = tg_dest_join(shot->script->dest, requests, shot->n, &shot->joined, &err);
    tg_free(requests);
    o->deficit_us -= tg_outlet_clock_us(o) - began;
    if (rc == TG_OK)
        return true;
    if (rc == TG_NOMEM && shot->n == 1) {
        tg_shot_fail(shot, TG_OUTCOME_RETRY, "no_memory", NULL);
    } else if (shot->n == 1) {
        tg_shot_fail(shot, TG_OUTCOME_REJECT, "script_error", err.msg);
    } else {
        tg_shot_halve(o, shot->script, shot->deliveries, shot->n);
        tg_shot_free(shot);
    }
    return false;
}

static void on_done(void *arg, const struct tg_response *response, enum tg_client_failure failure)
{
    struct shot *shot = arg;
    assert(shot->magic == SHOT_MAGIC);
    struct outlet *o = shot->outlet;
    struct tg_engine *e = o->engine;
    shot->call = NULL;
    tg_shot_unlink_sent(shot);
    if (e->o.on_exchange)
        e->o.on_exchange(e->o.on_exchange_arg, shot->script->dest, tg_shot_request(shot), response);
    tg_counters_request(&o->counters, response->status);
    tg_shot_answered(shot, response, failure);
    tg_shot_free(shot);
    tg_outlet_wake(o);
    tg_engine_check(e);
}

/* False: it could not be joined; its halves may stand at the front of the queue. */
static bool send_shot(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    struct tg_err err = {0};
    tg_shot_unqueue(shot);
    if (shot->is_batch && !join(shot))
        return false;
    shot->probe = o->breaker.state == TG_BREAKER_HALF_OPEN;
    int rc = tg_client_send(o->engine->o.http, tg_shot_request(shot), o->timeout_ms, on_done, shot,
                            &shot->call, &err);
    if (rc == TG_OK) {
        tg_breaker_sent(&o->breaker);
        tg_shot_link_sent(shot);
        return true;
    }
    for (size_t i = 0; i < shot->n; i++)
        tg_shot_note(shot, i, NULL, NULL);
    tg_shot_fail(shot, rc == TG_NOMEM ? TG_OUTCOME_RETRY : TG_OUTCOME_REJECT,
                 rc == TG_NOMEM ? "no_memory" : "invalid_request", err.msg);
    return true;
}

void tg_shot_send(struct outlet *o, int64_t now)
{
    int stepped_over = 0;
    bool renewed = false;
    o->rate_wake = INT64_MAX;
    if (!tg_outlet_open(o))
        return;
    for (struct shot *shot = o->queue, *next; shot && stepped_over < STEP_OVER_MAX; shot = next) {
        next = shot->next;
        if (o->n_sent >= tg_breaker_window(&o->breaker, o->concurrency, now))
            break;
        if (!tg_circuit_may_probe(o, now))
            break;
        int64_t wait_us = 0;
        if (is_old(o, shot, now)) {
            if (!renewed)
                render_again(o, shot, true); /* one at a time: the token is for one */
            renewed = true;
            stepped_over++;
            continue;
        }
        if (is_stale(shot) || tg_shot_key_taken(o, shot) || (wait_us = take_leave(o, shot, now)) > 0) {
            int64_t wake = now + wait_us / 1000 + 1;
            if (wait_us > 0 && wake < o->rate_wake)
                o->rate_wake = wake;
            stepped_over++;
            continue;
        }
        if (!send_shot(shot))
            next = o->queue; /* its halves */
    }
    if (!o->breaker.probing)
        tg_circuit_probed(o); /* nothing could be sent after all */
}

void tg_shot_cancel_all(struct outlet *o)
{
    while (o->sent || o->queue) {
        struct shot *shot = o->sent ? o->sent : o->queue;
        bool was_sent = o->sent != NULL;
        if (was_sent) {
            tg_client_cancel(&shot->call);
            tg_shot_unlink_sent(shot);
        } else {
            tg_shot_unqueue(shot);
        }
        for (size_t i = 0; i < shot->n; i++)
            tg_delivery_free(shot->deliveries[i]);
        tg_shot_free(shot);
    }
    tg_breaker_forget_probe(&o->breaker);
    tg_circuit_probed(o);
}
