#include "deliver/forgetting.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/item_end.h"
#include "deliver/turns.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

int tg_forgetting_reload(struct tg_engine *e)
{
    struct tg_err err = {0};
    int rc = tg_forgotten_load(&e->forgotten, e->o.state, tg_wall_ms(), &err);
    if (rc != TG_OK)
        tg_warn("tombstones of forgotten users could not be read",
                TG_FS("error", err.msg[0] ? err.msg : tg_code_text(rc)));
    return rc;
}

/* All that was being written when the tombstones were read is durable. */
static void on_flushed(void *arg, int status, const char *why)
{
    struct tg_engine *e = arg;
    (void)why;
    e->forget_saying = false;
    if (status == TG_OK)
        atomic_store(e->forget_seen, e->forget_said);
}

static void say_seen(struct tg_engine *e)
{
    if (e->forget_saying || atomic_load(e->forget_seen) == e->forget_read)
        return;
    e->forget_said = e->forget_read;
    e->forget_saying = tg_state_after_all(e->o.state, on_flushed, e) == TG_OK;
}

/* Reading them costs more the more there are, so it is not done again before three times as long has passed.
 */
bool tg_forgetting_follow(struct tg_engine *e)
{
    int64_t epoch = atomic_load(e->forget.epoch), began = tg_mono_us();
    bool read = false;
    if (epoch != e->forget_read && began >= e->forget_again_us && !e->stopping) {
        read = tg_forgetting_reload(e) == TG_OK;
        if (read) {
            e->forget_read = epoch;
            for (struct outlet *o = e->outlets; o; o = o->next)
                tg_outlet_touch_all(o);
            tg_engine_check(e);
        }
        e->forget_again_us = began + 4 * (tg_mono_us() - began);
    }
    say_seen(e);
    return read;
}

void tg_forgetting_order(struct tg_engine *e, size_t users)
{
    tg_count(e->forgotten_users, (int64_t)users);
    atomic_fetch_add(e->forget.epoch, 1);
    atomic_fetch_add(e->forget.asked, 1);
}

/* Removes tombstones that no worker needs any more; the first one does it. */
static void bury(struct tg_engine *e)
{
    int64_t clear = INT64_MAX;
    for (uint32_t i = 0; i < e->o.workers; i++) {
        int64_t at = atomic_load(e->clear[i]);
        clear = at < clear ? at : clear;
    }
    for (size_t i = 0; e->o.worker == 0 && i < e->forgotten.n; i++)
        if (e->forgotten.list[i].at <= clear && !e->forgotten.list[i].has_rows &&
            tg_state_put_fact(e->o.state, TG_FORGET_FACT, e->forgotten.list[i].name, (struct tg_str){0}, NULL,
                              NULL) != TG_OK)
            return; /* in a minute again */
}

void tg_forgetting_keep(struct tg_engine *e)
{
    int64_t now = tg_wall_ms();
    if (tg_forgotten_is_stale(&e->forgotten, now))
        (void)tg_forgetting_reload(e);
    for (size_t i = 0; i < e->o.n_parts; i++) {
        struct tg_log *log = e->parts[i].log;
        tg_forgotten_look(&e->forgotten, i, tg_log_first(log), tg_log_last(log), now);
        /* On a quiet relay their bytes would else stay until the segment is full. */
        tg_log_end_segment(log, tg_forgotten_waits_for(&e->forgotten, i));
    }
    atomic_store(e->clear[e->o.worker], tg_forgotten_clear(&e->forgotten));
    bury(e);
}

/* Rows that a relay before this one was ordered to remove, and was killed. */
static void resume_forgetting(struct tg_engine *e)
{
    bool wanted = false;
    for (size_t i = 0; i < e->forgotten.n; i++)
        wanted |= e->forgotten.list[i].has_rows;
    if (wanted)
        atomic_fetch_add(e->forget.asked, 1);
}

static int recall_forgotten(struct tg_engine *e, struct tg_err *err)
{
    int64_t epoch = atomic_load(e->forget.epoch);
    int rc = tg_forgotten_load(&e->forgotten, e->o.state, tg_wall_ms(), err);
    if (rc != TG_OK)
        return rc;
    e->forget_read = epoch;
    atomic_store(e->forget_seen, epoch);
    resume_forgetting(e);
    return TG_OK;
}

static int find_clear_cells(struct tg_engine *e)
{
    tg_forgotten_init(&e->forgotten, e->o.n_parts);
    e->forget_seen = tg_forget_seen(e->o.shared, e->o.worker);
    if (!tg_forget_cells(e->o.shared, &e->forget) || !e->forget_seen)
        return TG_NOMEM;
    e->forgotten_users = tg_metric(e->o.metrics, TG_COUNTER, "tidegate_users_forgotten_total",
                                   "Users that delete events have had forgotten.", "");
    e->clear = tg_calloc(e->o.workers ? e->o.workers : 1, sizeof *e->clear);
    for (uint32_t i = 0; e->clear && i < e->o.workers; i++) {
        char name[16];
        snprintf(name, sizeof name, "%" PRIu32, i);
        e->clear[i] = tg_shared_cell_of(e->o.shared, "forgotten", tg_str_of(name));
        if (!e->clear[i])
            return TG_NOMEM;
    }
    return e->clear ? TG_OK : TG_NOMEM;
}

int tg_forgetting_begin(struct tg_engine *e, struct tg_err *err)
{
    return find_clear_cells(e) == TG_OK ? recall_forgotten(e, err)
                                        : tg_fail(err, TG_NOMEM, "delivery: out of memory");
}

void tg_forgetting_end(struct tg_engine *e)
{
    tg_forgotten_fini(&e->forgotten);
    tg_free(e->clear);
}
