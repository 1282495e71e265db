/* Deliveries become HTTP requests ("shots"), and their answers verdicts.
 *
 * A delivery waits in the batcher (when it names a batch), then in the outlet's queue as a shot or part of
 * one, and is sent when the breaker, the concurrency, its rate and its key allow. Several wait: those whose
 * rate or key is taken are stepped over, a few.
 *
 * A batch is joined when it is sent, not when it enters the queue: what join signs with the time of day must
 * not grow old while the destination pauses. Other requests are made anew when they have waited for long.
 *
 * A rejected batch whose script cannot tell the items apart is halved until the bad item stands alone. */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/rate.h"
#include "script/same_request.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>

enum { STEP_OVER_MAX = 32, RENDER_AGAIN_MS = 30000 };

/* --- making and unmaking --- */

static void unlink_delivery(struct delivery *d)
{
    struct delivery **at = &d->item->deliveries;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
}

void tg_delivery_free(struct delivery *d)
{
    unlink_delivery(d);
    d->item->n_open--;
    if (d->state == DELIVERY_SENT)
        d->item->n_sent--;
    tg_request_free(&d->request);
    tg_free(d);
}

static void shot_free(struct shot *shot)
{
    assert(shot->magic == SHOT_MAGIC && !shot->call);
    if (shot->joined)
        tg_request_free(&shot->joined);
    tg_outlet_drop_script(&shot->script);
    shot->magic = 0;
    tg_free(shot->deliveries);
    tg_free(shot);
}

static struct shot *shot_new(struct outlet *o, struct script *script, struct delivery *const *deliveries,
                             size_t n)
{
    struct shot *shot = tg_calloc(1, sizeof *shot);
    if (!shot)
        return NULL;
    shot->deliveries = tg_memdup(deliveries, n * sizeof *deliveries);
    if (!shot->deliveries) {
        tg_free(shot);
        return NULL;
    }
    shot->magic = SHOT_MAGIC;
    shot->outlet = o;
    shot->born = tg_mono_ms();
    shot->script = script;
    script->users++;
    shot->n = n;
    return shot;
}

/* What goes out; of a batch only once it is joined. */
static const struct tg_request *request_of(const struct shot *shot)
{
    return shot->joined ? shot->joined : shot->deliveries[0]->request;
}

static void enqueue(struct shot *shot, bool at_front)
{
    struct outlet *o = shot->outlet;
    for (size_t i = 0; i < shot->n; i++) {
        shot->deliveries[i]->state = DELIVERY_QUEUED;
        shot->deliveries[i]->shot = shot;
    }
    shot->prev = at_front ? NULL : o->queue_last;
    shot->next = at_front ? o->queue : NULL;
    if (shot->prev)
        shot->prev->next = shot;
    else
        o->queue = shot;
    if (shot->next)
        shot->next->prev = shot;
    else
        o->queue_last = shot;
}

static void unqueue(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    if (shot->prev)
        shot->prev->next = shot->next;
    else
        o->queue = shot->next;
    if (shot->next)
        shot->next->prev = shot->prev;
    else
        o->queue_last = shot->prev;
    shot->next = shot->prev = NULL;
}

/* The delivery ends without success: its item learns why. */
static void fail_delivery(struct delivery *d, enum tg_outcome outcome, const char *reason,
                          const char *message, int status)
{
    struct item *item = d->item;
    tg_delivery_free(d);
    /* An item that is to run once more has lost what its deliveries stood for: that is not their fault. */
    if (!item->rerun)
        tg_item_fail(item, outcome, reason, message, status);
    tg_engine_touch(item->outlet->engine, item);
}

static void fail_all(struct delivery *const *deliveries, size_t n, enum tg_outcome outcome,
                     const char *reason, const char *message)
{
    for (size_t i = 0; i < n; i++)
        fail_delivery(deliveries[i], outcome, reason, message, 0);
}

/* A group of a batch becomes one shot, which is joined when it is sent. */
static void queue_group(struct outlet *o, struct script *script, struct delivery *const *deliveries, size_t n,
                        bool at_front)
{
    struct shot *shot = shot_new(o, script, deliveries, n);
    if (!shot) {
        fail_all(deliveries, n, TG_OUTCOME_RETRY, "no_memory", NULL);
        return;
    }
    shot->is_batch = true;
    enqueue(shot, at_front);
}

/* Halves a group, at the front of the queue. */
static void halve(struct outlet *o, struct script *script, struct delivery *const *deliveries, size_t n)
{
    queue_group(o, script, deliveries + n / 2, n - n / 2, true);
    queue_group(o, script, deliveries, n / 2, true);
}

void tg_shot_flush(struct outlet *o, int64_t now, bool all)
{
    struct tg_batch *batch;
    while ((batch = tg_batcher_take(&o->batcher, now, all))) {
        struct delivery **deliveries = (struct delivery **)batch->owners;
        /* The script stays while its last item fails. */
        struct script *script = deliveries[0]->item->script;
        script->users++;
        queue_group(o, script, deliveries, batch->n, false);
        tg_outlet_drop_script(&script);
        tg_batch_free(&batch);
    }
}

static const struct tg_batch_spec *spec_of(const struct tg_dest *dest, const char *name)
{
    for (size_t i = 0; name && i < dest->n_batches; i++)
        if (strcmp(dest->batches[i].name, name) == 0)
            return &dest->batches[i];
    return NULL;
}

/* A shot of an equal request that is under way or waits, for a request that may share its answer. */
static struct shot *shot_to_share(const struct outlet *o, const struct tg_request *r)
{
    struct shot *const lists[] = {o->sent, o->queue};
    for (int i = 0; r->share && i < 2; i++)
        for (struct shot *s = lists[i]; s; s = s->next)
            if (!s->is_batch && tg_may_share(s->deliveries[0]->request, r))
                return s;
    return NULL;
}

static int join_shot(struct shot *shot, struct delivery *d)
{
    struct delivery **more = tg_realloc(shot->deliveries, (shot->n + 1) * sizeof *more);
    if (!more)
        return TG_NOMEM;
    shot->deliveries = more;
    more[shot->n++] = d;
    d->shot = shot;
    d->state = more[0]->state;
    if (d->state == DELIVERY_SENT) {
        d->item->n_sent++;
        d->item->probe = shot->probe;
    }
    return TG_OK;
}

int tg_shot_add(struct item *item, struct tg_request *request)
{
    struct outlet *o = item->outlet;
    struct delivery *d = tg_calloc(1, sizeof *d);
    if (!d)
        return TG_NOMEM;
    *d = (struct delivery){.item = item, .request = request, .state = DELIVERY_BATCHED};
    const struct tg_batch_spec *spec = spec_of(item->script->dest, request->batch);
    struct shot *shared = shot_to_share(o, request);
    struct shot *shot = spec || shared ? NULL : shot_new(o, item->script, &d, 1);
    int rc = shot || spec || shared ? TG_OK : TG_NOMEM;
    if (shared)
        rc = join_shot(shared, d);
    else if (spec)
        rc = tg_batcher_add(&o->batcher, spec, request, d, tg_mono_ms());
    if (rc != TG_OK) {
        tg_free(d);
        return rc;
    }
    d->next = item->deliveries;
    item->deliveries = d;
    item->n_open++;
    if (shot)
        enqueue(shot, item->hurries);
    tg_outlet_wake(o);
    return TG_OK;
}

/* Takes a delivery out of a shot that has not been sent; a shot that held nothing else goes away. */
static void leave_shot(struct delivery *d)
{
    struct shot *shot = d->shot;
    size_t n = 0;
    for (size_t i = 0; i < shot->n; i++)
        if (shot->deliveries[i] != d)
            shot->deliveries[n++] = shot->deliveries[i];
    shot->n = n;
    if (n)
        return;
    unqueue(shot);
    shot_free(shot);
}

void tg_shot_drop_unsent(struct item *item)
{
    struct delivery *d = item->deliveries;
    while (d) {
        if (d->state == DELIVERY_SENT) {
            d = d->next;
            continue;
        }
        if (d->state == DELIVERY_BATCHED)
            tg_batcher_remove(&item->outlet->batcher, d);
        else
            leave_shot(d);
        tg_delivery_free(d);
        d = item->deliveries;
    }
}

/* --- sending --- */

static bool same_key(const struct shot *a, const struct shot *b)
{
    for (size_t i = 0; i < a->n; i++) {
        const char *key = a->deliveries[i]->request->key;
        for (size_t j = 0; key && j < b->n; j++)
            if (b->deliveries[j]->request->key && strcmp(key, b->deliveries[j]->request->key) == 0)
                return true;
    }
    return false;
}

static bool has_key(const struct shot *shot)
{
    for (size_t i = 0; i < shot->n; i++)
        if (shot->deliveries[i]->request->key)
            return true;
    return false;
}

/* Whether a request of the same key is under way, or waits before this one. */
static bool key_taken(const struct outlet *o, const struct shot *shot)
{
    if (!has_key(shot))
        return false;
    for (const struct shot *s = o->sent; s; s = s->next)
        if (same_key(s, shot))
            return true;
    for (const struct shot *s = shot->prev; s; s = s->prev)
        if (same_key(s, shot))
            return true;
    return false;
}

static const struct tg_rate *rate_of(const struct shot *shot)
{
    const char *name = shot->deliveries[0]->request->rate;
    const struct tg_dest *dest = shot->script->dest;
    for (size_t i = 0; name && i < dest->n_rates; i++)
        if (strcmp(dest->rates[i].name, name) == 0)
            return &dest->rates[i];
    return NULL;
}

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

/* The account that the script's rate names counts; without one each destination has its own. */
static tg_shared_cell *bucket_of(const struct outlet *o, const struct shot *shot, const struct tg_rate *rate)
{
    char name[512];
    const char *account = rate->account_key;
    bool shared = account && *account;
    int n = snprintf(name, sizeof name, "%s %s %s", shared ? shot->script->dest->script : "", rate->name,
                     shared ? account : o->name);
    return tg_shared_cell_of(o->engine->o.rates, "rate",
                             tg_str_n(name, (size_t)n < sizeof name ? (size_t)n : sizeof name - 1));
}

/* Takes a token. 0, or for how many microseconds there is none. */
static int64_t take_token(const struct outlet *o, const struct shot *shot)
{
    const struct tg_rate *rate = rate_of(shot);
    tg_shared_cell *bucket = rate ? bucket_of(o, shot, rate) : NULL;
    return bucket ? tg_rate_take(bucket, rate->per_second, rate->burst, tg_mono_us()) : 0;
}

static void on_done(void *arg, const struct tg_response *response, enum tg_client_failure failure);

static void link_sent(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    shot->next = o->sent;
    if (shot->next)
        shot->next->prev = shot;
    o->sent = shot;
    o->n_sent++;
    for (size_t i = 0; i < shot->n; i++) {
        shot->deliveries[i]->state = DELIVERY_SENT;
        shot->deliveries[i]->item->n_sent++;
        shot->deliveries[i]->item->probe = shot->probe;
    }
}

static void unlink_sent(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    if (shot->prev)
        shot->prev->next = shot->next;
    else
        o->sent = shot->next;
    if (shot->next)
        shot->next->prev = shot->prev;
    shot->next = shot->prev = NULL;
    o->n_sent--;
}

/* For the event's dead letter. Of a batch it gets what it would have sent alone: the others' data are not its
 * own, would outlive `forget`, and say nothing in a replay's difference. */
static void note(struct shot *shot, size_t i, const struct tg_response *response)
{
    struct delivery *d = shot->deliveries[i];
    struct tg_request *alone = NULL;
    struct tg_err err = {0};
    char place[64];
    if (shot->n == 1 || !shot->is_batch) {
        tg_dead_note(d->item, "", request_of(shot), response);
        return;
    }
    (void)snprintf(place, sizeof place, "# item %zu of the %zu of its batch\n", i + 1, shot->n);
    if (tg_dest_join(shot->script->dest, &d->request, 1, &alone, &err) != TG_OK)
        alone = NULL; /* then without its body */
    tg_dead_note(d->item, place, alone ? alone : d->request, response);
    tg_request_free(&alone);
}

static void fail_shot(struct shot *shot, enum tg_outcome outcome, const char *reason, const char *message)
{
    fail_all(shot->deliveries, shot->n, outcome, reason, message);
    shot_free(shot);
}

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
        fail_shot(shot, TG_OUTCOME_RETRY, "no_memory", NULL);
    } else if (shot->n == 1) {
        fail_shot(shot, TG_OUTCOME_REJECT, "script_error", err.msg);
    } else {
        halve(o, shot->script, shot->deliveries, shot->n);
        shot_free(shot);
    }
    return false;
}

/* False: it could not be joined; its halves may stand at the front of the queue. */
static bool send_shot(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    struct tg_err err = {0};
    unqueue(shot);
    if (shot->is_batch && !join(shot))
        return false;
    shot->probe = o->breaker.state == TG_BREAKER_HALF_OPEN;
    int rc =
        tg_client_send(o->engine->o.http, request_of(shot), o->timeout_ms, on_done, shot, &shot->call, &err);
    if (rc == TG_OK) {
        tg_breaker_sent(&o->breaker);
        link_sent(shot);
        return true;
    }
    for (size_t i = 0; i < shot->n; i++)
        note(shot, i, NULL);
    fail_shot(shot, rc == TG_NOMEM ? TG_OUTCOME_RETRY : TG_OUTCOME_REJECT,
              rc == TG_NOMEM ? "no_memory" : "invalid_request", err.msg);
    return true;
}

static bool token_is_there(const struct outlet *o, const struct shot *shot)
{
    const struct tg_rate *rate = rate_of(shot);
    tg_shared_cell *bucket = rate ? bucket_of(o, shot, rate) : NULL;
    return !bucket || tg_rate_wait(bucket, rate->per_second, rate->burst, tg_mono_us()) == 0;
}

/* A request that has waited long for its rate: what was signed with the time of day is old, and the script or
 * its settings may have changed. When its turn has come its events run again, and the new one takes its place
 * at the front. Batches are joined when they are sent. */
static bool is_old(struct outlet *o, const struct shot *shot, int64_t now)
{
    int64_t limit = o->engine->o.render_again_ms ? o->engine->o.render_again_ms : RENDER_AGAIN_MS;
    return !shot->is_batch && now - shot->born > limit && !key_taken(o, shot) && token_is_there(o, shot);
}

static void render_again(struct outlet *o, struct shot *shot)
{
    for (size_t i = 0; i < shot->n; i++) {
        struct item *item = shot->deliveries[i]->item;
        item->rerun = item->hurries = true;
        tg_engine_touch(o->engine, item);
    }
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
                render_again(o, shot); /* one at a time: the token is for one */
            renewed = true;
            stepped_over++;
            continue;
        }
        if (is_stale(shot) || key_taken(o, shot) || (wait_us = take_token(o, shot)) > 0) {
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
            unlink_sent(shot);
        } else {
            unqueue(shot);
        }
        for (size_t i = 0; i < shot->n; i++)
            tg_delivery_free(shot->deliveries[i]);
        shot_free(shot);
    }
    tg_breaker_forget_probe(&o->breaker);
    tg_circuit_probed(o);
}

/* --- verdicts --- */

static void judge(struct shot *shot, const struct tg_response *response, enum tg_client_failure failure,
                  struct tg_verdict *verdict)
{
    struct tg_err err = {0};
    tg_judge_status(response->status, failure, verdict);
    if (failure == TG_CLIENT_ANSWERED &&
        tg_verdict_judge(shot->script->dest, request_of(shot), response, verdict, &err) != TG_OK)
        tg_warn("judge failed: the status decides", TG_FS("destination", shot->outlet->name),
                TG_FS("error", err.msg));
}

/* What the answer says of the partner's health. Repeated attempts of one event have their own back-off and
 * must not close the way for the others; a rate limit that says when it ends pauses instead. */
static void feel_pulse(struct shot *shot, const struct tg_verdict *verdict,
                       const struct tg_response *response, int64_t pause)
{
    struct outlet *o = shot->outlet;
    enum tg_breaker_state before = o->breaker.state;
    int status = response->status;
    bool fresh = false;
    for (size_t i = 0; i < shot->n; i++)
        fresh = fresh || shot->deliveries[i]->item->lane != NULL;
    if (verdict->outcome != TG_OUTCOME_RETRY)
        tg_breaker_success(&o->breaker, o->concurrency);
    else if (status == 429 && pause > 0 && shot->probe)
        tg_breaker_forget_probe(&o->breaker);
    else if (!(status == 429 && pause > 0) && (fresh || shot->probe))
        tg_breaker_failure(&o->breaker, tg_mono_ms(), tg_engine_random(o->engine));
    tg_tell_breaker(o, before, response->error, status);
    tg_circuit_changed(o, before);
    if (!o->breaker.probing)
        tg_circuit_probed(o);
    if (o->breaker.state == TG_BREAKER_OPEN)
        tg_outlet_touch_all(o); /* what waits for nothing here goes back into the log: memory stays flat */
}

static void succeed(struct delivery *d, const struct tg_response *response)
{
    struct item *item = d->item;
    struct outlet *o = item->outlet;
    unsigned call = d->request->call;
    bool kept = !d->request->repeatable;
    tg_strikes_success(o->strikes);
    tg_delivery_free(d);
    item->any_ok = item->any_ok || kept;
    tg_engine_touch(o->engine, item);
    if (item->run && item->ended) {
        tg_run_settle(item->run, call, response);
    } else if (item->run) { /* the handler may go on */
        int64_t began = tg_outlet_clock_us(o);
        tg_run_settle(item->run, call, response);
        o->deficit_us -= tg_outlet_clock_us(o) - began;
    }
}

/* A reject may be the one that shows that the destination is at fault. */
static void reject(struct delivery *d, const struct tg_verdict *v, const struct tg_response *response,
                   const char *message)
{
    struct outlet *o = d->item->outlet;
    int status = response->status;
    if (tg_strikes_reject(o->strikes, status, v)) {
        char reason[TG_REASON_MAX], why[TG_MESSAGE_MAX];
        tg_dead_answer(d->request, response, why);
        snprintf(reason, sizeof reason, "%s", v->reason);
        fail_delivery(d, TG_OUTCOME_PARK, reason, message, status);
        tg_outlet_park(o, reason, why);
        return;
    }
    fail_delivery(d, TG_OUTCOME_REJECT, v->reason, message, status);
}

/* A 401 may mean that a token has ended early. That token is not used again, and the event asks for another
 * one, once, before the 401 counts. */
static bool renews(struct delivery *d, const struct tg_verdict *v, int status)
{
    struct item *item = d->item;
    if (status != 401 || !item->run || !tg_run_refuse_tokens(item->run) || item->renewed || v->by_script ||
        v->outcome != TG_OUTCOME_PARK)
        return false;
    item->renewed = item->rerun = true;
    tg_engine_touch(item->outlet->engine, item);
    tg_delivery_free(d);
    return true;
}

static bool may_become_dead(const struct item *item, enum tg_outcome outcome)
{
    return outcome == TG_OUTCOME_REJECT || item->budget_used >= item->outlet->backoff.deadline_ms;
}

static void apply(struct shot *shot, size_t i, const struct tg_verdict *v, const struct tg_response *response)
{
    struct delivery *d = shot->deliveries[i];
    struct item *item = d->item;
    if (v->outcome == TG_OUTCOME_OK) {
        succeed(d, response);
        return;
    }
    if (renews(d, v, response->status))
        return;
    if (may_become_dead(item, v->outcome))
        note(shot, i, response);
    const char *message = v->message[0] ? v->message : response->error;
    if (v->outcome == TG_OUTCOME_REJECT) {
        reject(d, v, response, message);
        return;
    }
    char why[TG_MESSAGE_MAX] = "";
    if (v->outcome == TG_OUTCOME_PARK)
        tg_dead_answer(request_of(shot), response, why); /* while the request is there */
    fail_delivery(d, v->outcome, v->reason, message, response->status);
    if (v->outcome == TG_OUTCOME_PARK)
        tg_outlet_park(shot->outlet, v->reason, why);
}

/* Each item its own verdict, as the script reads the answer; then true. Else `verdict` counts for all. */
static bool split(struct shot *shot, const struct tg_response *response, struct tg_verdict *verdict)
{
    struct tg_err err = {0};
    const char *batch = shot->deliveries[0]->request->batch;
    if (!shot->joined || !tg_verdict_splits(shot->script->dest, batch, verdict->outcome))
        return false;
    struct tg_request **requests = tg_calloc(shot->n, sizeof *requests);
    struct tg_verdict *each = tg_calloc(shot->n, sizeof *each);
    int rc = requests && each ? TG_OK : tg_fail(&err, TG_NOMEM, "no memory for the verdicts of a batch");
    for (size_t i = 0; rc == TG_OK && i < shot->n; i++)
        requests[i] = shot->deliveries[i]->request;
    int64_t began = tg_outlet_clock_us(shot->outlet);
    if (rc == TG_OK)
        rc = tg_verdict_split(shot->script->dest, requests, shot->n, response, verdict, each, &err);
    shot->outlet->deficit_us -= tg_outlet_clock_us(shot->outlet) - began;
    if (rc < 0)
        tg_warn("split failed: the answer counts for every item", TG_FS("destination", shot->outlet->name),
                TG_FS("error", err.msg));
    for (size_t i = 0; each && rc > 0 && i < shot->n; i++)
        apply(shot, i, &each[i], response);
    tg_free(requests);
    tg_free(each);
    return rc > 0;
}

static void apply_all(struct shot *shot, const struct tg_verdict *v, const struct tg_response *response)
{
    struct tg_verdict verdict = *v;
    if (split(shot, response, &verdict))
        return;
    if (verdict.outcome == TG_OUTCOME_REJECT && shot->n > 1 && shot->is_batch) {
        for (size_t i = 0; i < shot->n; i++) {
            shot->deliveries[i]->item->n_sent--;
            shot->deliveries[i]->state = DELIVERY_BATCHED;
        }
        halve(shot->outlet, shot->script, shot->deliveries, shot->n);
        return;
    }
    for (size_t i = shot->n; i-- > 0;) /* the first one's request may be the one that was sent */
        apply(shot, i, &verdict, response);
}

static void on_done(void *arg, const struct tg_response *response, enum tg_client_failure failure)
{
    struct shot *shot = arg;
    assert(shot->magic == SHOT_MAGIC);
    struct outlet *o = shot->outlet;
    struct tg_engine *e = o->engine;
    struct tg_verdict verdict;
    shot->call = NULL;
    unlink_sent(shot);
    if (e->o.on_exchange)
        e->o.on_exchange(e->o.on_exchange_arg, shot->script->dest, request_of(shot), response);
    tg_counters_request(&o->counters, response->status);
    judge(shot, response, failure, &verdict);
    int64_t pause = tg_judge_pause(response, rate_of(shot), tg_wall_ms());
    if (pause > 0) {
        char why[TG_MESSAGE_MAX];
        tg_dead_answer(request_of(shot), response, why);
        tg_outlet_pause(o, pause, why);
    }
    feel_pulse(shot, &verdict, response, pause);
    apply_all(shot, &verdict, response);
    shot_free(shot);
    tg_outlet_wake(o);
    tg_engine_check(e);
}
