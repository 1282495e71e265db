/* Each step either lets the call go on (true) or has answered it (false). What the answer needs after the
 * disk sync is copied into a tg_pending; all other memory (inflated body, items, answer) belongs to the front
 * and is used again by the next request. */
#include "ingest/intake.h"

#include "base/clock.h"
#include "ingest/answer.h"
#include "ingest/call_body.h"
#include "ingest/caller.h"
#include "ingest/client_ip.h"
#include "ingest/duplicates.h"
#include "ingest/normalise.h"
#include "ingest/pending.h"

#include <assert.h>

enum {
    KEEP_BUFFER = 256 * 1024, /* larger ones are given back after a request */
    ENVELOPE_FACTOR = 4,
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool normalise(struct tg_call *c)
{
    struct tg_client_ip ip = tg_client_ip(tg_http_peer(c->req), c->msg,
                                          (struct tg_cidrs){c->source->proxies, c->source->n_proxies});
    const struct tg_normalise_in input = {
        .body = c->body,
        .batch = c->route.kind == TG_ROUTE_BATCH,
        .route_type = c->route.type,
        .source = tg_str_of(c->source->name),
        .received_at = c->received_at,
        .trusted = c->source->trusted,
        .record_ip = c->source->record_ip,
        .browser = c->origin.n > 0 || c->route.kind == TG_ROUTE_PIXEL,
        .allow_delete = c->source->allow_delete && c->origin.n == 0,
        .forget_on_delete = c->source->forget_on_delete,
        .client_ip = tg_str_of(ip.text),
        .user_agent = tg_http_header(c->msg, "User-Agent"),
        .sent_at_header = tg_http_header(c->msg, "SentAt"),
        .max_event_bytes = smaller(c->in->limits.event_bytes, c->source->event_bytes),
        .max_items = smaller(c->in->limits.batch_events, c->source->batch_events),
        .max_total_bytes = ENVELOPE_FACTOR * c->in->limits.http.body_bytes,
    };
    struct tg_request_fault fault;
    int rc = tg_normalise(&input, &c->in->items, &fault);
    if (rc == TG_INVALID)
        return tg_refuse(c, 400, fault.code, fault.err.msg);
    return rc ? tg_refuse_unready(c, rc, NULL, 0) : true;
}

static void on_durable(struct tg_pending *p)
{
    struct tg_ingest *in = p->in;
    for (int type = 0; type < TG_EVENT_TYPES; type++) {
        if (p->counts[type])
            tg_count(p->source->accepted[type], p->counts[type]);
    }
    if (in->dedup && p->n_prints)
        tg_dedup_put(in->dedup, p->prints, p->n_prints, tg_wall_ms());
    tg_answer_success(in, p->req, tg_str_n(p->origin, p->origin_len), p->pixel);
}

/* The sink's answer. */
static void on_done(void *arg, int status, const char *why)
{
    struct tg_pending *p = arg;
    assert(p->magic == TG_PENDING_MAGIC);
    if (p->in->gone) {
        tg_pending_free(p);
        return;
    }
    if (status == TG_OK) {
        on_durable(p);
    } else {
        /* As much of a call as an error needs. */
        struct tg_call c = {.in = p->in, .req = p->req, .origin = tg_str_n(p->origin, p->origin_len)};
        c.route.kind = p->pixel ? TG_ROUTE_PIXEL : TG_ROUTE_BATCH;
        (void)tg_refuse_unready(&c, status, why, TG_RETRY_AFTER_S);
    }
    tg_pending_free(p);
}

static void count_rejected(const struct tg_call *c)
{
    struct tg_buf labels = TG_BUF_INIT(1024);
    for (size_t i = 0; i < c->in->items.n_bad; i++) {
        tg_buf_clear(&labels);
        int rc = tg_metric_label(&labels, "source", tg_str_of(c->source->name));
        if (!rc)
            rc = tg_metric_label(&labels, "reason", c->in->items.bad[i].reason);
        const char *z = rc ? NULL : tg_buf_cstr(&labels);
        if (z)
            tg_count(tg_metric(c->in->metrics, TG_COUNTER, "tidegate_events_rejected_total",
                               "Items that were set aside as dead letters of their source.", z),
                     1);
    }
    tg_buf_fini(&labels);
}

static void append(struct tg_call *c, struct tg_pending *p)
{
    struct tg_items *items = &c->in->items;
    for (size_t i = 0; i < items->n_events; i++)
        p->counts[items->events[i].type]++;
    if (items->n_bad)
        count_rejected(c);
    int rc = c->in->sink.append(c->in->sink.arg, items->events, items->n_events, items->bad, items->n_bad,
                                on_done, p);
    if (rc == TG_OK)
        return; /* the answer has been given or will be: c->req is no longer ours */
    tg_pending_free(p);
    (void)tg_refuse_unready(c, rc, NULL, TG_RETRY_AFTER_S);
}

static bool find_room(const struct tg_call *c)
{
    const char *why = NULL;
    int retry_after = TG_RETRY_AFTER_S;
    int rc = c->in->sink.ready(c->in->sink.arg, &why, &retry_after);
    if (rc)
        return tg_refuse_unready(c, rc, why, retry_after);
    const struct tg_items *items = &c->in->items;
    if (c->source->rate <= 0)
        return true;
    int wait = tg_source_take(c->source, items->n_events + items->n_bad, tg_mono_ms());
    if (wait)
        return tg_refuse_with(c, (struct tg_answer){.status = 429, .retry_after = wait}, "rate_limited",
                              "the source sends more events a second than its rate allows");
    return true;
}

static void store(struct tg_call *c)
{
    struct tg_items *items = &c->in->items;
    tg_count(c->source->bytes, (int64_t)c->body.n);
    if (items->merges)
        tg_count(c->source->merges, (int64_t)items->merges);
    struct tg_pending *p = tg_pending_new(c);
    if (!p || (c->in->dedup && tg_duplicates_drop(c, p))) {
        if (p)
            tg_pending_free(p);
        (void)tg_refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    if (items->n_events || items->n_bad) {
        append(c, p);
        return;
    }
    tg_pending_free(p);
    tg_answer_success(c->in, c->req, c->origin, c->route.kind == TG_ROUTE_PIXEL);
}

/* Memory of a large request is not kept. */
static void give_back(struct tg_ingest *in)
{
    tg_items_clear(&in->items);
    if (in->body.cap > KEEP_BUFFER)
        tg_buf_fini(&in->body);
    if (in->seen.cap > KEEP_BUFFER)
        tg_buf_fini(&in->seen);
}

void tg_intake_events(struct tg_call *c)
{
    if (tg_caller_find(c) && tg_call_body(c) && tg_caller_find_in_body(c) && tg_call_body_fits(c) &&
        normalise(c) && find_room(c))
        store(c);
    give_back(c->in);
}

void tg_intake_merge(struct tg_call *c)
{
    if (tg_caller_find(c) &&
        (c->source || (tg_call_body(c) && tg_caller_find_in_body(c) && tg_call_body_fits(c)))) {
        tg_count(c->source->merges, 1);
        tg_answer_success(c->in, c->req, c->origin, false);
    }
    give_back(c->in);
}
