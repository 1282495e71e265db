#include "deliver/shot_verdict.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/backoff.h"
#include "deliver/circuit.h"
#include "deliver/dead.h"
#include "deliver/shot.h"
#include "deliver/shot_rate.h"
#include "deliver/standing.h"
#include "deliver/tell.h"
#include "deliver/turns.h"

#include <stdio.h>

/* Of a batch it gets what it would have sent alone, and the words that the answer has for it: the others'
 * data are not its own, would outlive `forget`, and say nothing in a replay's difference. */
void tg_shot_note(struct shot *shot, size_t i, const struct tg_response *response, const char *own)
{
    struct delivery *d = shot->deliveries[i];
    struct tg_request *alone = NULL;
    struct tg_err err = {0};
    char place[64];
    if (shot->n == 1 || !shot->is_batch) {
        tg_dead_note(d->item, "", tg_shot_request(shot), response);
        return;
    }
    struct tg_response part = response ? *response : (struct tg_response){0};
    if (own && *own)
        part.body = tg_str_of(own);
    (void)snprintf(place, sizeof place, "# item %zu of the %zu of its batch\n", i + 1, shot->n);
    if (tg_dest_join(shot->script->dest, &d->request, 1, &alone, &err) != TG_OK)
        alone = NULL; /* then without its body */
    tg_dead_note(d->item, place, alone ? alone : d->request, response ? &part : NULL);
    tg_request_free(&alone);
}

static void judge(struct shot *shot, const struct tg_response *response, enum tg_client_failure failure,
                  struct tg_verdict *verdict)
{
    struct tg_err err = {0};
    tg_judge_status(response->status, failure, verdict);
    if (failure == TG_CLIENT_ANSWERED &&
        tg_verdict_judge(shot->script->dest, tg_shot_request(shot), response, verdict, &err) != TG_OK)
        tg_warn("judge failed: the status decides", TG_FS("destination", shot->outlet->name),
                TG_FS("error", err.msg));
}

/* "500 from POST https://…", or with the network's words: "no answer from POST https://…: timed out". */
static void note_ailment(const struct shot *shot, const struct tg_response *response)
{
    struct outlet *o = shot->outlet;
    tg_dead_answer(tg_shot_request(shot), response, o->ails);
    size_t n = strlen(o->ails);
    if (!response->status && response->error)
        (void)snprintf(o->ails + n, sizeof o->ails - n, ": %s", response->error);
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
        tg_breaker_failure(&o->breaker, tg_mono_ms(), tg_backoff_random(&o->engine->random));
    tg_tell_breaker(o, before, response->error, status);
    tg_circuit_changed(o, before);
    if (!o->breaker.probing)
        tg_circuit_probed(o);
    if (o->breaker.state == TG_BREAKER_OPEN && verdict->outcome == TG_OUTCOME_RETRY)
        note_ailment(shot, response);
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
        tg_delivery_fail(d, TG_OUTCOME_PARK, reason, message, status);
        tg_outlet_park(o, reason, why);
        return;
    }
    tg_delivery_fail(d, TG_OUTCOME_REJECT, v->reason, message, status);
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

/* A key that is refused after a reload has brought other settings says nothing of the new one, with which the
 * event runs again. Another worker may have let the parked destination go on before this one had those. Nor
 * does a refusal of what was sent before a person had the destination go on: what was wrong is repaired. */
static bool is_outdated(const struct shot *shot, const struct tg_verdict *v, int status)
{
    bool denied = v->outcome == TG_OUTCOME_REJECT && (status == 402 || status == 403);
    return (denied || v->outcome == TG_OUTCOME_PARK) &&
           (shot->script->generation < shot->outlet->settings_since ||
            shot->resumes != shot->outlet->resumes);
}

static void run_as_things_are_now(struct delivery *d)
{
    struct item *item = d->item;
    item->rerun = true;
    tg_engine_touch(item->outlet->engine, item);
    tg_delivery_free(d);
}

static bool may_become_dead(const struct item *item, enum tg_outcome outcome)
{
    return outcome == TG_OUTCOME_REJECT || item->budget_used >= item->outlet->backoff.deadline_ms;
}

/* `own`: as in tg_shot_note. */
static void apply(struct shot *shot, size_t i, const struct tg_verdict *v, const struct tg_response *response,
                  const char *own)
{
    struct delivery *d = shot->deliveries[i];
    struct item *item = d->item;
    if (v->outcome == TG_OUTCOME_OK) {
        succeed(d, response);
        return;
    }
    if (renews(d, v, response->status))
        return;
    if (is_outdated(shot, v, response->status)) {
        run_as_things_are_now(d);
        return;
    }
    if (may_become_dead(item, v->outcome))
        tg_shot_note(shot, i, response, own);
    const char *message = v->message[0] ? v->message : response->error;
    if (v->outcome == TG_OUTCOME_REJECT) {
        reject(d, v, response, message);
        return;
    }
    char why[TG_MESSAGE_MAX] = "";
    if (v->outcome == TG_OUTCOME_PARK)
        tg_dead_answer(tg_shot_request(shot), response, why); /* while the request is there */
    tg_delivery_fail(d, v->outcome, v->reason, message, response->status);
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
        apply(shot, i, &each[i], response, each[i].message);
    tg_free(requests);
    tg_free(each);
    return rc > 0;
}

static void apply_all(struct shot *shot, const struct tg_verdict *v, const struct tg_response *response)
{
    struct tg_verdict verdict = *v;
    bool outdated = is_outdated(shot, v, response->status);
    if (!outdated && split(shot, response, &verdict))
        return;
    if (!outdated && verdict.outcome == TG_OUTCOME_REJECT && shot->n > 1 && shot->is_batch) {
        for (size_t i = 0; i < shot->n; i++) {
            shot->deliveries[i]->item->n_sent--;
            shot->deliveries[i]->state = DELIVERY_BATCHED;
            /* Its user may have been forgotten meanwhile, or the destination held. */
            tg_engine_touch(shot->outlet->engine, shot->deliveries[i]->item);
        }
        tg_shot_halve(shot->outlet, shot->script, shot->deliveries, shot->n);
        return;
    }
    for (size_t i = shot->n; i-- > 0;) /* the first one's request may be the one that was sent */
        apply(shot, i, &verdict, response, NULL);
}

void tg_shot_answered(struct shot *shot, const struct tg_response *response, enum tg_client_failure failure)
{
    struct outlet *o = shot->outlet;
    struct tg_verdict verdict;
    judge(shot, response, failure, &verdict);
    int64_t pause = tg_judge_pause(response, tg_shot_rate(shot), tg_wall_ms());
    if (pause > 0) {
        char why[TG_MESSAGE_MAX];
        tg_dead_answer(tg_shot_request(shot), response, why);
        tg_outlet_pause(o, pause, why);
    }
    feel_pulse(shot, &verdict, response, pause);
    apply_all(shot, &verdict, response);
}
