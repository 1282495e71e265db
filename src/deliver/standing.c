#include "deliver/standing.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/time.h"
#include "deliver/circuit.h"
#include "deliver/tell.h"
#include "deliver/turns.h"

#include <stdatomic.h>
#include <stdio.h>

bool tg_outlet_is_parked(const struct outlet *o)
{
    return atomic_load(o->parked) > 0;
}

bool tg_outlet_is_held(const struct outlet *o)
{
    return atomic_load(o->held) > 0;
}

bool tg_outlet_open(struct outlet *o)
{
    if (!o->enabled || o->removed || !o->script || o->engine->stopping)
        return false;
    int64_t paused = atomic_load(o->paused); /* hardly ever is a clock needed */
    return !tg_outlet_is_parked(o) && !tg_outlet_is_held(o) && (paused <= 0 || paused <= tg_mono_ms());
}

/* Signatures and times within a request that has waited for longer than this may be refused as stale. */
enum { STALE_MS = 5000 };

bool tg_outlet_stands_still(const struct outlet *o)
{
    int64_t paused = atomic_load(o->paused); /* hardly ever is a clock needed */
    return o->removed || !o->enabled || o->engine->stopping || o->breaker.state == TG_BREAKER_OPEN ||
           tg_outlet_is_parked(o) || tg_outlet_is_held(o) || (paused > 0 && paused > tg_mono_ms() + STALE_MS);
}

static void put_fact(struct outlet *o, const char *kind, struct tg_str value)
{
    int rc = tg_state_put_fact(o->engine->o.state, kind, o->name, value, NULL, NULL);
    if (rc != TG_OK)
        tg_warn("could not be noted for the next start", TG_FS("what", kind), TG_FS("destination", o->name),
                TG_FS("error", tg_code_text(rc)));
}

/* For people, now and after a restart. */
static void note_why(struct outlet *o, const char *why)
{
    snprintf(o->why, sizeof o->why, "%s", why ? why : "");
    put_fact(o, "why", tg_str_of(o->why));
}

void tg_outlet_park(struct outlet *o, const char *reason, const char *why)
{
    if (atomic_exchange(o->parked, 1) == 1)
        return;
    note_why(o, why);
    struct tg_buf fact = TG_BUF_INIT(4096);
    snprintf(o->park_reason, sizeof o->park_reason, "%s", reason);
    tg_gauge(o->counters.parked, 1);
    tg_error("destination parked: repair it, then `tidegate resume`", TG_FS("destination", o->name),
             TG_FS("reason", reason), TG_FS("answer", why));
    if (tg_buf_adds(&fact, reason) == TG_OK)
        put_fact(o, "park", tg_buf_str(&fact));
    tg_buf_fini(&fact);
    tg_outlet_touch_all(o);
}

void tg_outlet_pause(struct outlet *o, int64_t ms, const char *why)
{
    int64_t until = tg_mono_ms() + ms, old = atomic_load(o->paused);
    while (old < until && !atomic_compare_exchange_weak(o->paused, &old, until))
        ;
    if (old >= until)
        return;
    o->paused_until = tg_wall_ms() + ms;
    char text[32];
    int n = snprintf(text, sizeof text, "%lld", (long long)o->paused_until);
    bool parked = tg_outlet_is_parked(o); /* which is what a person has to know */
    if (!parked)
        snprintf(o->why, sizeof o->why, "%s", why);
    /* Short ones are over before anybody could restart. */
    if (ms < 2000)
        return;
    char then[TG_TIME_LEN + 1];
    tg_time_format(o->paused_until, then);
    tg_tell_wait(o, then, why);
    put_fact(o, "pause", tg_str_n(text, (size_t)n));
    if (!parked)
        note_why(o, why);
}

void tg_outlet_hold(struct outlet *o, bool hold)
{
    atomic_store(o->held, hold ? 1 : TG_CELL_OFF);
    put_fact(o, "hold", hold ? TG_STR("1") : (struct tg_str){0});
}

void tg_outlet_resume(struct outlet *o)
{
    atomic_store(o->parked, TG_CELL_OFF);
    atomic_store(o->paused, TG_CELL_OFF);
    tg_gauge(o->counters.parked, 0);
    o->park_reason[0] = 0;
    o->resumes++;
    o->paused_until = 0;
    note_why(o, NULL);
    atomic_store(o->strikes, 0);
    tg_circuit_reset(o);
    o->next_due = INT64_MIN;
    put_fact(o, "park", (struct tg_str){0});
    put_fact(o, "pause", (struct tg_str){0});
    tg_outlet_hold(o, false);
    tg_outlet_wake(o);
}
