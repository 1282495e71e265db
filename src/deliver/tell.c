#include "deliver/tell.h"

#include "base/clock.h"
#include "deliver/internal.h"

enum { MESSAGE_MAX = 300, JUMP_MS = 60000 };

bool tg_tell_due(struct tg_told *told, int64_t now)
{
    if (told->at && now - told->at < TG_TELL_EVERY_MS) {
        told->suppressed++;
        return false;
    }
    told->at = now;
    return true;
}

void tg_tell_line(struct tg_told *told, const char *msg, const struct tg_field *fields)
{
    struct tg_field said[TG_TELL_FIELDS + 2] = {{.key = NULL}}; /* one for the count, one for the end */
    size_t n = 0;
    for (; fields->key && n < TG_TELL_FIELDS; fields++)
        if (fields->kind != TG_FIELD_STR || fields->s.n)
            said[n++] = *fields;
    if (told->suppressed)
        said[n++] = (struct tg_field)TG_FI("suppressed", told->suppressed);
    told->suppressed = 0;
    tg_log_fields(TG_LOG_WARN, msg, said);
}

static struct tg_str shortened(const char *text)
{
    struct tg_str s = tg_str_of(text ? text : "");
    return tg_str_n(s.p, s.n < MESSAGE_MAX ? s.n : MESSAGE_MAX);
}

void tg_tell_failed(const struct item *item, bool again)
{
    struct outlet *o = item->outlet;
    struct tg_told *told = again ? &o->tell.retry : &o->tell.dead;
    if (!tg_tell_due(told, tg_mono_ms()))
        return;
    tg_tell_warn(told, again ? "delivery failed: it is tried again" : "event becomes a dead letter",
                 TG_FS("destination", o->name), TG_FS("reason", item->reason),
                 TG_FSTR("error", shortened(item->message)), TG_FSTR("message_id", item->event.message_id));
}

void tg_tell_breaker(struct outlet *o, enum tg_breaker_state before, const char *error, int status)
{
    enum tg_breaker_state now = o->breaker.state;
    if (before == TG_BREAKER_CLOSED && now == TG_BREAKER_OPEN) {
        if (!tg_tell_due(&o->tell.breaker, tg_mono_ms()))
            return;
        o->tell.away = true;
        tg_tell_warn(&o->tell.breaker, "destination fails: one probe at a time until it works",
                     TG_FS("destination", o->name), TG_FI("status", status),
                     TG_FSTR("error", shortened(error)));
    } else if (now == TG_BREAKER_CLOSED && o->tell.away) {
        o->tell.away = false;
        tg_info("destination works again", TG_FS("destination", o->name));
    }
}

void tg_tell_slow(struct outlet *o, int64_t call_ms, int64_t rest_ms)
{
    if (tg_tell_due(&o->tell.slow, tg_mono_ms()))
        tg_tell_warn(&o->tell.slow, "slow script: it waits until other destinations are quiet",
                     TG_FS("destination", o->name), TG_FI("call_ms", call_ms), TG_FI("rest_ms", rest_ms));
}

void tg_tell_clock(int64_t *apart, int64_t wall_ms, int64_t mono_ms)
{
    int64_t now = wall_ms - mono_ms, by = now - *apart;
    if (*apart && (by > JUMP_MS || by < -JUMP_MS))
        tg_warn("the wall clock has jumped", TG_FI("by_ms", by));
    *apart = now;
}
