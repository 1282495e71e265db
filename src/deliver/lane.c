#include "deliver/lane.h"

#include "base/clock.h"
#include "base/log.h"
#include "deliver/forgotten.h"
#include "deliver/gate.h"
#include "deliver/item.h"
#include "deliver/item_fail.h"
#include "deliver/part.h"
#include "deliver/quota.h"
#include "deliver/tell.h"
#include "deliver/turns.h"

static bool is_busy(const struct lane *lane, uint64_t seq)
{
    size_t bit = seq % TG_CURSOR_WINDOW;
    return lane->busy[bit / 8] & (1u << (bit % 8));
}

static void set_busy(struct lane *lane, uint64_t seq)
{
    size_t bit = seq % TG_CURSOR_WINDOW;
    lane->busy[bit / 8] |= (unsigned char)(1u << (bit % 8));
    lane->n_busy++;
}

void tg_lane_let_go(struct lane *lane, uint64_t seq)
{
    size_t bit = seq % TG_CURSOR_WINDOW;
    lane->busy[bit / 8] &= (unsigned char)~(1u << (bit % 8));
    lane->n_busy--;
}

static bool position(struct outlet *o, struct lane *lane)
{
    struct tg_err err = {0};
    if (lane->reader && !lane->rewind)
        return true;
    if (lane->reader)
        tg_log_reader_close(&lane->reader);
    if (tg_log_reader_open(lane->part->log, tg_cursor_low(lane->cursor), &lane->reader, &err) != TG_OK) {
        tg_warn("log cannot be read", TG_FS("destination", o->name), TG_FS("error", err.msg));
        tg_outlet_try_again_soon(o);
        return false;
    }
    lane->rewind = false;
    return true;
}

/* Sequences from `at` to below `seq` do not exist. */
static void settle_gap(struct lane *lane, uint64_t at, uint64_t seq)
{
    if (tg_cursor_low(lane->cursor) >= at && tg_cursor_low(lane->cursor) < seq) {
        tg_cursor_settle_below(lane->cursor, seq);
        return;
    }
    for (; at < seq && at < tg_cursor_limit(lane->cursor); at++)
        tg_cursor_settle(lane->cursor, at);
}

static void skip(struct outlet *o, struct lane *lane, uint64_t seq, const char *reason)
{
    tg_counters_event(&o->counters, TG_COUNT_SKIPPED, reason);
    tg_cursor_settle(lane->cursor, seq);
    tg_part_settled(lane->part);
}

static void move_span(struct tg_str *s, struct tg_str from, struct tg_str to)
{
    if (s->n && s->p >= from.p && s->p < from.p + from.n)
        s->p = to.p + (s->p - from.p);
}

/* The spans of an event that point into the record, made to point into the item's copy of it. */
static void move_event(struct item *item, const struct tg_record *record, const struct tg_event *event,
                       struct tg_str options)
{
    struct tg_event *to = &item->event;
    *to = *event;
    item->options = options;
    struct tg_str *spans[] = {&to->source,  &to->message_id, &to->user_id,      &to->anonymous_id,
                              &to->name,    &to->context,    &to->integrations, &to->body_integrations,
                              &to->bundled, &to->body,       &item->options};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        move_span(spans[i], record->header, item->header);
        move_span(spans[i], record->body, item->body);
    }
}

static struct item *item_of(struct outlet *o, struct lane *lane, const struct tg_record *record)
{
    struct item *item = tg_item_new(o, record->header, record->body);
    if (!item) {
        lane->rewind = true;
        tg_outlet_try_again_soon(o);
        return NULL;
    }
    item->lane = lane;
    item->seq = record->seq;
    item->partition = lane->part->number;
    item->received_at = record->received_at;
    set_busy(lane, record->seq);
    return item;
}

/* More waits than may: this one is the oldest. */
static enum taken shed_record(struct outlet *o, struct lane *lane, const struct tg_record *record,
                              const struct tg_event *event, const char *reason, struct item **out)
{
    if (o->quota.drop_backlog) {
        tg_counters_event(&o->counters, TG_COUNT_DROPPED, reason);
        tg_tell_dropped(o, reason);
        tg_cursor_settle(lane->cursor, record->seq);
        tg_part_settled(lane->part);
        return TAKEN_SKIPPED;
    }
    struct item *item = item_of(o, lane, record);
    if (!item)
        return TAKEN_NOTHING;
    move_event(item, record, event, (struct tg_str){0});
    item->shed = true;
    o->quota.n_shedding++;
    tg_item_fail(item, TG_OUTCOME_REJECT, reason, tg_quota_message(reason), 0);
    *out = item;
    return TAKEN_ITEM;
}

static enum taken take_record(struct outlet *o, struct lane *lane, const struct tg_record *record,
                              struct item **out)
{
    struct tg_event event;
    struct tg_str options = {0};
    struct tg_err err = {.code = 0};
    bool readable = tg_event_decode(record->header, record->body, &event, &err) == TG_OK;
    const struct tg_gate_rules rules = {o->sources, o->n_sources, o->consent, o->n_consent};
    const char *why = NULL;
    if (readable && tg_forgotten_hides(&o->engine->forgotten, &event))
        why = "forgotten";
    else if (readable)
        why = tg_gate(o->script->dest, &rules, &event, &options);
    if (why) {
        skip(o, lane, record->seq, why);
        return TAKEN_SKIPPED;
    }
    const char *refused = readable ? tg_quota_refuses(o, lane, record) : NULL;
    if (refused)
        return shed_record(o, lane, record, &event, refused, out);
    if (o->shedding && readable) {
        lane->rewind = true;
        return TAKEN_NOTHING;
    }
    struct item *item = item_of(o, lane, record);
    if (!item)
        return TAKEN_NOTHING;
    tg_item_refuse_poison(item);
    if (!readable)
        tg_item_fail(item, TG_OUTCOME_REJECT, "corrupt_event", err.msg, 0);
    else
        move_event(item, record, &event, options);
    *out = item;
    return TAKEN_ITEM;
}

enum taken tg_lane_take(struct outlet *o, struct lane *lane, struct item **out)
{
    struct tg_record record;
    struct tg_err err = {0};
    if (!position(o, lane))
        return TAKEN_NOTHING;
    uint64_t at = tg_log_reader_at(lane->reader);
    if (at >= tg_cursor_limit(lane->cursor))
        return TAKEN_NOTHING;
    int rc = tg_log_reader_next(lane->reader, &record, &err);
    if (rc < 0) {
        tg_warn("log cannot be read", TG_FS("destination", o->name), TG_FS("error", err.msg));
        tg_outlet_try_again_soon(o);
    }
    if (rc <= 0)
        return TAKEN_NOTHING;
    settle_gap(lane, at, record.seq);
    if (record.seq < tg_cursor_low(lane->cursor) || tg_cursor_settled(lane->cursor, record.seq))
        return TAKEN_SKIPPED;
    if (record.seq >= tg_cursor_limit(lane->cursor)) {
        lane->rewind = true; /* a wide gap: again when the events before it are done */
        return TAKEN_NOTHING;
    }
    if (is_busy(lane, record.seq))
        return TAKEN_SKIPPED;
    return take_record(o, lane, &record, out);
}

enum taken tg_lanes_take(struct outlet *o, struct item **out)
{
    size_t n = o->engine->o.n_parts;
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = &o->lanes[o->at_lane];
        enum taken taken = tg_lane_take(o, lane, out);
        if (taken != TAKEN_NOTHING)
            return taken;
        o->at_lane = (o->at_lane + 1) % n;
    }
    return TAKEN_NOTHING;
}
