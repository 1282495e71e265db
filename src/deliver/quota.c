/* The ceilings of one destination: what may wait for it in the log, and what its dead letters may take. So
 * one that is dead or parked fills its own share of the disk and not that of the others.
 *
 *  - backlog: what lies in the log, and the retry set, which an outage fills. The oldest events that are not
 * in hand become dead letters, or are dropped and counted, until the rest is within the ceiling: first of the
 * retry set, then of the log. Every worker has an equal share of it, as it has of the log.
 *  - dead letters: asked of the state, since all workers write them. Beyond the ceiling either the oldest go,
 * or nothing more is accepted (tg_engine_dead_full) and no event of the backlog is moved there either. */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdio.h>

enum { ASK_EVERY_TICKS = 10, TRIMMED_AT_ONCE = 500, ROWS_PAUSE_MS = 1000 };

static uint64_t bytes_of(const struct tg_quota *quota, uint64_t whole)
{
    return quota->bytes ? quota->bytes : (uint64_t)(quota->percent / 100 * (double)whole);
}

void tg_quota_set(struct outlet *o, const struct tg_destination_config *config)
{
    const struct tg_engine_options *e = &o->engine->o;
    struct quota *q = &o->quota;
    q->backlog_bytes = bytes_of(&config->backlog.max_bytes, e->spool_bytes) / (e->workers ? e->workers : 1);
    q->backlog_age = config->backlog.max_age_ms;
    q->drop_backlog = config->backlog.on_full == TG_BACKLOG_DROP_OLDEST;
    q->dead_bytes = bytes_of(&config->dead.max_bytes, e->spool_bytes);
    q->drop_dead = config->dead.on_full == TG_DEAD_DROP_OLDEST;
    q->dead_changed = true;
    if (!q->dead_bytes || q->drop_dead)
        atomic_store(q->dead_full, 0);
}

/* --- the backlog --- */

static bool may_shed(const struct outlet *o)
{
    return o->script && !o->removed && !o->engine->stopping &&
           (o->quota.drop_backlog || !atomic_load(o->quota.dead_full));
}

/* Retries that are not in hand: they are older than what lies in the log, as a rule, and leave before it. */
static bool has_rows(const struct outlet *o)
{
    return o->n_retries > (int64_t)o->n_rows;
}

static uint64_t retry_bytes(const struct outlet *o)
{
    return o->retry_bytes > 0 ? (uint64_t)o->retry_bytes : 0;
}

/* Of the log, from seq on. */
static bool is_over(const struct outlet *o, const struct lane *lane, uint64_t seq)
{
    return o->quota.backlog_bytes && !has_rows(o) &&
           tg_log_bytes_from(lane->part->log, seq) + retry_bytes(o) > o->quota.backlog_bytes;
}

static bool is_too_old(const struct outlet *o, int64_t age)
{
    return o->quota.backlog_age && age > o->quota.backlog_age;
}

const char *tg_quota_refuses(const struct outlet *o, const struct lane *lane, const struct tg_record *record)
{
    if (!may_shed(o))
        return NULL;
    if (is_over(o, lane, record->seq))
        return "backlog_full";
    return is_too_old(o, tg_wall_ms() - record->received_at) ? "backlog_too_old" : NULL;
}

const char *tg_quota_message(const char *reason)
{
    return strcmp(reason, "backlog_full") == 0
               ? "more waited for the destination than backlog.max_bytes allows"
               : "it waited longer for the destination than backlog.max_age allows";
}

bool tg_quota_wants(const struct outlet *o, const struct lane *lane, int64_t now)
{
    uint64_t at =
        lane->reader && !lane->rewind ? tg_log_reader_at(lane->reader) : tg_cursor_low(lane->cursor);
    if (now < o->quota.again_at || !may_shed(o) || at > tg_log_last(lane->part->log))
        return false;
    return is_over(o, lane, at) || is_too_old(o, o->oldest_age);
}

/* --- the retry set --- */

/* Why its oldest row has to go, or NULL. */
static const char *row_refused(const struct outlet *o, int64_t received_at)
{
    uint64_t bytes = retry_bytes(o);
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        bytes += tg_log_bytes_from(o->lanes[i].part->log, tg_cursor_low(o->lanes[i].cursor));
    if (o->quota.backlog_bytes && bytes > o->quota.backlog_bytes)
        return "backlog_full";
    return received_at != INT64_MAX && is_too_old(o, tg_wall_ms() - received_at) ? "backlog_too_old" : NULL;
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
    for (const char *reason; gone < n && may_shed(o) && (reason = row_refused(o, rows[gone].received_at));
         gone++)
        if (!shed_row(o, &rows[gone], reason))
            break;
    if (gone == 0)
        o->quota.rows_again_at = tg_mono_ms() + ROWS_PAUSE_MS;
    tg_outlet_wake(o);
}

void tg_quota_shed_rows(struct outlet *o, int64_t now)
{
    struct quota *q = &o->quota;
    struct tg_engine *e = o->engine;
    /* Not while due ones are asked for, nor the other way round: both answers might have the same row. */
    if (o->asking || q->asking_rows || q->n_shedding > 0 || now < q->rows_again_at || !has_rows(o) ||
        !may_shed(o) || !row_refused(o, o->oldest_retry))
        return;
    int64_t *busy = tg_calloc(o->n_rows ? o->n_rows : 1, sizeof *busy);
    size_t n = 0;
    for (const struct item *item = o->items; busy && item; item = item->next)
        if (item->retry_id)
            busy[n++] = item->retry_id;
    q->asking_rows = busy && tg_state_oldest_retries(e->o.state, o->name, e->o.worker, e->o.workers,
                                                     TG_SHED_EVENTS, busy, n, on_oldest, o) == TG_OK;
    tg_free(busy);
    if (!q->asking_rows)
        q->rows_again_at = now + ROWS_PAUSE_MS;
}

uint64_t tg_quota_backlog_free(const struct outlet *o, uint64_t in_log)
{
    uint64_t used = in_log + retry_bytes(o);
    return used < o->quota.backlog_bytes ? o->quota.backlog_bytes - used : 0;
}

/* --- dead letters --- */

uint64_t tg_quota_dead_free(const struct outlet *o)
{
    return o->quota.dead_used < o->quota.dead_bytes ? o->quota.dead_bytes - o->quota.dead_used : 0;
}

static void on_trimmed(void *arg, int status, const char *why, int64_t dropped)
{
    struct outlet *o = arg;
    o->quota.asking = false;
    o->quota.dead_changed = dropped >= TRIMMED_AT_ONCE;
    if (status != TG_OK)
        tg_warn("old dead letters could not be dropped", TG_FS("destination", o->name), TG_FS("error", why));
    for (int64_t i = 0; i < dropped; i++)
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, "dead_full");
    if (o->quota.dead_changed)
        tg_quota_ask(o);
}

static void trim(struct outlet *o)
{
    o->quota.asking = tg_state_trim_dead(o->engine->o.state, o->name, NULL, (int64_t)o->quota.dead_bytes,
                                         on_trimmed, o) == TG_OK;
    if (!o->quota.asking)
        o->quota.dead_changed = true; /* at the next tick again */
}

static void set_full(struct outlet *o, bool full)
{
    if (atomic_exchange(o->quota.dead_full, full) == full)
        return;
    if (full)
        tg_error("dead letters take all of their quota, so nothing is accepted: replay or drop them",
                 TG_FS("destination", o->name));
    else
        tg_info("dead letters are within their quota again", TG_FS("destination", o->name));
}

static void note_retries(struct outlet *o, const struct tg_usage *usage)
{
    if (o->quota.n_shedding > 0)
        return; /* what is on its way out is off the sum already */
    o->n_retries = usage->retries;
    o->retry_bytes = usage->retry_bytes;
    o->oldest_retry = usage->retries && usage->oldest_retry != TG_NO_TIME ? usage->oldest_retry : INT64_MAX;
}

static void on_usage(void *arg, int status, const struct tg_usage *usage)
{
    struct outlet *o = arg;
    int64_t bytes = usage->dead_bytes;
    o->quota.asking = false;
    if (status != TG_OK) {
        o->quota.dead_changed = true;
        return;
    }
    note_retries(o, usage);
    tg_gauge(o->counters.dead_bytes, bytes);
    o->quota.dead_used = bytes > 0 ? (uint64_t)bytes : 0;
    bool full = o->quota.dead_bytes && (uint64_t)bytes >= o->quota.dead_bytes && !o->removed;
    if (full && o->quota.drop_dead)
        trim(o);
    else
        set_full(o, full);
}

void tg_quota_ask(struct outlet *o)
{
    if (o->quota.asking)
        return;
    o->quota.dead_changed = false;
    const struct tg_engine_options *e = &o->engine->o;
    o->quota.asking = tg_state_usage(e->state, o->name, e->worker, e->workers, on_usage, o) == TG_OK;
    if (!o->quota.asking)
        o->quota.dead_changed = true;
}

void tg_quota_tick(struct outlet *o)
{
    bool full = atomic_load(o->quota.dead_full);
    if (!o->removed && (o->quota.dead_changed || full || o->engine->ticks % ASK_EVERY_TICKS == 0))
        tg_quota_ask(o);
}
