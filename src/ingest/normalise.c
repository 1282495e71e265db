/* One pass over the text: into the envelope, into the batch, into each item, over their members' values. What
 * the envelope lends may stand behind the items (most SDKs send sentAt last), so the events are completed
 * when all is read; context is walked only when something may have to be added to it. Everything that must be
 * built (decoded ids, merged contexts) goes into the arena of the results. */
#include "ingest/normalise.h"

#include "base/json.h"
#include "ingest/envelope.h"
#include "ingest/item.h"
#include "ingest/set_aside.h"

#include <assert.h>

struct request {
    const struct tg_normalise_in *in;
    struct tg_items *items;
    struct tg_request_fault *fault;
    struct tg_envelope envelope;
};

/* What a batch's object says beside its items. */
struct beside {
    bool has_items;
    struct tg_str batch; /* when it is no array */
    struct tg_envelope_text text;
};

static int one_item(struct request *rq, struct tg_cursor *c, size_t index)
{
    struct tg_item it = tg_item_of(rq->in, rq->items, index);
    int rc = tg_item_read(&it, c);
    if (rc == TG_ITEM_DONE)
        return TG_OK;
    return rc ? rc : tg_items_add(rq->items, &it.ev);
}

static int all_items(struct request *rq, struct tg_cursor *c)
{
    size_t index = 0;
    int rc = TG_OK;
    tg_cursor_enter(c);
    for (; !rc && tg_cursor_item(c); index++) {
        if (index == rq->in->max_items) {
            (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: more than %zu items; send smaller batches",
                          rq->in->max_items);
            return tg_request_fault(rq->fault, "batch_too_large");
        }
        rc = one_item(rq, c, index);
    }
    return rc;
}

static int read_batch(struct request *rq, struct tg_cursor *c, struct beside *b)
{
    tg_items_forget(rq->items); /* of two batches the last counts, as of every member */
    b->has_items = *c->at == '[';
    if (b->has_items)
        return all_items(rq, c);
    b->batch = tg_cursor_value(c);
    return TG_OK;
}

static int read_object(struct request *rq, struct tg_cursor *c, struct beside *b)
{
    struct tg_str key;
    bool escaped;
    int rc = TG_OK;
    tg_cursor_enter(c);
    while (!rc && tg_cursor_member(c, &key, &escaped)) {
        if (tg_json_key_is(key, "batch"))
            rc = read_batch(rq, c, b);
        else if (tg_json_key_is(key, "context"))
            b->text.context = tg_cursor_value(c);
        else if (tg_json_key_is(key, "integrations"))
            b->text.integrations = tg_cursor_value(c);
        else if (tg_json_key_is(key, "sentAt"))
            b->text.sent_at = tg_cursor_value(c);
        else
            (void)tg_cursor_value(c);
    }
    return rc;
}

static int no_items(const struct request *rq, struct tg_str batch)
{
    struct tg_str s = tg_shown(batch);
    if (s.n)
        (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: must be an array of events, but is %.*s",
                      TG_STR_ARG(s));
    else
        (void)tg_fail(&rq->fault->err, TG_INVALID, "batch: missing; send {\"batch\":[...]}");
    return tg_request_fault(rq->fault, "invalid_batch");
}

/* The items as they stand, and what the envelope says, which may come behind them. */
static int read_request(struct request *rq)
{
    struct tg_cursor c = {rq->in->body.p, rq->in->body.p + rq->in->body.n};
    if (!rq->in->batch)
        return one_item(rq, &c, 0);
    struct beside b = {0};
    int rc = read_object(rq, &c, &b);
    if (rc)
        return rc;
    if (!b.has_items)
        return no_items(rq, b.batch);
    return tg_envelope_use(&rq->envelope, &b.text, rq->in, rq->items, rq->fault);
}

int tg_normalise(const struct tg_normalise_in *in, struct tg_items *items, struct tg_request_fault *fault)
{
    assert(in->batch || (unsigned)in->route_type < TG_EVENT_TYPES);
    tg_items_clear(items);
    struct request rq = {.in = in, .items = items, .fault = fault};
    int rc = tg_envelope_of_connection(&rq.envelope, in, items);
    if (!rc)
        rc = read_request(&rq);
    for (size_t i = 0; !rc && i < items->n_events; i++)
        rc = tg_envelope_complete(&rq.envelope, &items->events[i], in, items, fault);
    if (rc)
        tg_items_clear(items);
    return rc;
}
