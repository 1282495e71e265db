#include "deliver/item_end.h"

#include "base/clock.h"
#include "base/log.h"
#include "deliver/backoff.h"
#include "deliver/item.h"
#include "deliver/item_fail.h"
#include "deliver/item_write.h"
#include "deliver/shot.h"
#include "deliver/standing.h"
#include "deliver/tell.h"
#include "deliver/turns.h"

/* Keeps the answers for the next attempt. */
static int keep_responses(struct item *item)
{
    struct tg_buf kept = TG_BUF_INIT(TG_RESPONSES_MAX);
    if (!item->run || !item->any_ok)
        return TG_OK;
    int rc = tg_run_responses(item->run, &kept);
    if (rc == TG_OK) {
        tg_buf_fini(&item->responses);
        item->responses = kept;
    } else {
        tg_buf_fini(&kept);
    }
    return rc;
}

static void write_row(struct item *item, int64_t delay)
{
    if (keep_responses(item) != TG_OK)
        tg_warn("answers of finished deliveries could not be kept: they may be sent again",
                TG_FS("destination", item->outlet->name), TG_FI("seq", item->seq));
    tg_item_end_run(item);
    item->due = tg_wall_ms() + delay;
    item->write = item->lane ? WRITE_PUT_RETRY : WRITE_UPDATE_RETRY;
    tg_item_write(item);
}

static void conclude_dead(struct item *item)
{
    struct outlet *o = item->outlet;
    tg_item_end_run(item);
    item->write = item->lane ? WRITE_PUT_DEAD : WRITE_RETRY_TO_DEAD;
    if (item->shed && !item->lane && o->quota.drop_backlog) {
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, item->reason);
        tg_tell_dropped(o, item->reason);
        item->write = WRITE_DELETE_RETRY;
    }
    tg_item_write(item);
}

static void conclude_retry(struct item *item)
{
    struct outlet *o = item->outlet;
    int64_t delay;
    bool sick = o->breaker.state != TG_BREAKER_CLOSED;
    bool at_fault = sick && item->status != 429 && item->retry_after == 0;
    if (at_fault && item->lane && !item->probe && !item->any_ok) {
        tg_item_give_back(item);
        return;
    }
    item->attempts++;
    if (!item->first_failure)
        item->first_failure = tg_wall_ms();
    if (tg_backoff_next(&o->backoff, item->attempts, tg_backoff_random(&o->engine->random), item->retry_after,
                        at_fault, &item->budget_used, &delay)) {
        write_row(item, delay);
    } else {
        tg_tell_failed(item, false);
        conclude_dead(item);
    }
}

void tg_item_put_back(struct item *item)
{
    if (item->any_ok)
        write_row(item, 0);
    else
        tg_item_give_back(item);
}

static void conclude_failure(struct item *item)
{
    if (item->outcome == TG_OUTCOME_PARK) {
        tg_item_put_back(item);
    } else if (item->outcome == TG_OUTCOME_RETRY) {
        conclude_retry(item);
    } else {
        item->attempts += !item->shed;
        if (!item->first_failure)
            item->first_failure = tg_wall_ms();
        conclude_dead(item);
    }
}

static void run_again(struct item *item)
{
    struct outlet *o = item->outlet;
    if (keep_responses(item) != TG_OK)
        tg_warn("answers of finished deliveries could not be kept: they may be sent again",
                TG_FS("destination", o->name), TG_FI("seq", item->seq));
    tg_item_end_run(item);
    tg_item_wait(item);
    tg_outlet_wake(o);
}

static void conclude_success(struct item *item)
{
    struct tg_counters *c = &item->outlet->counters;
    if (item->skipped && !item->delivered)
        tg_counters_event(c, TG_COUNT_SKIPPED, item->reason);
    else if (!item->delivered && !item->responses.len)
        tg_counters_event(c, TG_COUNT_SKIPPED, "no_request");
    else
        tg_counters_delivered(c, tg_wall_ms() - item->received_at);
    if (item->lane) {
        tg_item_settle(item);
        return;
    }
    tg_item_end_run(item);
    item->write = WRITE_DELETE_RETRY;
    tg_item_write(item);
}

static void conclude_forgotten(struct item *item)
{
    tg_item_end_run(item);
    item->write = item->lane ? WRITE_PUT_DEAD : WRITE_RETRY_TO_DEAD;
    tg_item_write(item); /* which makes nothing of it */
}

static void check(struct item *item)
{
    /* The last stop has cancelled what was under way: that is no success. */
    if (item->state != ITEM_RUNNING || item->outlet->engine->stopped)
        return;
    bool done = item->ended && item->n_open == 0 && !item->failed && !item->rerun;
    if (!done && tg_item_is_forgotten(item)) {
        tg_shot_drop_unsent(item);
        if (item->n_sent == 0)
            conclude_forgotten(item);
        return;
    }
    bool unsent = item->n_open > item->n_sent;
    if (!item->failed && unsent && tg_outlet_stands_still(item->outlet))
        tg_item_fail(item, TG_OUTCOME_PARK, "held_back", NULL, 0);
    if (item->failed || item->rerun) {
        tg_shot_drop_unsent(item);
        if (item->n_sent > 0)
            return;
        if (item->failed)
            conclude_failure(item);
        else if (tg_outlet_stands_still(item->outlet))
            tg_item_put_back(item); /* no turn comes for it, or not soon */
        else
            run_again(item);
    } else if (item->ended && item->n_open == 0) {
        conclude_success(item);
    }
}

void tg_engine_check(struct tg_engine *e)
{
    while (e->touched) {
        struct item *item = e->touched;
        e->touched = item->touch_next;
        item->is_touched = false;
        check(item);
    }
}
