#include "deliver/retry_set.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/item.h"
#include "deliver/item_fail.h"
#include "deliver/judge.h"
#include "deliver/turns.h"

#include <assert.h>

enum { DUE_ROWS = 64 };

void tg_outlet_saw_retry(struct outlet *o, int64_t received_at, int64_t more, int64_t bytes)
{
    o->n_retries += more;
    o->retry_bytes += bytes;
    if (received_at < o->oldest_retry)
        o->oldest_retry = received_at;
    if (o->n_retries <= 0) {
        o->oldest_retry = INT64_MAX;
        o->retry_bytes = 0;
    }
}

struct item *tg_outlet_item_of_row(struct outlet *o, const struct tg_retry *row)
{
    struct tg_err err = {0};
    struct item *item = tg_item_new(o, row->header, row->body);
    if (!item)
        return NULL;
    o->n_rows++;
    item->retry_id = row->id;
    item->row_bytes = (int64_t)(row->header.n + row->body.n + row->responses.n + strlen(row->source) +
                                strlen(row->message_id) + strlen(row->reason)) +
                      256;
    item->partition = row->partition;
    item->seq = row->seq;
    item->attempts = row->attempts;
    item->first_failure = row->first_failure;
    item->budget_used = row->budget_used;
    item->received_at = row->received_at;
    if (tg_event_decode(item->header, item->body, &item->event, &err) != TG_OK)
        tg_item_fail(item, TG_OUTCOME_REJECT, "corrupt_event", err.msg, 0);
    return item;
}

static void take_row(struct outlet *o, const struct tg_retry *row)
{
    struct item *item = tg_outlet_item_of_row(o, row);
    if (!item) {
        o->next_due = INT64_MIN;
        return;
    }
    tg_outlet_saw_retry(o, row->received_at, 0, 0);
    tg_item_refuse_poison(item);
    if (tg_buf_addstr(&item->responses, row->responses) != TG_OK)
        tg_buf_clear(&item->responses);
    tg_item_wait(item);
}

static void on_due(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                   int64_t total)
{
    struct outlet *o = arg;
    assert(o->magic == OUTLET_MAGIC);
    o->asking = false;
    if (status != TG_OK) {
        o->next_due = tg_wall_ms() + 1000;
        tg_warn("retry set cannot be read", TG_FS("destination", o->name),
                TG_FS("error", tg_code_text(status)));
        return;
    }
    /* Rows written meanwhile have lowered next_due themselves. */
    int64_t then = next_due == TG_NO_TIME ? INT64_MAX : next_due;
    o->next_due = o->next_due == INT64_MAX || then < o->next_due ? then : o->next_due;
    o->n_retries = total;
    for (size_t i = 0; i < n && !o->removed; i++)
        take_row(o, &rows[i]);
    tg_outlet_wake(o);
}

/* No row is written with a longer delay. */
static int64_t longest_delay(const struct outlet *o)
{
    int64_t ms = o->backoff.max_ms > o->backoff.deadline_ms ? o->backoff.max_ms : o->backoff.deadline_ms;
    return (ms > TG_PAUSE_MAX_MS ? ms : TG_PAUSE_MAX_MS) + 1000;
}

void tg_outlet_ask_for_due(struct outlet *o, int64_t now)
{
    struct tg_engine *e = o->engine;
    size_t n = 0;
    /* The clock has gone back since that row was written: it is not to wait for so long. */
    if (o->next_due != INT64_MAX && o->next_due != INT64_MIN && o->next_due - now > longest_delay(o))
        now = o->next_due;
    if (o->asking || o->quota.asking_rows || o->next_due > now || o->waiting)
        return;
    int64_t *busy = tg_calloc(o->n_items ? o->n_items : 1, sizeof *busy);
    if (!busy) {
        tg_outlet_try_again_soon(o);
        return;
    }
    for (const struct item *item = o->items; item; item = item->next)
        if (item->retry_id)
            busy[n++] = item->retry_id;
    o->next_due = INT64_MAX;
    o->asking = true;
    int rc = tg_state_due_retries(e->o.state, o->name, e->o.worker, e->o.workers, now, DUE_ROWS, busy, n,
                                  on_due, o);
    tg_free(busy);
    if (rc != TG_OK)
        on_due(o, rc, NULL, 0, TG_NO_TIME, 0);
}
