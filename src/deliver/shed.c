#include "deliver/shed.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/item_end.h"
#include "deliver/item_fail.h"
#include "deliver/item_run.h"
#include "deliver/lane.h"
#include "deliver/quota.h"
#include "deliver/retry_set.h"
#include "deliver/turns.h"

enum { SHED_EVENTS = 256, RECORDS_A_TURN = 1000, PAUSE_MS = 1000 };

bool tg_shed_lane(struct outlet *o, struct lane *lane, int64_t now)
{
    for (int i = 0; i < RECORDS_A_TURN && o->quota.n_shedding < SHED_EVENTS && tg_quota_wants(o, lane, now);
         i++) {
        struct item *item = NULL;
        o->shedding = true;
        enum taken taken = tg_lane_take(o, lane, &item);
        o->shedding = false;
        if (taken == TAKEN_NOTHING) {
            o->quota.again_at = now + PAUSE_MS;
            return false;
        }
        if (taken == TAKEN_ITEM) {
            tg_item_start(item);
            tg_engine_check(o->engine);
        }
    }
    return o->quota.n_shedding < SHED_EVENTS && tg_quota_wants(o, lane, now);
}

static bool shed_row(struct outlet *o, const struct tg_retry *row, const char *reason)
{
    struct item *item = tg_outlet_item_of_row(o, row);
    if (!item)
        return false;
    tg_outlet_saw_retry(o, INT64_MAX, 0, -item->row_bytes); /* now: so that no more goes than has to */
    item->row_bytes = 0;
    item->shed = true;
    o->quota.n_shedding++;
    tg_item_fail(item, TG_OUTCOME_REJECT, reason, tg_quota_message(reason), 0);
    tg_item_start(item);
    tg_engine_check(o->engine);
    return true;
}

static void on_oldest(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                      int64_t total)
{
    struct outlet *o = arg;
    size_t gone = 0;
    (void)next_due;
    o->quota.asking_rows = false;
    if (status == TG_OK)
        o->n_retries = total;
    for (const char *reason;
         gone < n && tg_quota_may_shed(o) && (reason = tg_quota_refuses_row(o, rows[gone].received_at));
         gone++)
        if (!shed_row(o, &rows[gone], reason))
            break;
    if (gone == 0)
        o->quota.rows_again_at = tg_mono_ms() + PAUSE_MS;
    tg_outlet_wake(o);
}

void tg_shed_rows(struct outlet *o, int64_t now)
{
    struct quota *q = &o->quota;
    struct tg_engine *e = o->engine;
    /* Not while due ones are asked for, nor the other way round: both answers might have the same row. */
    if (o->asking || q->asking_rows || q->n_shedding > 0 || now < q->rows_again_at || !tg_quota_has_rows(o) ||
        !tg_quota_may_shed(o) || !tg_quota_refuses_row(o, o->oldest_retry))
        return;
    int64_t *busy = tg_calloc(o->n_rows ? o->n_rows : 1, sizeof *busy);
    size_t n = 0;
    for (const struct item *item = o->items; busy && item; item = item->next)
        if (item->retry_id)
            busy[n++] = item->retry_id;
    q->asking_rows = busy && tg_state_oldest_retries(e->o.state, o->name, e->o.worker, e->o.workers,
                                                     SHED_EVENTS, busy, n, on_oldest, o) == TG_OK;
    tg_free(busy);
    if (!q->asking_rows)
        q->rows_again_at = now + PAUSE_MS;
}
