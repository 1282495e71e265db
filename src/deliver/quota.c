/* The ceilings of one destination: what may wait for it in the log, and what its dead letters may take. So
 * one that is dead or parked fills its own share of the disk and not that of the others.
 *
 *  - backlog: the oldest events that are not in hand become dead letters, or are dropped and counted, until
 * the rest is within the ceiling. Every worker has an equal share of it, as it has of the log.
 *  - dead letters: asked of the state, since all workers write them. Beyond the ceiling either the oldest go,
 * or nothing more is accepted (tg_engine_dead_full) and no event of the backlog is moved there either. */
#include "deliver/internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>

enum { ASK_EVERY_TICKS = 10, TRIMMED_AT_ONCE = 500 };

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

static bool is_over(const struct outlet *o, const struct lane *lane, uint64_t seq)
{
    return o->quota.backlog_bytes && tg_log_bytes_from(lane->part->log, seq) > o->quota.backlog_bytes;
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

/* --- dead letters --- */

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

static void on_bytes(void *arg, int status, int64_t bytes)
{
    struct outlet *o = arg;
    o->quota.asking = false;
    if (status != TG_OK) {
        o->quota.dead_changed = true;
        return;
    }
    tg_gauge(o->counters.dead_bytes, bytes);
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
    o->quota.asking = tg_state_dead_bytes(o->engine->o.state, o->name, on_bytes, o) == TG_OK;
    if (!o->quota.asking)
        o->quota.dead_changed = true;
}

void tg_quota_tick(struct outlet *o)
{
    bool full = atomic_load(o->quota.dead_full);
    if (!o->removed && (o->quota.dead_changed || full || o->engine->ticks % ASK_EVERY_TICKS == 0))
        tg_quota_ask(o);
}
