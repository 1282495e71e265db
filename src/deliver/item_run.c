#include "deliver/item_run.h"

#include "base/mem.h"
#include "deliver/gate.h"
#include "deliver/item.h"
#include "deliver/item_fail.h"
#include "deliver/shot.h"
#include "deliver/standing.h"
#include "deliver/turns.h"

#include <assert.h>
#include <stdio.h>

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    (void)run;
    struct item *item = arg;
    assert(item->magic == ITEM_MAGIC);
    item->delivered = true;
    /* A second attempt comes; or the destination has been parked and what it would be sent is stale by then.
     */
    if (!item->failed && !item->rerun && tg_outlet_stands_still(item->outlet))
        tg_item_fail(item, TG_OUTCOME_PARK, "held_back", NULL, 0);
    if (item->failed || item->rerun) {
        tg_request_free(&request);
        return;
    }
    if (tg_shot_add(item, request) == TG_OK)
        return;
    tg_request_free(&request);
    tg_item_fail(item, TG_OUTCOME_RETRY, "no_memory", NULL, 0);
}

static void on_memory(struct item *item, const struct tg_run_result *result)
{
    if (++item->memory_strikes == 1)
        item->rerun = true;
    else
        tg_item_fail(item, TG_OUTCOME_REJECT, "script_memory", result->message, 0);
}

static void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    (void)run;
    struct item *item = arg;
    assert(item->magic == ITEM_MAGIC);
    const char *reason = result->reason ? result->reason : "";
    item->ended = true;
    switch (result->end) {
    case TG_RUN_DONE:
        break;
    case TG_RUN_SKIP:
        item->skipped = true;
        snprintf(item->reason, sizeof item->reason, "%s", reason);
        break;
    case TG_RUN_RETRY:
        if (result->retry_after_ms == TG_RUN_LOST) {
            item->rerun = true;
            break;
        }
        item->retry_after = result->retry_after_ms;
        tg_item_fail(item, TG_OUTCOME_RETRY, reason, result->message, 0);
        break;
    case TG_RUN_MEMORY:
        on_memory(item, result);
        break;
    default:
        tg_item_fail(item, TG_OUTCOME_REJECT, reason, result->message, 0);
    }
    tg_engine_touch(item->outlet->engine, item);
}

static void skip(struct item *item, const char *reason)
{
    item->ended = item->skipped = true;
    snprintf(item->reason, sizeof item->reason, "%s", reason);
}

static void filter_failed(struct item *item, int rc, const struct tg_err *err)
{
    item->ended = true;
    if (rc == TG_NOMEM)
        tg_item_fail(item, TG_OUTCOME_RETRY, "no_memory", err->msg, 0);
    else
        tg_item_fail(item, TG_OUTCOME_REJECT, rc == TG_BUSY ? "script_timeout" : "filter_error", err->msg, 0);
}

/* Makes item->shown. False when the item is done with: filtered out, or the filter has failed. */
static bool filter(struct item *item)
{
    const struct outlet *o = item->outlet;
    struct tg_err err = {0};
    const char *held = NULL;
    int rc = tg_gate_filter(o->script->dest, o->filter, &item->event, tg_item_mark(item), &item->filtered,
                            &item->shown, &held, &err);
    if (rc)
        filter_failed(item, rc, &err);
    else if (held)
        skip(item, held);
    return !rc && !held;
}

/* What comes from the log was asked when it was read; what was kept since, as a retry or a dead letter, is
 * asked for the gates as they are now: the rules may have changed, and what became a dead letter with its
 * whole destination has never been asked. */
static bool passes_gates(struct item *item)
{
    const struct outlet *o = item->outlet;
    const struct tg_gate_rules rules = {o->sources, o->n_sources, o->consent, o->n_consent};
    const char *why = item->lane ? NULL : tg_gate(o->script->dest, &rules, &item->event, &item->options);
    if (why)
        skip(item, why);
    return !why;
}

void tg_item_start(struct item *item)
{
    static const struct tg_run_ops ops = {on_deliver, on_end};
    struct outlet *o = item->outlet;
    struct tg_err err = {0};
    item->state = ITEM_RUNNING;
    item->script = o->script;
    o->script->users++;
    item->ended = item->skipped = item->rerun = item->delivered = false;
    tg_engine_touch(o->engine, item);
    if (item->failed)
        return; /* it could not even be read */
    if (tg_item_is_forgotten(item))
        return; /* what is touched is looked at */
    if (!passes_gates(item) || !filter(item))
        return;
    int rc = tg_run_start(o->script->dest, &item->shown, tg_item_mark(item), item->options,
                          tg_buf_str(&item->responses), &ops, item, &item->run, &err);
    if (rc == TG_OK)
        return;
    if (rc == TG_UNSUPPORTED) {
        skip(item, "type_not_accepted");
        return;
    }
    item->ended = true;
    tg_item_fail(item, rc == TG_NOMEM ? TG_OUTCOME_RETRY : TG_OUTCOME_REJECT,
                 rc == TG_NOMEM ? "no_memory" : "script_error", err.msg, 0);
}
