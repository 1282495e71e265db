#include "deliver/quota.h"

#include "base/clock.h"

#include <stdatomic.h>

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

bool tg_quota_may_shed(const struct outlet *o)
{
    return o->script && !o->removed && !o->engine->stopping &&
           (o->quota.drop_backlog || !atomic_load(o->quota.dead_full));
}

/* Retries that are not in hand: they are older than what lies in the log, as a rule, and leave before it. */
bool tg_quota_has_rows(const struct outlet *o)
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
    return o->quota.backlog_bytes && !tg_quota_has_rows(o) &&
           tg_log_bytes_from(lane->part->log, seq) + retry_bytes(o) > o->quota.backlog_bytes;
}

static bool is_too_old(const struct outlet *o, int64_t age)
{
    return o->quota.backlog_age && age > o->quota.backlog_age;
}

const char *tg_quota_refuses(const struct outlet *o, const struct lane *lane, const struct tg_record *record)
{
    if (!tg_quota_may_shed(o))
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
    if (now < o->quota.again_at || !tg_quota_may_shed(o) || at > tg_log_last(lane->part->log))
        return false;
    return is_over(o, lane, at) || is_too_old(o, o->oldest_age);
}

/* Why its oldest row has to go, or NULL. */
const char *tg_quota_refuses_row(const struct outlet *o, int64_t received_at)
{
    uint64_t bytes = retry_bytes(o);
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        bytes += tg_log_bytes_from(o->lanes[i].part->log, tg_cursor_low(o->lanes[i].cursor));
    if (o->quota.backlog_bytes && bytes > o->quota.backlog_bytes)
        return "backlog_full";
    return received_at != INT64_MAX && is_too_old(o, tg_wall_ms() - received_at) ? "backlog_too_old" : NULL;
}

uint64_t tg_quota_backlog_free(const struct outlet *o, uint64_t in_log)
{
    uint64_t used = in_log + retry_bytes(o);
    return used < o->quota.backlog_bytes ? o->quota.backlog_bytes - used : 0;
}

uint64_t tg_quota_dead_free(const struct outlet *o)
{
    return o->quota.dead_used < o->quota.dead_bytes ? o->quota.dead_bytes - o->quota.dead_used : 0;
}
