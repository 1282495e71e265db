#include "deliver/tell.h"

#include "base/clock.h"

enum { MESSAGE_MAX = 300 };

static struct tg_str shortened(const char *text)
{
    struct tg_str s = tg_str_of(text ? text : "");
    return tg_str_n(s.p, s.n < MESSAGE_MAX ? s.n : MESSAGE_MAX);
}

void tg_tell_failed(const struct item *item, bool again)
{
    struct outlet *o = item->outlet;
    int64_t now = tg_mono_ms();
    struct tg_told *told = tg_told_of(again ? &o->told.retry : &o->told.dead, item->reason, now);
    if (!tg_told_due(told, now))
        return;
    tg_told_warn(told, again ? "delivery failed: it is tried again" : "event becomes a dead letter",
                 TG_FS("destination", o->name), TG_FS("reason", item->reason),
                 TG_FSTR("error", shortened(item->message)), TG_FSTR("message_id", item->event.message_id));
}

void tg_tell_breaker(struct outlet *o, enum tg_breaker_state before, const char *error, int status)
{
    enum tg_breaker_state now = o->breaker.state;
    if (before == TG_BREAKER_CLOSED && now == TG_BREAKER_OPEN) {
        if (!tg_told_due(&o->told.breaker, tg_mono_ms()))
            return;
        o->told.away = true;
        tg_told_warn(&o->told.breaker, "destination fails: one probe at a time until it works",
                     TG_FS("destination", o->name), TG_FI("status", status),
                     TG_FSTR("error", shortened(error)));
    } else if (now == TG_BREAKER_CLOSED && o->told.away) {
        o->told.away = false;
        tg_info("destination works again", TG_FS("destination", o->name));
    }
}

void tg_tell_wait(struct outlet *o, const char *until, const char *answer)
{
    if (tg_told_due(&o->told.wait, tg_mono_ms()))
        tg_told_warn(&o->told.wait, "destination waits, as the partner asks", TG_FS("destination", o->name),
                     TG_FS("until", until), TG_FS("answer", answer));
}

void tg_tell_dropped(struct outlet *o, const char *reason)
{
    int64_t now = tg_mono_ms();
    struct tg_told *told = tg_told_of(&o->told.dropped, reason, now);
    if (tg_told_due(told, now))
        tg_told_warn(told, "event dropped: on_full says so", TG_FS("destination", o->name),
                     TG_FS("reason", reason));
}

void tg_tell_slow(struct outlet *o, int64_t call_ms, int64_t rest_ms)
{
    if (tg_told_due(&o->told.slow, tg_mono_ms()))
        tg_told_warn(&o->told.slow, "slow script: it waits until other destinations are quiet",
                     TG_FS("destination", o->name), TG_FI("call_ms", call_ms), TG_FI("rest_ms", rest_ms));
}
