#include "deliver/destinations.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "deliver/outlet.h"
#include "deliver/outlet_status.h"
#include "deliver/part.h"
#include "deliver/quota.h"
#include "deliver/recall.h"
#include "deliver/script_ref.h"
#include "deliver/shot.h"
#include "deliver/shot_send.h"
#include "deliver/standing.h"
#include "deliver/turns.h"

enum { CONCURRENCY_DEFAULT = 16, TIMEOUT_DEFAULT_MS = 30000 };

/* All that can fail for one destination, prepared before anything changes. */
struct change {
    struct outlet *outlet;
    bool is_new;
    struct script *script;
    char **sources, **consent;
    size_t n_sources, n_consent;
    char *filter;
    char *settings;
};

static int copy_strings(char ***to, size_t *n, const struct tg_strings *from)
{
    *to = tg_calloc(from->n ? from->n : 1, sizeof **to);
    for (; *to && *n < from->n; ++*n)
        if (!((*to)[*n] = tg_strdup(from->v[*n])))
            return TG_NOMEM;
    return *to ? TG_OK : TG_NOMEM;
}

static int prepare(struct tg_engine *e, struct change *c, const struct tg_engine_dest *d)
{
    c->outlet = tg_engine_find_outlet(e, d->config->name);
    if (!c->outlet) {
        c->is_new = true;
        c->outlet = tg_outlet_new(e, d->config->name);
        if (!c->outlet)
            return TG_NOMEM;
    }
    c->script = d->dest ? tg_calloc(1, sizeof *c->script) : NULL;
    c->settings = tg_strdup(d->config->settings ? d->config->settings : "{}");
    if ((d->dest && !c->script) || !c->settings)
        return TG_NOMEM;
    if (d->config->filter && !(c->filter = tg_strdup(d->config->filter)))
        return TG_NOMEM;
    int rc = copy_strings(&c->sources, &c->n_sources, &d->config->sources);
    if (rc == TG_OK)
        rc = copy_strings(&c->consent, &c->n_consent, &d->config->consent);
    return rc;
}

static void swap_pointers(void *a, void *b)
{
    void *kept;
    memcpy(&kept, a, sizeof kept);
    memcpy(a, b, sizeof kept);
    memcpy(b, &kept, sizeof kept);
}

static void swap_counts(size_t *a, size_t *b)
{
    size_t kept = *a;
    *a = *b;
    *b = kept;
}

/* Puts the new things in place; what was there before is left in *c. */
static void commit(struct tg_engine *e, struct change *c, const struct tg_engine_dest *d)
{
    struct outlet *o = c->outlet;
    const struct tg_destination_config *config = d->config;
    bool changed = o->settings && strcmp(o->settings, c->settings) != 0;
    if (c->script)
        *c->script = (struct script){.dest = d->dest, .users = 1, .generation = e->generation};
    tg_shot_flush(o, tg_mono_ms(), true); /* what was gathered for the old script is joined by it */
    swap_pointers(&o->script, &c->script);
    swap_pointers(&o->sources, &c->sources);
    swap_pointers(&o->consent, &c->consent);
    swap_pointers(&o->filter, &c->filter);
    swap_pointers(&o->settings, &c->settings);
    if (changed)
        o->settings_since = e->generation;
    swap_counts(&o->n_sources, &c->n_sources);
    swap_counts(&o->n_consent, &c->n_consent);
    unsigned asked =
        o->script && o->script->dest->concurrency ? o->script->dest->concurrency : CONCURRENCY_DEFAULT;
    o->concurrency = config->concurrency ? config->concurrency : asked;
    o->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    o->backoff = (struct tg_backoff){config->retry.first_ms, config->retry.max_ms, config->retry.deadline_ms};
    o->enabled = config->enabled;
    o->removed = false;
    tg_quota_set(o, config);
    tg_rest_watch(&o->rest);
    if (changed && tg_outlet_is_parked(o)) {
        tg_info("destination goes on: its settings are others now", TG_FS("destination", o->name));
        tg_outlet_resume(o);
    }
    if (changed)
        tg_shot_renew(o);
    if (c->is_new) {
        o->next = e->outlets;
        e->outlets = o;
        tg_outlet_recall_why(o);
    }
    if (!o->enabled)
        tg_outlet_give_back_unsent(o);
    tg_outlet_show(o);
    tg_outlet_wake(o);
}

static void clear_change(struct change *c, bool committed)
{
    if (committed)
        tg_script_drop(&c->script);
    else
        tg_free(c->script);
    for (size_t i = 0; i < c->n_sources; i++)
        tg_free(c->sources[i]);
    for (size_t i = 0; i < c->n_consent; i++)
        tg_free(c->consent[i]);
    tg_free(c->sources);
    tg_free(c->consent);
    tg_free(c->filter);
    tg_free(c->settings);
    if (!committed && c->is_new && c->outlet)
        tg_outlet_free(&c->outlet);
}

static void mark_removed(struct tg_engine *e, const struct tg_engine_dest *dests, size_t n)
{
    for (struct outlet *o = e->outlets; o; o = o->next) {
        bool there = false;
        for (size_t i = 0; i < n && !there; i++)
            there = strcmp(o->name, dests[i].config->name) == 0;
        if (there || o->removed)
            continue;
        tg_outlet_remove(o);
        tg_info("destination removed; its backlog is kept for 24 hours", TG_FS("destination", o->name));
    }
}

/* Cursors whose destination is gone, of this run or an earlier one, note since when. */
static void note_removed(void *arg, struct tg_cursor *cursor)
{
    struct tg_engine *e = arg;
    struct outlet *o = tg_engine_find_outlet(e, tg_cursor_name(cursor));
    if ((!o || o->removed) && tg_cursor_removed_at(cursor) == 0)
        tg_cursor_set_removed_at(cursor, tg_wall_ms());
}

int tg_engine_set_destinations(struct tg_engine *e, const struct tg_engine_dest *dests, size_t n,
                               int64_t generation, struct tg_err *err)
{
    struct change *changes = tg_calloc(n ? n : 1, sizeof *changes);
    int rc = changes ? TG_OK : TG_NOMEM;
    size_t ready = 0;
    for (; rc == TG_OK && ready < n; ready++)
        rc = prepare(e, &changes[ready], &dests[ready]);
    for (size_t i = 0; rc == TG_OK && i < n; i++)
        rc = tg_outlet_attach(changes[i].outlet);
    if (rc == TG_OK) {
        e->generation = generation;
        e->has_begun = true;
        for (size_t i = 0; i < n; i++)
            commit(e, &changes[i], &dests[i]);
        mark_removed(e, dests, n);
        for (size_t i = 0; i < e->o.n_parts; i++) {
            tg_cursors_each(e->parts[i].cursors, note_removed, e);
            tg_part_save(&e->parts[i]);
        }
    }
    for (size_t i = 0; i < ready; i++)
        clear_change(&changes[i], rc == TG_OK);
    tg_free(changes);
    return rc == TG_OK ? TG_OK : tg_fail(err, rc, "destinations: %s", tg_code_text(rc));
}
