/* One event on its way through one destination.
 *
 *     WAITING --start--> RUNNING --all deliveries done--> settled, or WRITING (row in or out of the state)
 * --> settled
 *
 * The happy path: the handler asks for deliveries, each succeeds, the handler ends, the cursor moves on.
 * Failures:
 *
 *   - a delivery fails: what is not sent yet is dropped, what is on the wire is waited for (so that its
 * answer is remembered and it is not sent twice), then the outcome decides: retry row, dead letter, or back
 * into the log;
 *   - back into the log ("given back") happens when the destination and not the event is at fault and nothing
 * of the event has been delivered: parked, breaker open. The cursor stands still and the lane reads it again
 * later;
 *   - the state cannot be written: the item stays in WRITING and is tried again, and the cursor does not
 * move.
 */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/gate.h"

#include <assert.h>
#include <stdio.h>

enum { RESPONSES_MAX = 128 << 10 };

struct item *tg_item_new(struct outlet *o, struct tg_str header, struct tg_str body)
{
    struct item *item = tg_malloc(sizeof *item + header.n + body.n);
    if (!item)
        return NULL;
    memset(item, 0, sizeof *item);
    item->magic = ITEM_MAGIC;
    item->outlet = o;
    if (header.n)
        memcpy(item->mem, header.p, header.n);
    if (body.n)
        memcpy(item->mem + header.n, body.p, body.n);
    item->header = tg_str_n(item->mem, header.n);
    item->body = tg_str_n(item->mem + header.n, body.n);
    item->bytes = header.n + body.n;
    item->taken_at = tg_mono_ms();
    tg_buf_init(&item->responses, RESPONSES_MAX);
    tg_buf_init(&item->filtered, SIZE_MAX);
    item->next = o->items;
    if (item->next)
        item->next->prev = item;
    o->items = item;
    o->n_items++;
    o->item_bytes += item->bytes;
    return item;
}

static void unlink_item(struct item *item)
{
    struct outlet *o = item->outlet;
    if (item->prev)
        item->prev->next = item->next;
    else
        o->items = item->next;
    if (item->next)
        item->next->prev = item->prev;
    o->n_items--;
    o->n_rows -= item->retry_id != 0;
    o->quota.n_shedding -= item->shed;
    o->item_bytes -= item->bytes;
}

static void untouch(struct item *item)
{
    struct item **at = &item->outlet->engine->touched;
    while (item->is_touched && *at != item)
        at = &(*at)->touch_next;
    if (item->is_touched)
        *at = item->touch_next;
    item->is_touched = false;
}

/* Ends the run: its deliveries must be gone or done. */
static void end_run(struct item *item)
{
    tg_shot_drop_unsent(item);
    assert(item->n_sent == 0);
    if (item->run)
        tg_run_free(&item->run);
    if (item->script)
        tg_outlet_drop_script(&item->script);
}

void tg_item_free(struct item **p)
{
    struct item *item = *p;
    *p = NULL;
    assert(item->magic == ITEM_MAGIC);
    end_run(item);
    untouch(item);
    unlink_item(item);
    tg_buf_fini(&item->responses);
    tg_buf_fini(&item->filtered);
    tg_buf_fini(&item->request_text);
    tg_buf_fini(&item->response_text);
    tg_free(item->message);
    item->magic = 0;
    tg_free(item);
}

/* --- what the run says --- */

static int rank(enum tg_outcome outcome)
{
    return outcome == TG_OUTCOME_PARK     ? 3
           : outcome == TG_OUTCOME_REJECT ? 2
           : outcome == TG_OUTCOME_RETRY  ? 1
                                          : 0;
}

void tg_item_fail(struct item *item, enum tg_outcome outcome, const char *reason, const char *message,
                  int status)
{
    if (item->failed && rank(item->outcome) >= rank(outcome))
        return;
    item->failed = true;
    item->outcome = outcome;
    item->status = status;
    snprintf(item->reason, sizeof item->reason, "%s", reason);
    tg_free(item->message);
    item->message = message ? tg_strdup(message) : NULL;
    if (outcome != TG_OUTCOME_PARK) /* which has a line of its own */
        tg_tell_failed(item, outcome == TG_OUTCOME_RETRY);
    tg_engine_touch(item->outlet->engine, item);
}

/* Signatures and times within a request that has waited for longer than this may be refused as stale. */
enum { STALE_MS = 5000 };

bool tg_item_stands_still(const struct outlet *o)
{
    int64_t paused = atomic_load(o->paused); /* hardly ever is a clock needed */
    return o->removed || !o->enabled || o->engine->stopping || o->breaker.state == TG_BREAKER_OPEN ||
           tg_outlet_is_parked(o) || tg_outlet_is_held(o) || (paused > 0 && paused > tg_mono_ms() + STALE_MS);
}

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    (void)run;
    struct item *item = arg;
    assert(item->magic == ITEM_MAGIC);
    item->delivered = true;
    /* A second attempt comes; or the destination has been parked and what it would be sent is stale by then.
     */
    if (!item->failed && !item->rerun && tg_item_stands_still(item->outlet))
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
    int rc = tg_gate_filter(o->script->dest, o->filter, &item->event, item->seq, &item->filtered,
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

/* Its user has been forgotten since. */
static bool is_forgotten(const struct item *item)
{
    return tg_forgotten_hides(&item->outlet->engine->forgotten, &item->event);
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
    if (is_forgotten(item))
        return; /* what is touched is looked at */
    if (!passes_gates(item) || !filter(item))
        return;
    int rc = tg_run_start(o->script->dest, &item->shown, item->seq, item->options,
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

/* --- settling --- */

static void free_busy(struct item *item)
{
    struct lane *lane = item->lane;
    if (!lane)
        return;
    size_t bit = item->seq % TG_CURSOR_WINDOW;
    lane->busy[bit / 8] &= (unsigned char)~(1u << (bit % 8));
    lane->n_busy--;
}

/* The event is done with, durably. */
static void settle(struct item *item)
{
    struct outlet *o = item->outlet;
    if (!item->lane)
        tg_poison_forget(&o->engine->poison, o->engine->o.state, o->name, item->seq);
    if (item->lane) {
        tg_poison_settled(&o->engine->poison, o->name, item->seq);
        free_busy(item);
        tg_cursor_settle(item->lane->cursor, item->seq);
        tg_engine_settled(item->lane->part);
    }
    tg_item_free(&item);
    tg_outlet_wake(o);
}

void tg_item_give_back(struct item *item)
{
    struct outlet *o = item->outlet;
    if (item->lane) {
        free_busy(item);
        item->lane->rewind = true;
    } else {
        o->next_due = INT64_MIN;
    }
    tg_item_free(&item);
    tg_outlet_wake(o);
}

static void count_outcome(struct item *item)
{
    struct tg_counters *c = &item->outlet->counters;
    switch (item->write) {
    case WRITE_PUT_RETRY:
    case WRITE_UPDATE_RETRY:
        if (item->outcome == TG_OUTCOME_RETRY)
            tg_counters_event(c, TG_COUNT_RETRIED, item->reason);
        break;
    case WRITE_PUT_DEAD:
    case WRITE_RETRY_TO_DEAD:
        item->outlet->quota.dead_changed = true;
        if (item->outcome == TG_OUTCOME_REJECT && !item->shed)
            tg_counters_event(c, TG_COUNT_REJECTED, item->reason);
        tg_counters_event(c, TG_COUNT_DEAD, item->reason);
        break;
    default:
        break;
    }
}

/* As the state counts it (spool/state_ops.c); a little off is corrected when it is asked. */
static int64_t row_bytes(const struct item *item)
{
    return (int64_t)(item->header.n + item->body.n + item->responses.len + item->event.source.n +
                     item->event.message_id.n + strlen(item->reason)) +
           256;
}

static void on_written(void *arg, int status, const char *why)
{
    struct item *item = arg;
    assert(item->magic == ITEM_MAGIC && item->state == ITEM_WRITING);
    struct outlet *o = item->outlet;
    o->engine->writing--;
    /* A row that a person has deleted meanwhile is not missed. */
    bool gone = status == TG_NOTFOUND && item->write == WRITE_UPDATE_RETRY;
    if (status != TG_OK && !gone) {
        tg_engine_write_failed(o->engine, item, status, why);
        return;
    }
    if (gone)
        item->write = WRITE_DELETE_RETRY;
    tg_engine_written(o->engine);
    count_outcome(item);
    if (item->write == WRITE_PUT_RETRY)
        tg_outlet_saw_retry(o, item->received_at, 1, row_bytes(item));
    if (item->write == WRITE_DELETE_RETRY || item->write == WRITE_RETRY_TO_DEAD)
        tg_outlet_saw_retry(o, INT64_MAX, -1, -item->row_bytes);
    if ((item->write == WRITE_PUT_RETRY || item->write == WRITE_UPDATE_RETRY) && item->due < o->next_due)
        o->next_due = item->due;
    settle(item);
    tg_engine_wake(o->engine);
}

static int put_retry(struct item *item)
{
    struct outlet *o = item->outlet;
    struct tg_buf texts = TG_BUF_INIT(1 << 20);
    size_t id_at = 0;
    int rc = tg_buf_addstr(&texts, item->event.source);
    if (rc == TG_OK)
        rc = tg_buf_addc(&texts, 0);
    id_at = texts.len;
    if (rc == TG_OK)
        rc = tg_buf_addstr(&texts, item->event.message_id);
    if (rc == TG_OK)
        rc = tg_buf_addc(&texts, 0);
    if (rc == TG_OK) {
        struct tg_retry row = {.id = item->retry_id,
                               .destination = o->name,
                               .partition = item->partition,
                               .seq = item->seq,
                               .due = item->due,
                               .first_failure = item->first_failure,
                               .budget_used = item->budget_used,
                               .attempts = item->attempts,
                               .received_at = item->received_at,
                               .source = texts.data,
                               .message_id = texts.data + id_at,
                               .reason = item->reason,
                               .header = item->header,
                               .body = item->body,
                               .responses = tg_buf_str(&item->responses)};
        struct tg_state *s = o->engine->o.state;
        rc = item->write == WRITE_PUT_RETRY ? tg_state_put_retry(s, &row, on_written, item)
                                            : tg_state_update_retry(s, &row, on_written, item);
    }
    tg_buf_fini(&texts);
    return rc;
}

/* A row of a forgotten user is not written but goes if it is there. False: there is nothing to write at all.
 */
static bool spare_forgotten(struct item *item)
{
    if (item->write == WRITE_DELETE_RETRY || !is_forgotten(item))
        return true;
    tg_counters_event(&item->outlet->counters, TG_COUNT_SKIPPED, "forgotten");
    item->write = WRITE_DELETE_RETRY;
    return !item->lane;
}

/* Begins the write that item->write names; again after a failure. */
void tg_item_write(struct item *item)
{
    struct tg_engine *e = item->outlet->engine;
    int rc;
    if (!spare_forgotten(item)) {
        settle(item);
        return;
    }
    item->state = ITEM_WRITING;
    e->writing++;
    if (item->write == WRITE_PUT_RETRY || item->write == WRITE_UPDATE_RETRY)
        rc = put_retry(item);
    else if (item->write == WRITE_DELETE_RETRY)
        rc = tg_state_delete_retry(e->o.state, item->retry_id, on_written, item);
    else
        rc = tg_dead_put(item, on_written);
    if (rc != TG_OK)
        on_written(item, rc, tg_code_text(rc));
}

/* Keeps the answers for the next attempt. */
static int keep_responses(struct item *item)
{
    struct tg_buf kept = TG_BUF_INIT(RESPONSES_MAX);
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
    end_run(item);
    item->due = tg_wall_ms() + delay;
    item->write = item->lane ? WRITE_PUT_RETRY : WRITE_UPDATE_RETRY;
    tg_item_write(item);
}

static void conclude_dead(struct item *item)
{
    struct outlet *o = item->outlet;
    end_run(item);
    item->write = item->lane ? WRITE_PUT_DEAD : WRITE_RETRY_TO_DEAD;
    if (item->shed && !item->lane && o->quota.drop_backlog) {
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, item->reason);
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
    if (tg_backoff_next(&o->backoff, item->attempts, tg_engine_random(o->engine), item->retry_after, at_fault,
                        &item->budget_used, &delay)) {
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
    end_run(item);
    item->state = ITEM_WAITING;
    item->queue_next = NULL;
    *o->waiting_tail = item;
    o->waiting_tail = &item->queue_next;
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
        settle(item);
        return;
    }
    end_run(item);
    item->write = WRITE_DELETE_RETRY;
    tg_item_write(item);
}

static void conclude_forgotten(struct item *item)
{
    end_run(item);
    item->write = item->lane ? WRITE_PUT_DEAD : WRITE_RETRY_TO_DEAD;
    tg_item_write(item); /* which makes nothing of it */
}

void tg_item_check(struct item *item)
{
    /* The last stop has cancelled what was under way: that is no success. */
    if (item->state != ITEM_RUNNING || item->outlet->engine->stopped)
        return;
    bool done = item->ended && item->n_open == 0 && !item->failed && !item->rerun;
    if (!done && is_forgotten(item)) {
        tg_shot_drop_unsent(item);
        if (item->n_sent == 0)
            conclude_forgotten(item);
        return;
    }
    bool unsent = item->n_open > item->n_sent;
    if (!item->failed && unsent && tg_item_stands_still(item->outlet))
        tg_item_fail(item, TG_OUTCOME_PARK, "held_back", NULL, 0);
    if (item->failed || item->rerun) {
        tg_shot_drop_unsent(item);
        if (item->n_sent > 0)
            return;
        if (item->failed)
            conclude_failure(item);
        else if (tg_item_stands_still(item->outlet))
            tg_item_put_back(item); /* no turn comes for it, or not soon */
        else
            run_again(item);
    } else if (item->ended && item->n_open == 0) {
        conclude_success(item);
    }
}
