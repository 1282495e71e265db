#include "deliver/dead_quota.h"

#include "base/clock.h"
#include "base/log.h"
#include "deliver/tell.h"

#include <stdatomic.h>

enum { ASK_EVERY_TICKS = 10, TRIMMED_AT_ONCE = 500 };

static void on_trimmed(void *arg, int status, const char *why, int64_t dropped)
{
    struct outlet *o = arg;
    o->quota.asking = false;
    o->quota.dead_changed = dropped >= TRIMMED_AT_ONCE;
    if (status != TG_OK)
        tg_warn("old dead letters could not be dropped", TG_FS("destination", o->name), TG_FS("error", why));
    for (int64_t i = 0; i < dropped; i++)
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, "dead_full");
    tg_tell_dropped(o, "dead_full");
    if (o->quota.dead_changed)
        tg_dead_quota_ask(o);
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

void tg_dead_quota_ask(struct outlet *o)
{
    if (o->quota.asking)
        return;
    o->quota.dead_changed = false;
    const struct tg_engine_options *e = &o->engine->o;
    o->quota.asking = tg_state_usage(e->state, o->name, e->worker, e->workers, on_usage, o) == TG_OK;
    if (!o->quota.asking)
        o->quota.dead_changed = true;
}

void tg_dead_quota_tick(struct outlet *o)
{
    bool full = atomic_load(o->quota.dead_full);
    if (!o->removed && (o->quota.dead_changed || full || o->engine->ticks % ASK_EVERY_TICKS == 0))
        tg_dead_quota_ask(o);
}
