/* What the state still knows of the last run, for the cells that all workers see and for people. */
#include "deliver/recall.h"

#include "base/clock.h"
#include "base/json.h"
#include "deliver/circuit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* A worker that is started again knows less than the cells do: a resume of just now may not be in the state
 * yet. */
static void recall_cell(struct tg_engine *e, const char *kind, const char *name, int64_t value)
{
    tg_shared_cell *cell = tg_shared_cell_of(e->o.shared, kind, tg_str_of(name));
    int64_t not_known = 0;
    if (cell)
        (void)atomic_compare_exchange_strong(cell, &not_known, value);
}

static int recall_park(void *arg, const char *name, struct tg_str value)
{
    (void)value;
    recall_cell(arg, "parked", name, 1);
    return 0;
}

static int recall_hold(void *arg, const char *name, struct tg_str value)
{
    (void)value;
    recall_cell(arg, "held", name, 1);
    return 0;
}

static int recall_pause(void *arg, const char *name, struct tg_str value)
{
    char text[32] = "";
    memcpy(text, value.n ? value.p : "", value.n < sizeof text ? value.n : 0);
    int64_t left = strtoll(text, NULL, 10) - tg_wall_ms();
    /* No pause is that long: the clock has gone back. */
    if (left > 0 && left <= TG_PAUSE_MAX_MS)
        recall_cell(arg, "paused", name, tg_mono_ms() + left);
    return 0;
}

int tg_engine_recall(struct tg_engine *e, struct tg_err *err)
{
    struct tg_state *s = e->o.state;
    int rc = tg_state_facts_each(s, "park", recall_park, e, err);
    if (rc == TG_OK)
        rc = tg_state_facts_each(s, "hold", recall_hold, e, err);
    if (rc == TG_OK)
        rc = tg_state_facts_each(s, "pause", recall_pause, e, err);
    return rc == TG_OK ? tg_state_facts_each(s, "breaker", tg_circuit_recall, e, err) : rc;
}

static int recall_why(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        snprintf(o->why, sizeof o->why, "%.*s", TG_STR_ARG(value));
    return 0;
}

static int recall_until(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        (void)tg_json_int(value, &o->paused_until);
    return 0;
}

static int recall_reason(void *arg, const char *name, struct tg_str value)
{
    struct outlet *o = arg;
    if (strcmp(name, o->name) == 0)
        snprintf(o->park_reason, sizeof o->park_reason, "%.*s", TG_STR_ARG(value));
    return 0;
}

/* What is only for people is left out where it cannot be read. */
void tg_outlet_recall_why(struct outlet *o)
{
    struct tg_state *s = o->engine->o.state;
    if (tg_state_facts_each(s, "park", recall_reason, o, NULL) != TG_OK)
        o->park_reason[0] = 0;
    if (tg_state_facts_each(s, "why", recall_why, o, NULL) != TG_OK)
        o->why[0] = 0;
    if (tg_state_facts_each(s, "pause", recall_until, o, NULL) != TG_OK)
        o->paused_until = 0;
}
