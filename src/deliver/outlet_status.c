#include "deliver/outlet_status.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/time.h"
#include "deliver/quota.h"
#include "deliver/reaper.h"
#include "deliver/standing.h"

#include <stdatomic.h>

enum { SAME_PAUSE_MS = 1000 };

static int64_t oldest_received(const struct outlet *o)
{
    int64_t oldest = o->oldest_retry;
    for (const struct item *item = o->items; item; item = item->next)
        if (item->received_at < oldest)
            oldest = item->received_at;
    return oldest;
}

static uint64_t events_above(const struct tg_log *log, const struct tg_cursor *cursor)
{
    uint64_t end = tg_log_last(log) + 1, low = tg_cursor_low(cursor);
    uint64_t first = tg_log_first(log); /* numbering may have jumped ahead of the cursor */
    low = low > first ? low : first;
    uint64_t above = tg_cursor_settled_above(cursor);
    return end > low + above ? end - low - above : 0;
}

static uint64_t backlog_events(const struct outlet *o)
{
    uint64_t n = 0;
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        n += events_above(o->lanes[i].part->log, o->lanes[i].cursor);
    return n;
}

/* Age of the oldest event that waits: of those in hand, or else of the next in the log. */
static int64_t oldest_age(struct outlet *o)
{
    int64_t oldest = oldest_received(o);
    for (size_t i = 0; i < o->engine->o.n_parts; i++) {
        struct lane *lane = &o->lanes[i];
        struct tg_log_reader *reader = NULL;
        struct tg_record record;
        if (lane->n_busy || tg_cursor_low(lane->cursor) > tg_log_last(lane->part->log))
            continue;
        if (tg_log_reader_open(lane->part->log, tg_cursor_low(lane->cursor), &reader, NULL) != TG_OK)
            continue;
        if (tg_log_reader_next(reader, &record, NULL) == 1 && record.received_at < oldest)
            oldest = record.received_at;
        tg_log_reader_close(&reader);
    }
    int64_t age = oldest == INT64_MAX ? 0 : tg_wall_ms() - oldest;
    return age > 0 ? age : 0;
}

static uint64_t backlog_bytes(const struct outlet *o)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < o->engine->o.n_parts; i++)
        bytes += tg_log_bytes_from(o->lanes[i].part->log, tg_cursor_low(o->lanes[i].cursor));
    return bytes;
}

void tg_outlet_show(struct outlet *o)
{
    uint64_t in_log = backlog_bytes(o);
    tg_gauge(o->counters.backlog_bytes, (int64_t)in_log);
    tg_gauge(o->counters.backlog_free, (int64_t)tg_quota_backlog_free(o, in_log));
    tg_gauge(o->counters.dead_free, (int64_t)tg_quota_dead_free(o));
    tg_gauge(o->counters.backlog, (int64_t)backlog_events(o));
    o->oldest_age = oldest_age(o);
    tg_gauge(o->counters.oldest, o->oldest_age / 1000);
    tg_gauge(o->counters.retries, o->n_retries);
    tg_gauge(o->counters.retry_bytes, o->retry_bytes > 0 ? o->retry_bytes : 0);
    tg_gauge(o->counters.in_flight, (int64_t)o->n_sent);
    tg_gauge(o->counters.parked, tg_outlet_is_parked(o));
    int64_t left = atomic_load(o->paused) - tg_mono_ms();
    tg_gauge(o->counters.waiting, left > 0 ? (left + 999) / 1000 : 0);
    tg_gauge(o->counters.held, tg_outlet_is_held(o));
    tg_gauge(o->counters.breaker, o->breaker.state != TG_BREAKER_CLOSED);
}

static const char *state_name(struct outlet *o)
{
    if (!o->enabled)
        return "disabled";
    if (tg_outlet_is_parked(o))
        return "parked";
    if (tg_outlet_is_held(o))
        return "paused";
    if (atomic_load(o->paused) > tg_mono_ms())
        return "waiting";
    if (o->breaker.state != TG_BREAKER_CLOSED)
        return "open";
    return o->queue && o->rate_wake != INT64_MAX ? "rate_limited" : "running";
}

static int add_text_member(struct tg_buf *json, const char *name, const char *text)
{
    int rc = tg_buf_printf(json, ",\"%s\":", name);
    if (rc != TG_OK)
        return rc;
    return text && *text ? tg_json_quote(json, tg_str_of(text)) : tg_buf_adds(json, "null");
}

/* The answer by which it stands still, when that came to this worker: of another one's pause it knows the end
 * only. */
static const char *because(const struct outlet *o, int64_t left)
{
    if (tg_outlet_is_parked(o))
        return o->park_reason[0] ? o->why : NULL;
    if (left <= 0 && o->breaker.state != TG_BREAKER_CLOSED)
        return o->ails;
    int64_t apart = o->paused_until - (tg_wall_ms() + left);
    return left > 0 && apart > -SAME_PAUSE_MS && apart < SAME_PAUSE_MS ? o->why : NULL;
}

int tg_outlet_status(struct outlet *o, struct tg_buf *json)
{
    char until[TG_TIME_LEN + 1] = "";
    int64_t left = atomic_load(o->paused) - tg_mono_ms();
    if (left > 0)
        tg_time_format(tg_wall_ms() + left, until);
    int rc = tg_buf_adds(json, "{\"name\":");
    if (rc == TG_OK)
        rc = tg_json_quote(json, tg_str_of(o->name));
    if (rc == TG_OK)
        rc = add_text_member(json, "script", o->script ? o->script->dest->script : NULL);
    if (rc == TG_OK)
        rc = add_text_member(json, "state", state_name(o));
    if (rc == TG_OK)
        rc = tg_buf_printf(
            json,
            ",\"backlog_events\":%llu,\"backlog_bytes\":%llu,\"backlog_free_bytes\":%llu,\"oldest_ms\":%lld,"
            "\"in_flight\":%zu,\"retries\":%lld,\"retry_bytes\":%lld,\"dead_bytes\":%lld,"
            "\"dead_free_bytes\":%lld",
            (unsigned long long)backlog_events(o), (unsigned long long)backlog_bytes(o),
            (unsigned long long)tg_quota_backlog_free(o, backlog_bytes(o)), (long long)oldest_age(o),
            o->n_sent, (long long)o->n_retries, (long long)(o->retry_bytes > 0 ? o->retry_bytes : 0),
            (long long)o->quota.dead_used, (long long)tg_quota_dead_free(o));
    if (rc == TG_OK)
        rc = add_text_member(json, "parked_reason", tg_outlet_is_parked(o) ? o->park_reason : NULL);
    if (rc == TG_OK)
        rc = add_text_member(json, "paused_until", until);
    if (rc == TG_OK)
        rc = add_text_member(json, "because", because(o, left));
    if (rc == TG_OK)
        rc = add_text_member(json, "breaker", tg_breaker_name(&o->breaker));
    return rc == TG_OK ? tg_buf_addc(json, '}') : rc;
}

int tg_removed_status(const struct part *part, struct tg_cursor *cursor, bool *first, struct tg_buf *json)
{
    char until[TG_TIME_LEN + 1] = "";
    uint64_t events = events_above(part->log, cursor);
    if (tg_cursor_removed_at(cursor) == 0 || events == 0)
        return TG_OK;
    tg_time_format(tg_cursor_removed_at(cursor) + TG_REMOVED_KEEP_MS, until);
    int rc = tg_buf_printf(json, "%s{\"name\":", *first ? "" : ",");
    *first = false;
    if (rc == TG_OK)
        rc = tg_json_quote(json, tg_str_of(tg_cursor_name(cursor)));
    if (rc == TG_OK)
        rc = tg_buf_printf(json,
                           ",\"state\":\"removed\",\"backlog_events\":%llu,\"backlog_bytes\":%llu,"
                           "\"kept_until\":\"%s\"}",
                           (unsigned long long)events,
                           (unsigned long long)tg_log_bytes_from(part->log, tg_cursor_low(cursor)), until);
    return rc;
}
