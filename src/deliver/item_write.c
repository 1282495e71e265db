#include "deliver/item_write.h"

#include "base/clock.h"
#include "base/log.h"
#include "deliver/dead.h"
#include "deliver/item.h"
#include "deliver/lane.h"
#include "deliver/part.h"
#include "deliver/retry_set.h"
#include "deliver/timer.h"
#include "deliver/turns.h"

#include <assert.h>
#include <event2/event.h>

enum { AGAIN_MS = 200 };

/* The event is done with, durably. */
void tg_item_settle(struct item *item)
{
    struct outlet *o = item->outlet;
    if (!item->lane)
        tg_poison_forget(&o->engine->poison, o->engine->o.state, o->name, tg_item_mark(item));
    if (item->lane) {
        tg_poison_settled(&o->engine->poison, o->name, tg_item_mark(item));
        tg_lane_let_go(item->lane, item->seq);
        tg_cursor_settle(item->lane->cursor, item->seq);
        tg_part_settled(item->lane->part);
    }
    tg_item_free(&item);
    tg_outlet_wake(o);
}

void tg_item_give_back(struct item *item)
{
    struct outlet *o = item->outlet;
    if (item->lane) {
        tg_lane_let_go(item->lane, item->seq);
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

static void write_failed(struct tg_engine *e, struct item *item, int status, const char *why)
{
    /* The reserve is there for exactly these rows. */
    for (size_t i = 0; status == TG_FULL && i < e->o.n_parts; i++)
        tg_log_free_reserve(e->parts[i].log);
    if (tg_told_due(&e->told, tg_mono_ms()))
        tg_told_warn(&e->told, "state cannot be written; trying again",
                     TG_FS("destination", item->outlet->name),
                     TG_FS("error", why ? why : tg_code_text(status)));
    e->write_fails = true;
    item->queue_next = e->unwritten;
    e->unwritten = item;
    if (!evtimer_pending(e->again, NULL))
        tg_timer_arm(e->again, AGAIN_MS);
}

static void written(struct tg_engine *e)
{
    if (!e->write_fails || e->unwritten)
        return;
    e->write_fails = false;
    tg_info("state is written again");
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
        write_failed(o->engine, item, status, why);
        return;
    }
    if (gone)
        item->write = WRITE_DELETE_RETRY;
    written(o->engine);
    count_outcome(item);
    if (item->write == WRITE_PUT_RETRY)
        tg_outlet_saw_retry(o, item->received_at, 1, row_bytes(item));
    if (item->write == WRITE_DELETE_RETRY || item->write == WRITE_RETRY_TO_DEAD)
        tg_outlet_saw_retry(o, INT64_MAX, -1, -item->row_bytes);
    if ((item->write == WRITE_PUT_RETRY || item->write == WRITE_UPDATE_RETRY) && item->due < o->next_due)
        o->next_due = item->due;
    tg_item_settle(item);
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
    if (item->write == WRITE_DELETE_RETRY || !tg_item_is_forgotten(item))
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
        tg_item_settle(item);
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

void tg_items_write_again(evutil_socket_t fd, short what, void *arg)
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
