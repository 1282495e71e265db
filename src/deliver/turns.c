#include "deliver/turns.h"

#include "base/clock.h"
#include "deliver/timer.h"

#include <event2/event.h>

enum { AGAIN_MS = 100 };

void tg_engine_wake(struct tg_engine *e)
{
    if (!evtimer_pending(e->pump, NULL))
        tg_timer_arm(e->pump, 0);
}

void tg_engine_wake_all(struct tg_engine *e)
{
    for (struct outlet *o = e->outlets; o; o = o->next)
        tg_outlet_wake(o);
}

void tg_outlet_wake(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    if (o->is_ready)
        return;
    o->is_ready = true;
    o->ready_next = NULL;
    *e->ready_tail = o;
    e->ready_tail = &o->ready_next;
    tg_engine_wake(e);
}

struct outlet *tg_engine_next_ready(struct tg_engine *e)
{
    struct outlet *o = e->ready;
    if (!o)
        return NULL;
    e->ready = o->ready_next;
    if (!e->ready)
        e->ready_tail = &e->ready;
    o->is_ready = false;
    return o;
}

void tg_outlet_unready(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    struct outlet **at = &e->ready;
    if (!o->is_ready)
        return;
    while (*at != o)
        at = &(*at)->ready_next;
    *at = o->ready_next;
    if (!*at)
        e->ready_tail = at;
    o->is_ready = false;
}

void tg_engine_touch(struct tg_engine *e, struct item *item)
{
    if (item->is_touched)
        return;
    item->is_touched = true;
    item->touch_next = e->touched;
    e->touched = item;
}

void tg_outlet_touch_all(struct outlet *o)
{
    for (struct item *item = o->items; item; item = item->next)
        tg_engine_touch(o->engine, item);
}

void tg_outlet_try_again_soon(struct outlet *o)
{
    o->again_at = tg_mono_ms() + AGAIN_MS;
}

int64_t tg_outlet_clock_us(const struct outlet *o)
{
    return o->rest.suspect ? tg_thread_cpu_us() : tg_mono_us();
}
