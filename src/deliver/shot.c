#include "deliver/shot.h"
#include "deliver/shot_key.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/item_fail.h"
#include "deliver/script_ref.h"
#include "deliver/turns.h"
#include "script/same_request.h"

#include <assert.h>

/* --- deliveries --- */

static void unlink_delivery(struct delivery *d)
{
    struct delivery **at = &d->item->deliveries;
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
}

void tg_delivery_free(struct delivery *d)
{
    unlink_delivery(d);
    d->item->n_open--;
    if (d->state == DELIVERY_SENT)
        d->item->n_sent--;
    tg_request_free(&d->request);
    tg_free(d);
}

/* The delivery ends without success: its item learns why. */
void tg_delivery_fail(struct delivery *d, enum tg_outcome outcome, const char *reason, const char *message,
                      int status)
{
    struct item *item = d->item;
    tg_delivery_free(d);
    /* An item that is to run once more has lost what its deliveries stood for: that is not their fault. */
    if (!item->rerun)
        tg_item_fail(item, outcome, reason, message, status);
    tg_engine_touch(item->outlet->engine, item);
}

static void fail_all(struct delivery *const *deliveries, size_t n, enum tg_outcome outcome,
                     const char *reason, const char *message)
{
    for (size_t i = 0; i < n; i++)
        tg_delivery_fail(deliveries[i], outcome, reason, message, 0);
}

/* --- making and unmaking --- */

void tg_shot_free(struct shot *shot)
{
    assert(shot->magic == SHOT_MAGIC && !shot->call);
    if (shot->joined)
        tg_request_free(&shot->joined);
    tg_shot_give_keys(shot);
    tg_free(shot->keys);
    tg_script_drop(&shot->script);
    shot->magic = 0;
    tg_free(shot->deliveries);
    tg_free(shot);
}

void tg_shot_fail(struct shot *shot, enum tg_outcome outcome, const char *reason, const char *message)
{
    fail_all(shot->deliveries, shot->n, outcome, reason, message);
    tg_shot_free(shot);
}

static struct shot *shot_new(struct outlet *o, struct script *script, struct delivery *const *deliveries,
                             size_t n)
{
    struct shot *shot = tg_calloc(1, sizeof *shot);
    if (!shot)
        return NULL;
    shot->deliveries = tg_memdup(deliveries, n * sizeof *deliveries);
    if (!shot->deliveries) {
        tg_free(shot);
        return NULL;
    }
    shot->magic = SHOT_MAGIC;
    shot->outlet = o;
    shot->born = tg_mono_ms();
    shot->script = script;
    script->users++;
    shot->n = n;
    return shot;
}

/* What goes out; of a batch only once it is joined. */
const struct tg_request *tg_shot_request(const struct shot *shot)
{
    return shot->joined ? shot->joined : shot->deliveries[0]->request;
}

static void enqueue(struct shot *shot, bool at_front)
{
    struct outlet *o = shot->outlet;
    for (size_t i = 0; i < shot->n; i++) {
        shot->deliveries[i]->state = DELIVERY_QUEUED;
        shot->deliveries[i]->shot = shot;
    }
    shot->prev = at_front ? NULL : o->queue_last;
    shot->next = at_front ? o->queue : NULL;
    if (shot->prev)
        shot->prev->next = shot;
    else
        o->queue = shot;
    if (shot->next)
        shot->next->prev = shot;
    else
        o->queue_last = shot;
}

void tg_shot_unqueue(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    if (shot->prev)
        shot->prev->next = shot->next;
    else
        o->queue = shot->next;
    if (shot->next)
        shot->next->prev = shot->prev;
    else
        o->queue_last = shot->prev;
    shot->next = shot->prev = NULL;
}

/* A group of a batch becomes one shot, which is joined when it is sent. */
static void queue_group(struct outlet *o, struct script *script, struct delivery *const *deliveries, size_t n,
                        bool at_front)
{
    struct shot *shot = shot_new(o, script, deliveries, n);
    if (!shot) {
        fail_all(deliveries, n, TG_OUTCOME_RETRY, "no_memory", NULL);
        return;
    }
    shot->is_batch = true;
    enqueue(shot, at_front);
}

/* Halves a group, at the front of the queue. */
void tg_shot_halve(struct outlet *o, struct script *script, struct delivery *const *deliveries, size_t n)
{
    queue_group(o, script, deliveries + n / 2, n - n / 2, true);
    queue_group(o, script, deliveries, n / 2, true);
}

void tg_shot_flush(struct outlet *o, int64_t now, bool all)
{
    struct tg_batch *batch;
    while ((batch = tg_batcher_take(&o->batcher, now, all))) {
        struct delivery **deliveries = (struct delivery **)batch->owners;
        /* The script stays while its last item fails. */
        struct script *script = deliveries[0]->item->script;
        script->users++;
        queue_group(o, script, deliveries, batch->n, false);
        tg_script_drop(&script);
        tg_batch_free(&batch);
    }
}

/* --- what an item asks for, and takes back --- */

static const struct tg_batch_spec *spec_of(const struct tg_dest *dest, const char *name)
{
    for (size_t i = 0; name && i < dest->n_batches; i++)
        if (strcmp(dest->batches[i].name, name) == 0)
            return &dest->batches[i];
    return NULL;
}

/* A shot of an equal request that is under way or waits, for a request that may share its answer. */
static struct shot *shot_to_share(const struct outlet *o, const struct tg_request *r)
{
    struct shot *const lists[] = {o->sent, o->queue};
    for (int i = 0; r->share && i < 2; i++)
        for (struct shot *s = lists[i]; s; s = s->next)
            if (!s->is_batch && tg_may_share(s->deliveries[0]->request, r))
                return s;
    return NULL;
}

static int join_shot(struct shot *shot, struct delivery *d)
{
    struct delivery **more = tg_realloc(shot->deliveries, (shot->n + 1) * sizeof *more);
    if (!more)
        return TG_NOMEM;
    shot->deliveries = more;
    more[shot->n++] = d;
    d->shot = shot;
    d->state = more[0]->state;
    if (d->state == DELIVERY_SENT) {
        d->item->n_sent++;
        d->item->probe = shot->probe;
    }
    return TG_OK;
}

int tg_shot_add(struct item *item, struct tg_request *request)
{
    struct outlet *o = item->outlet;
    struct delivery *d = tg_calloc(1, sizeof *d);
    if (!d)
        return TG_NOMEM;
    *d = (struct delivery){.item = item, .request = request, .state = DELIVERY_BATCHED};
    const struct tg_batch_spec *spec = spec_of(item->script->dest, request->batch);
    struct shot *shared = shot_to_share(o, request);
    struct shot *shot = spec || shared ? NULL : shot_new(o, item->script, &d, 1);
    int rc = shot || spec || shared ? TG_OK : TG_NOMEM;
    if (shared)
        rc = join_shot(shared, d);
    else if (spec)
        rc = tg_batcher_add(&o->batcher, spec, request, d, tg_mono_ms());
    if (rc != TG_OK) {
        tg_free(d);
        return rc;
    }
    d->next = item->deliveries;
    item->deliveries = d;
    item->n_open++;
    if (shot)
        enqueue(shot, item->hurries);
    tg_outlet_wake(o);
    return TG_OK;
}

/* Takes a delivery out of a shot that has not been sent; a shot that held nothing else goes away. */
static void leave_shot(struct delivery *d)
{
    struct shot *shot = d->shot;
    size_t n = 0;
    for (size_t i = 0; i < shot->n; i++)
        if (shot->deliveries[i] != d)
            shot->deliveries[n++] = shot->deliveries[i];
    shot->n = n;
    if (n)
        return;
    tg_shot_unqueue(shot);
    tg_shot_free(shot);
}

void tg_shot_drop_unsent(struct item *item)
{
    struct delivery *d = item->deliveries;
    while (d) {
        if (d->state == DELIVERY_SENT) {
            d = d->next;
            continue;
        }
        if (d->state == DELIVERY_BATCHED)
            tg_batcher_remove(&item->outlet->batcher, d);
        else
            leave_shot(d);
        tg_delivery_free(d);
        d = item->deliveries;
    }
}

/* --- on the wire --- */

void tg_shot_link_sent(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    shot->next = o->sent;
    if (shot->next)
        shot->next->prev = shot;
    o->sent = shot;
    o->n_sent++;
    shot->resumes = o->resumes;
    for (size_t i = 0; i < shot->n; i++) {
        shot->deliveries[i]->state = DELIVERY_SENT;
        shot->deliveries[i]->item->n_sent++;
        shot->deliveries[i]->item->probe = shot->probe;
    }
}

void tg_shot_unlink_sent(struct shot *shot)
{
    struct outlet *o = shot->outlet;
    if (shot->prev)
        shot->prev->next = shot->next;
    else
        o->sent = shot->next;
    if (shot->next)
        shot->next->prev = shot->prev;
    shot->next = shot->prev = NULL;
    o->n_sent--;
}
