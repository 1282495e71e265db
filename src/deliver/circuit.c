#include "deliver/circuit.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPENINGS_BITS = 6, OPENINGS_MAX = (1 << OPENINGS_BITS) - 1, PROBE_MARGIN_MS = 1000 };

static int64_t encode(int64_t until, unsigned openings)
{
    return ((until > 0 ? until : 1) << OPENINGS_BITS) |
           (int64_t)(openings < OPENINGS_MAX ? openings : OPENINGS_MAX);
}

static void note(struct outlet *o, struct tg_str value)
{
    int rc = tg_state_put_fact(o->engine->o.state, "breaker", o->name, value, NULL, NULL);
    if (rc != TG_OK)
        tg_warn("could not be noted for the next start", TG_FS("what", "breaker"),
                TG_FS("destination", o->name), TG_FS("error", tg_code_text(rc)));
}

static void say_open(struct outlet *o)
{
    const struct tg_breaker *b = &o->breaker;
    char text[48];
    int n =
        snprintf(text, sizeof text, "%" PRId64 " %u", tg_wall_ms() + b->until - tg_mono_ms(), b->openings);
    o->circuit_seen = encode(b->until, b->openings);
    atomic_store(o->circuit, o->circuit_seen);
    note(o, tg_str_n(text, (size_t)n));
}

static void say_closed(struct outlet *o)
{
    o->circuit_seen = 0;
    if (atomic_exchange(o->circuit, 0) != 0)
        note(o, (struct tg_str){0});
}

void tg_circuit_changed(struct outlet *o, enum tg_breaker_state before)
{
    if (o->breaker.state == TG_BREAKER_OPEN && before != TG_BREAKER_OPEN)
        say_open(o);
    else if (o->breaker.state == TG_BREAKER_CLOSED && before != TG_BREAKER_CLOSED)
        say_closed(o);
}

bool tg_circuit_follow(struct outlet *o)
{
    int64_t said = atomic_load(o->circuit);
    struct tg_breaker *b = &o->breaker;
    if (said == o->circuit_seen || b->probing)
        return false;
    o->circuit_seen = said;
    if (said)
        tg_breaker_open_until(b, said >> OPENINGS_BITS, (unsigned)(said & OPENINGS_MAX));
    else if (b->state != TG_BREAKER_CLOSED)
        tg_breaker_success(b, o->concurrency);
    return said != 0;
}

bool tg_circuit_may_probe(struct outlet *o, int64_t now)
{
    if (o->breaker.state != TG_BREAKER_HALF_OPEN || o->probe_until)
        return true;
    int64_t taken = atomic_load(o->probe), until = now + o->timeout_ms + PROBE_MARGIN_MS;
    if (taken > now || !atomic_compare_exchange_strong(o->probe, &taken, until))
        return false;
    o->probe_until = until;
    return true;
}

void tg_circuit_probed(struct outlet *o)
{
    int64_t ours = o->probe_until;
    o->probe_until = 0;
    if (ours)
        (void)atomic_compare_exchange_strong(o->probe, &ours, 0);
}

void tg_circuit_reset(struct outlet *o)
{
    o->breaker = (struct tg_breaker){.ramp = TG_RAMP_FROM};
    tg_circuit_probed(o);
    atomic_store(o->probe, 0);
    say_closed(o);
}

int tg_circuit_find(struct outlet *o)
{
    struct tg_shared *s = o->engine->o.shared;
    o->circuit = tg_shared_cell_of(s, "breaker", tg_str_of(o->name));
    o->probe = tg_shared_cell_of(s, "probe", tg_str_of(o->name));
    return o->circuit && o->probe ? TG_OK : TG_NOMEM;
}

int tg_circuit_recall(void *arg, const char *name, struct tg_str value)
{
    struct tg_engine *e = arg;
    char text[48] = "", *end;
    memcpy(text, value.n ? value.p : "", value.n < sizeof text ? value.n : 0);
    int64_t left = strtoll(text, &end, 10) - tg_wall_ms();
    unsigned long openings = strtoul(end, NULL, 10);
    tg_shared_cell *cell = tg_shared_cell_of(e->o.shared, "breaker", tg_str_of(name));
    if (left < 0 || left > TG_BREAKER_MAX_MS) /* over by now, or the clock has gone back: a probe tells */
        left = 0;
    int64_t closed = 0;
    if (cell) /* unless another worker knows better */
        (void)atomic_compare_exchange_strong(cell, &closed, encode(tg_mono_ms() + left, (unsigned)openings));
    return 0;
}
