/* A request's route, and who takes it from there: intake.c what brings events, lookups.c the rest. Then the
 * life of the front. */
#include "ingest/ingest.h"

#include "base/clock.h"
#include "base/mem.h"
#include "ingest/answer.h"
#include "ingest/caller.h"
#include "ingest/intake.h"
#include "ingest/lookups.h"
#include "ingest/pending.h"

const struct tg_ingest_limits tg_ingest_default_limits = {
    .http = {.head_bytes = 16 * 1024,
             .body_bytes = 4 * 1024 * 1024,
             .buffer_bytes = 256 * 1024 * 1024,
             .request_timeout_ms = 10 * 1000,
             .idle_timeout_ms = 75 * 1000,
             .connections = 10000},
    .event_bytes = 512 * 1024,
    .batch_events = 20000,
};

static void follow_route(struct tg_call *c)
{
    switch (c->route.kind) {
    case TG_ROUTE_NONE:
        (void)tg_refuse(c, 404, "not_found", "there is nothing under this path");
        return;
    case TG_ROUTE_EVENT:
    case TG_ROUTE_BATCH:
        tg_intake_events(c);
        return;
    case TG_ROUTE_PIXEL:
        if (c->msg->method == TG_HTTP_HEAD)
            tg_answer_success(c->in, c->req, c->origin, true);
        else if (c->route.unknown)
            (void)tg_refuse(c, 404, "not_found", "there is no such pixel");
        else
            tg_intake_events(c);
        return;
    case TG_ROUTE_MERGE:
        tg_intake_merge(c);
        return;
    case TG_ROUTE_METRICS:
        tg_answer_success(c->in, c->req, c->origin, false);
        return;
    case TG_ROUTE_SETTINGS:
        tg_give_settings(c);
        return;
    case TG_ROUTE_BROWSER_SCRIPT:
        tg_give_browser_script(c);
        return;
    case TG_ROUTE_SOURCE_CONFIG:
        tg_give_source_config(c);
        return;
    case TG_ROUTE_HEALTH:
        tg_give_health(c);
        return;
    }
}

static struct tg_call call_of(struct tg_ingest *in, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    return (struct tg_call){.in = in,
                            .req = req,
                            .msg = msg,
                            .route = tg_route_find(msg->path),
                            .origin = tg_http_header(msg, "Origin"),
                            .received_at = tg_wall_ms()};
}

static void on_request(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct tg_ingest *in = arg;
    struct tg_call c = call_of(in, req, msg);
    if (msg->method == TG_HTTP_OPTIONS)
        tg_give_preflight(&c);
    else if (c.route.kind != TG_ROUTE_NONE && !tg_route_allows(c.route.kind, msg->method))
        tg_answer_error(in, req, c.origin,
                        (struct tg_answer){.status = 405, .allow = tg_route_allow(c.route.kind)},
                        "method_not_allowed", "this path does not take that method");
    else
        follow_route(&c);
}

/* Whether a request that is refused for its size has a wrong key: that is said first. Answered then. */
static bool answered_for_key(struct tg_ingest *in, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct tg_call c = call_of(in, req, msg);
    bool keyed =
        c.route.kind == TG_ROUTE_EVENT || c.route.kind == TG_ROUTE_BATCH || c.route.kind == TG_ROUTE_MERGE;
    return keyed && msg->method == TG_HTTP_POST && !tg_caller_find(&c);
}

static void on_refuse(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg,
                      enum tg_http_fault fault, const char *reason)
{
    static const struct {
        int status;
        const char *code;
    } faults[] = {
        [TG_HTTP_MALFORMED] = {400, "malformed_request"},
        [TG_HTTP_HEAD_SIZE] = {431, "headers_too_large"},
        [TG_HTTP_BODY_SIZE] = {400, "payload_too_large"},
        [TG_HTTP_CROWDED] = {503, "overloaded"},
    };
    if (fault == TG_HTTP_BODY_SIZE && answered_for_key(arg, req, msg))
        return;
    struct tg_answer a = {.status = faults[fault].status,
                          .retry_after = fault == TG_HTTP_CROWDED ? TG_RETRY_AFTER_S : 0};
    struct tg_call c = call_of(arg, req, msg);
    if (msg->method != TG_HTTP_GET || fault == TG_HTTP_MALFORMED)
        c.route.kind = TG_ROUTE_NONE; /* no page made this: it gets no picture */
    (void)tg_refuse_with(&c, a, faults[fault].code, reason);
}

/* --- life --- */

static void init_buffers(struct tg_ingest *in)
{
    tg_items_init(&in->items);
    tg_buf_init(&in->body, in->limits.http.body_bytes);
    tg_buf_init(&in->key, in->limits.http.body_bytes);
    tg_buf_init(&in->lines, 64 * 1024);
    tg_buf_init(&in->text, 64 * 1024);
    tg_public_url_init(&in->public_url);
    tg_browser_script_init(&in->browser_script);
    tg_buf_init(&in->seen, (size_t)-1); /* four times the items of a batch, which are limited */
}

int tg_ingest_new(struct tg_ingest **out, const struct tg_ingest_options *o, struct tg_err *err)
{
    *out = NULL;
    struct tg_ingest *in = tg_calloc(1, sizeof *in);
    if (!in)
        return tg_fail(err, TG_NOMEM, "ingest: out of memory");
    in->limits = o->limits;
    in->sink = o->sink;
    in->dedup = o->dedup;
    in->metrics = o->metrics;
    init_buffers(in);
    const struct tg_http_handler handler = {.arg = in, .request = on_request, .refuse = on_refuse};
    int rc = tg_http_new(&in->http, o->base, &o->limits.http, &handler, o->metrics, err);
    if (!rc)
        rc = tg_ingest_set_sources(in, NULL, 0, err);
    if (rc)
        tg_ingest_free(&in);
    *out = in;
    return rc;
}

void tg_ingest_free(struct tg_ingest **out)
{
    struct tg_ingest *in = *out;
    *out = NULL;
    if (!in)
        return;
    tg_http_free(&in->http);
    tg_sources_unref(&in->sources);
    tg_items_fini(&in->items);
    tg_buf_fini(&in->body);
    tg_buf_fini(&in->key);
    tg_buf_fini(&in->lines);
    tg_buf_fini(&in->text);
    tg_buf_fini(&in->seen);
    tg_public_url_fini(&in->public_url);
    tg_browser_script_fini(&in->browser_script);
    tg_pending_abandon(in);
}

int tg_ingest_set_sources(struct tg_ingest *in, const struct tg_ingest_source *sources, size_t n,
                          struct tg_err *err)
{
    struct tg_sources *next;
    int rc = tg_sources_new(&next, sources, n, in->metrics, err);
    if (rc)
        return rc;
    tg_sources_unref(&in->sources);
    in->sources = next;
    return TG_OK;
}

void tg_ingest_set_limits(struct tg_ingest *in, const struct tg_ingest_limits *limits)
{
    in->limits = *limits;
    in->body.max = in->key.max = limits->http.body_bytes;
    tg_http_set_limits(in->http, &limits->http);
}

int tg_ingest_set_public_url(struct tg_ingest *in, const char *url, struct tg_err *err)
{
    return tg_public_url_set(&in->public_url, url, err);
}

int tg_ingest_set_browser_script(struct tg_ingest *in, const char *text, struct tg_err *err)
{
    return tg_browser_script_set(&in->browser_script, text, err);
}

struct tg_http *tg_ingest_http(struct tg_ingest *in)
{
    return in->http;
}
