#include "deliver/outlet.h"

#include "base/mem.h"
#include "deliver/circuit.h"
#include "deliver/item.h"
#include "deliver/item_end.h"
#include "deliver/script_ref.h"
#include "deliver/shot_send.h"
#include "deliver/turns.h"

#include <assert.h>
#include <event2/event.h>
#include <stdatomic.h>

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct outlet *o = arg;
    assert(o->magic == OUTLET_MAGIC);
    tg_outlet_wake(o);
}

static int find_cells(struct outlet *o)
{
    struct tg_shared *s = o->engine->o.shared;
    struct tg_str name = tg_str_of(o->name);
    o->parked = tg_shared_cell_of(s, "parked", name);
    o->held = tg_shared_cell_of(s, "held", name);
    o->paused = tg_shared_cell_of(s, "paused", name);
    o->quota.dead_full = tg_shared_cell_of(s, "dead_full", name);
    o->strikes = tg_shared_cell_of(s, "strikes", name);
    if (!o->parked || !o->held || !o->paused || !o->quota.dead_full || !o->strikes)
        return TG_NOMEM;
    return tg_circuit_find(o);
}

struct outlet *tg_outlet_new(struct tg_engine *e, const char *name)
{
    struct outlet *o = tg_calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->magic = OUTLET_MAGIC;
    o->engine = e;
    o->waiting_tail = &o->waiting;
    o->breaker.ramp = TG_RAMP_FROM; /* after a start the partner is not run over either */
    o->next_due = INT64_MIN;
    o->rate_wake = o->again_at = o->oldest_retry = INT64_MAX;
    o->name = tg_strdup(name);
    o->lanes = tg_calloc(e->o.n_parts ? e->o.n_parts : 1, sizeof *o->lanes);
    o->timer = evtimer_new(e->o.base, on_timer, o);
    if (!o->name || !o->lanes || !o->timer || find_cells(o) != TG_OK ||
        tg_counters_init(&o->counters, e->o.metrics, name) != TG_OK)
        tg_outlet_free(&o);
    return o;
}

static void free_strings(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_free(v[i]);
    tg_free(v);
}

void tg_outlet_free(struct outlet **p)
{
    struct outlet *o = *p;
    *p = NULL;
    tg_shot_cancel_all(o);
    while (o->items) {
        struct item *item = o->items;
        tg_item_free(&item);
    }
    tg_batcher_fini(&o->batcher);
    for (size_t i = 0; o->lanes && i < o->engine->o.n_parts; i++)
        if (o->lanes[i].reader)
            tg_log_reader_close(&o->lanes[i].reader);
    if (o->timer)
        event_free(o->timer);
    tg_script_drop(&o->script);
    tg_counters_fini(&o->counters);
    free_strings(o->sources, o->n_sources);
    free_strings(o->consent, o->n_consent);
    tg_free(o->filter);
    tg_free(o->settings);
    tg_free(o->lanes);
    tg_free(o->name);
    o->magic = 0;
    tg_free(o);
}

int tg_outlet_attach(struct outlet *o)
{
    struct tg_engine *e = o->engine;
    for (size_t i = 0; i < e->o.n_parts; i++) {
        struct lane *lane = &o->lanes[i];
        struct tg_err err = {0};
        lane->part = &e->parts[i];
        lane->cursor = tg_cursors_find(lane->part->cursors, o->name);
        if (lane->cursor) {
            tg_reaper_spare(lane->part->reaper, o->name);
            tg_cursor_set_removed_at(lane->cursor, 0);
            continue;
        }
        /* New: it begins at the next event. But where the cursors were lost, at the first that is stored:
         * those of the start may not be new at all; what a reload adds is. */
        const struct tg_log *log = lane->part->log;
        bool lost = tg_cursors_fresh(lane->part->cursors) && !e->has_begun;
        uint64_t low = lost ? tg_log_first(log) : tg_log_last(log) + 1;
        int rc = tg_cursors_add(lane->part->cursors, o->name, low, &lane->cursor, &err);
        if (rc != TG_OK)
            return rc;
        lane->part->settled++;
    }
    return TG_OK;
}

struct outlet *tg_engine_find_outlet(struct tg_engine *e, const char *name)
{
    struct outlet *o = e->outlets;
    while (o && strcmp(o->name, name) != 0)
        o = o->next;
    return o;
}

void tg_outlet_give_back_unsent(struct outlet *o)
{
    struct item *item;
    while ((item = tg_outlet_take_waiting(o)))
        tg_item_put_back(item);
    tg_outlet_touch_all(o);
    tg_engine_check(o->engine);
}

void tg_outlet_remove(struct outlet *o)
{
    o->removed = true;
    atomic_store(o->quota.dead_full, 0);
    tg_outlet_give_back_unsent(o);
}
