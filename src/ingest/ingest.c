/* What happens to a request, in this order (ingest contract section 9):
 *
 *     path and method -> key -> source -> origin, deletion -> body: encoding, size, JSON -> (key in the body
 * -> source)
 *     -> items -> room -> rate -> duplicates -> sink -> answer when it is durable
 *
 * Each step either lets the call go on (true) or has answered it (false). A call lives on the stack; what the
 * answer needs after the disk sync is copied into a `pending`, of which a few are kept for reuse. All other
 * memory (inflated body, items, answer) belongs to the front and is used again by the next request.
 *
 * Duplicates: only what is on disk already suppresses a copy. A copy of an event that is still on its way to
 * the disk is appended too, so that neither answer depends on the other's fate. Within one batch the first
 * copy of an id stands for all, because they share one answer. */
#include "ingest/ingest.h"

#include "base/clock.h"
#include "base/gzip.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "ingest/client_ip.h"
#include "ingest/cors.h"
#include "ingest/dedup.h"
#include "ingest/normalise.h"
#include "ingest/pixel.h"
#include "ingest/reply.h"
#include "ingest/routes.h"
#include "ingest/settings_reply.h"
#include "ingest/sources.h"

#include <assert.h>

enum {
    KEEP_BUFFER = 256 * 1024, /* larger ones are given back after a request */
    KEEP_PENDING = 1024,
    ORIGIN_BYTES = 200,
    FEW_PRINTS = 2,
    ENVELOPE_FACTOR = 4,
    RETRY_AFTER_S = 5,
    RETRY_AFTER_MAX_S = 300,
    PENDING_MAGIC = 0x70656e64
};

#define JSON "application/json"

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

/* A request that is with the sink. */
struct pending {
    unsigned magic;
    struct tg_ingest *in;
    struct pending *next; /* in the list of spare ones */
    struct tg_http_req *req;
    struct tg_sources *sources; /* keeps `source` */
    struct tg_source *source;
    bool pixel;
    uint32_t counts[TG_EVENT_TYPES];
    size_t n_prints;
    struct tg_fingerprint *prints; /* few, or of the heap */
    struct tg_fingerprint few[FEW_PRINTS];
    size_t origin_len;
    char origin[ORIGIN_BYTES];
};

struct tg_ingest {
    struct tg_ingest_limits limits;
    struct tg_sink sink;
    struct tg_dedup *dedup;
    struct tg_metrics *metrics;
    struct tg_http *http;
    struct tg_sources *sources;
    struct tg_buf public_base; /* host and path of the public URL; empty: none */
    bool public_https;
    struct pending *spare;
    size_t n_spare, n_pending;
    bool gone; /* freed by its owner; here until the sink has called back for all */
    struct tg_items items;
    struct tg_buf body;  /* inflated, or made from a query */
    struct tg_buf key;   /* a decoded write key */
    struct tg_buf lines; /* header lines of the answer */
    struct tg_buf text;  /* body of the answer */
    struct tg_buf seen;  /* table of a batch's fingerprints */
};

/* A request on its way through the steps. */
struct call {
    struct tg_ingest *in;
    struct tg_http_req *req;
    const struct tg_http_msg *msg;
    struct tg_route route;
    struct tg_str origin;
    struct tg_str key;
    struct tg_source *source; /* NULL: not known yet */
    struct tg_str body;       /* encoded, then decoded, then one JSON object */
    int64_t received_at;
};

/* --- answers --- */

struct answer {
    int status;
    const char *type;
    int retry_after;   /* s; 0: none */
    const char *allow; /* NULL: none */
    struct tg_str body;
};

static int add_lines(struct tg_buf *lines, const struct answer *a, struct tg_str origin)
{
    tg_buf_clear(lines);
    int rc = tg_cors_answer(lines, origin);
    if (!rc && a->retry_after)
        rc = tg_buf_printf(lines, "Retry-After: %d\r\n", a->retry_after);
    if (!rc && a->status == 429)
        rc = tg_buf_printf(lines, "X-RateLimit-Reset: %d\r\n", a->retry_after);
    if (!rc && a->allow)
        rc = tg_buf_printf(lines, "Allow: %s\r\n", a->allow);
    return rc;
}

static void send_answer(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin,
                        const struct answer *a)
{
    if (add_lines(&in->lines, a, origin))
        tg_buf_clear(&in->lines); /* out of memory: the status still counts */
    const struct tg_http_reply reply = {
        .status = a->status, .content_type = a->type, .headers = tg_buf_str(&in->lines), .body = a->body};
    tg_http_reply(req, &reply);
}

static void send_success(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, bool pixel)
{
    const struct answer a = {
        .status = 200, .type = pixel ? "image/gif" : JSON, .body = pixel ? tg_reply_pixel : tg_reply_success};
    send_answer(in, req, origin, &a);
}

static void count_refusal(struct tg_ingest *in, const char *code)
{
    struct tg_buf labels = TG_BUF_INIT(256);
    const char *z = tg_metric_label(&labels, "code", tg_str_of(code)) ? NULL : tg_buf_cstr(&labels);
    if (z)
        tg_count(tg_metric(in->metrics, TG_COUNTER, "tidegate_ingest_refused_total",
                           "Requests that were answered with an error, by its code.", z),
                 1);
    tg_buf_fini(&labels);
}

static void send_error(struct tg_ingest *in, struct tg_http_req *req, struct tg_str origin, struct answer a,
                       const char *code, const char *message)
{
    count_refusal(in, code);
    tg_buf_clear(&in->text);
    if (tg_reply_error(&in->text, code, tg_str_of(message)))
        tg_buf_clear(&in->text);
    a.type = JSON;
    a.body = tg_buf_str(&in->text);
    send_answer(in, req, origin, &a);
}

/* Answers the call with an error; pixels always get their picture. False, so that a step can return it. */
static bool refuse_with(const struct call *c, struct answer a, const char *code, const char *message)
{
    if (c->route.kind == TG_ROUTE_PIXEL) {
        count_refusal(c->in, code);
        send_success(c->in, c->req, c->origin, true);
    } else {
        send_error(c->in, c->req, c->origin, a, code, message);
    }
    return false;
}

static bool refuse(const struct call *c, int status, const char *code, const char *message)
{
    return refuse_with(c, (struct answer){.status = status}, code, message);
}

/* The answer to what the sink says: nothing was taken, the sender should come again. */
struct unready {
    int status;
    const char *code, *message;
};

static struct unready unready_of(int rc)
{
    switch (rc) {
    case TG_BUSY:
        return (struct unready){429, "overloaded", "too many events wait for the disk"};
    case TG_FULL:
        return (struct unready){503, "disk_full", "there is no room for more events"};
    case TG_QUOTA:
        return (struct unready){503, "quota_full", "a quota is used up"};
    case TG_CLOSED:
        return (struct unready){503, "stopping", "the relay is stopping"};
    case TG_NOMEM:
        return (struct unready){503, "out_of_memory", "out of memory"};
    default:
        return (struct unready){503, "storage_error", "events cannot be written to disk"};
    }
}

static bool refuse_unready(const struct call *c, int rc, const char *why, int retry_after)
{
    struct unready u = unready_of(rc);
    if (retry_after < 1 || retry_after > RETRY_AFTER_MAX_S)
        retry_after = RETRY_AFTER_S;
    return refuse_with(c, (struct answer){.status = u.status, .retry_after = retry_after}, u.code,
                       why ? why : u.message);
}

/* --- who is calling --- */

/* Looks the key up and asks what its source may. */
static bool admit(struct call *c)
{
    c->source = tg_sources_find(c->in->sources, c->key);
    if (!c->source)
        return refuse(c, 401, "unknown_write_key", "no source has this write key");
    if (!c->source->enabled)
        return refuse(c, 401, "source_disabled", "the source of this write key is disabled");
    bool post = c->msg->method == TG_HTTP_POST;
    if (post && c->origin.n && !tg_source_allows_origin(c->source, c->origin))
        return refuse(c, 403, "origin_not_allowed", "this origin is not among the source's allowed_origins");
    bool deletion = c->route.kind == TG_ROUTE_EVENT && c->route.type == TG_DELETE;
    if (deletion && (!c->source->allow_delete || c->origin.n))
        return refuse(c, 403, "delete_not_allowed",
                      "deletion needs allow_delete on the source and is never taken from browsers");
    return true;
}

/* The header and query places; without a key there, the body's is still to come. */
static bool find_key(struct call *c)
{
    if (tg_write_key_of(c->msg, &c->in->key, &c->key))
        return refuse_unready(c, TG_NOMEM, NULL, 0);
    return c->key.n ? admit(c) : true;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The source's own limit; asked again when its key was in the body. */
static bool check_body_size(const struct call *c)
{
    return !c->source || c->body.n <= c->source->body_bytes ||
           refuse(c, 400, "payload_too_large", "the body exceeds this source's limits.body");
}

static bool find_key_in_body(struct call *c)
{
    if (c->source)
        return true;
    tg_buf_clear(&c->in->key);
    int rc = tg_body_write_key(c->body, &c->in->key);
    if (rc == TG_NOTFOUND)
        return refuse(c, 401, "missing_write_key",
                      "no write key: send it as Basic user name, X-Write-Key, ?writeKey= or in the body");
    if (rc)
        return refuse_unready(c, TG_NOMEM, NULL, 0);
    c->key = tg_buf_str(&c->in->key);
    return admit(c) && check_body_size(c);
}

/* For settings: the key is all there is. */
static bool need_key(struct call *c)
{
    if (c->source)
        return true;
    return c->key.n ? admit(c) : refuse(c, 401, "missing_write_key", "no write key");
}

/* --- the body --- */

static int inflate_body(struct call *c, bool deflate)
{
    struct tg_inflate *z;
    int rc = tg_inflate_new(&z, deflate);
    if (rc)
        return rc;
    tg_buf_clear(&c->in->body);
    size_t most = c->in->body.max;
    c->in->body.max = smaller(most, c->source ? c->source->body_bytes : most);
    rc = tg_inflate_feed(z, c->body, &c->in->body, NULL);
    c->in->body.max = most;
    if (!rc && !tg_inflate_complete(z))
        rc = TG_INVALID;
    tg_inflate_free(&z);
    c->body = tg_buf_str(&c->in->body);
    return rc;
}

static bool decode_body(struct call *c)
{
    struct tg_str coding = tg_http_header(c->msg, "Content-Encoding");
    c->body = c->msg->body;
    if (coding.n == 0 || tg_str_ieq(coding, "identity"))
        return check_body_size(c);
    bool deflate = tg_str_ieq(coding, "deflate");
    if (!deflate && !tg_str_ieq(coding, "gzip") && !tg_str_ieq(coding, "x-gzip"))
        return refuse(c, 415, "unsupported_encoding", "Content-Encoding must be gzip, deflate or identity");
    switch (inflate_body(c, deflate)) {
    case TG_OK:
        return true;
    case TG_TOOBIG:
        return refuse(c, 400, "payload_too_large", "the decompressed body exceeds the limit");
    case TG_NOMEM:
        return refuse_unready(c, TG_NOMEM, NULL, 0);
    default:
        return refuse(c, 400, "invalid_compression", "the body does not decompress");
    }
}

static bool make_pixel_body(struct call *c)
{
    tg_buf_clear(&c->in->body);
    int rc = tg_pixel_event(&c->in->body, c->msg->query);
    c->body = tg_buf_str(&c->in->body);
    return rc ? refuse(c, 400, "invalid_pixel", "the query holds neither base64 data nor parameters") : true;
}

static bool parse_body(struct call *c)
{
    struct tg_request_fault fault;
    if (tg_body_parse(c->body, TG_JSON_MAX_DEPTH, &c->body, &fault))
        return refuse(c, 400, fault.code, fault.err.msg);
    return true;
}

static bool normalise(struct call *c)
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
        return refuse(c, 400, fault.code, fault.err.msg);
    return rc ? refuse_unready(c, rc, NULL, 0) : true;
}

/* --- duplicates --- */

/* Makes place for n fingerprints. */
static int reserve_prints(struct pending *p, size_t n)
{
    p->prints = p->few;
    if (n <= FEW_PRINTS)
        return TG_OK;
    p->prints = tg_malloc(n * sizeof *p->prints);
    return p->prints ? TG_OK : TG_NOMEM;
}

/* A table for the fingerprints of a batch: open addressing, indexes + 1. */
static uint32_t *new_table(struct tg_ingest *in, size_t n, size_t *mask)
{
    size_t places = 4;
    while (places < 2 * n)
        places *= 2;
    tg_buf_clear(&in->seen);
    if (tg_buf_reserve(&in->seen, places * sizeof(uint32_t)))
        return NULL;
    memset(in->seen.data, 0, places * sizeof(uint32_t));
    *mask = places - 1;
    return (uint32_t *)(void *)in->seen.data;
}

/* Whether print is among the first n of prints; enters it if not. */
static bool seen_in_batch(uint32_t *table, size_t mask, const struct tg_fingerprint *prints, size_t n,
                          struct tg_fingerprint print)
{
    size_t at = (size_t)print.a & mask;
    for (; table[at]; at = (at + 1) & mask) {
        const struct tg_fingerprint *other = &prints[table[at] - 1];
        if (other->a == print.a && other->b == print.b)
            return true;
    }
    table[at] = (uint32_t)n + 1;
    return false;
}

static void read_prints(struct tg_dedup *dedup, const struct tg_items *items, struct tg_fingerprint *prints)
{
    for (size_t i = 0; i < items->n_events; i++)
        prints[i] = tg_dedup_fingerprint(dedup, items->events[i].source, items->events[i].message_id);
    tg_dedup_expect(dedup, prints, items->n_events);
}

/* Removes what is on disk already from the items' events and remembers the fingerprints of the rest. */
static int drop_duplicates(struct call *c, struct pending *p)
{
    struct tg_ingest *in = c->in;
    struct tg_items *items = &in->items;
    size_t kept = 0, mask = 0;
    uint32_t *table = new_table(in, items->n_events, &mask);
    if (!table || reserve_prints(p, items->n_events))
        return TG_NOMEM;
    read_prints(in->dedup, items, p->prints);
    for (size_t i = 0; i < items->n_events; i++) {
        struct tg_fingerprint print = p->prints[i];
        if (tg_dedup_has(in->dedup, print, c->received_at) ||
            seen_in_batch(table, mask, p->prints, kept, print))
            continue;
        p->prints[kept] = print;
        items->events[kept++] = items->events[i];
    }
    tg_count(c->source->duplicates, (int64_t)(items->n_events - kept));
    items->n_events = p->n_prints = kept;
    return TG_OK;
}

/* --- to the sink and back --- */

static struct pending *pending_new(const struct call *c)
{
    struct tg_ingest *in = c->in;
    struct pending *p = in->spare;
    if (p) {
        in->spare = p->next;
        in->n_spare--;
    } else {
        p = tg_malloc(sizeof *p);
        if (!p)
            return NULL;
    }
    in->n_pending++;
    p->magic = PENDING_MAGIC;
    p->in = in;
    p->req = c->req;
    p->sources = tg_sources_ref(in->sources);
    p->source = c->source;
    p->pixel = c->route.kind == TG_ROUTE_PIXEL;
    memset(p->counts, 0, sizeof p->counts);
    p->n_prints = 0;
    p->prints = p->few;
    p->origin_len = c->origin.n < sizeof p->origin ? c->origin.n : 0;
    if (p->origin_len)
        memcpy(p->origin, c->origin.p, p->origin_len);
    return p;
}

static void pending_free(struct pending *p)
{
    struct tg_ingest *in = p->in;
    p->magic = 0;
    tg_sources_unref(&p->sources);
    in->n_pending--;
    if (p->prints != p->few)
        tg_free(p->prints);
    if (in->n_spare >= KEEP_PENDING) {
        tg_free(p);
        return;
    }
    p->next = in->spare;
    in->spare = p;
    in->n_spare++;
}

static void on_durable(struct pending *p)
{
    struct tg_ingest *in = p->in;
    for (int type = 0; type < TG_EVENT_TYPES; type++) {
        if (p->counts[type])
            tg_count(p->source->accepted[type], p->counts[type]);
    }
    if (in->dedup && p->n_prints)
        tg_dedup_put(in->dedup, p->prints, p->n_prints, tg_wall_ms());
    send_success(in, p->req, tg_str_n(p->origin, p->origin_len), p->pixel);
}

/* Frees what the owner's call had to leave. */
static void dispose(struct tg_ingest *in)
{
    while (in->spare) {
        struct pending *p = in->spare;
        in->spare = p->next;
        tg_free(p);
    }
    tg_free(in);
}

/* The sink's answer. */
static void on_done(void *arg, int status, const char *why)
{
    struct pending *p = arg;
    assert(p->magic == PENDING_MAGIC);
    if (p->in->gone) {
        struct tg_ingest *in = p->in;
        pending_free(p);
        if (in->n_pending == 0)
            dispose(in);
        return;
    }
    if (status == TG_OK) {
        on_durable(p);
    } else {
        /* As much of a call as an error needs. */
        struct call c = {.in = p->in, .req = p->req, .origin = tg_str_n(p->origin, p->origin_len)};
        c.route.kind = p->pixel ? TG_ROUTE_PIXEL : TG_ROUTE_BATCH;
        (void)refuse_unready(&c, status, why, RETRY_AFTER_S);
    }
    pending_free(p);
}

static void count_rejected(const struct call *c)
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

static void append(struct call *c, struct pending *p)
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
    pending_free(p);
    (void)refuse_unready(c, rc, NULL, RETRY_AFTER_S);
}

static bool find_room(const struct call *c)
{
    const char *why = NULL;
    int retry_after = RETRY_AFTER_S;
    int rc = c->in->sink.ready(c->in->sink.arg, &why, &retry_after);
    if (rc)
        return refuse_unready(c, rc, why, retry_after);
    const struct tg_items *items = &c->in->items;
    int wait = tg_source_take(c->source, items->n_events + items->n_bad, tg_mono_ms());
    if (wait)
        return refuse_with(c, (struct answer){.status = 429, .retry_after = wait}, "rate_limited",
                           "the source sends more events a second than its rate allows");
    return true;
}

static void store(struct call *c)
{
    struct tg_items *items = &c->in->items;
    tg_count(c->source->bytes, (int64_t)c->body.n);
    if (items->merges)
        tg_count(c->source->merges, (int64_t)items->merges);
    struct pending *p = pending_new(c);
    if (!p || (c->in->dedup && drop_duplicates(c, p))) {
        if (p)
            pending_free(p);
        (void)refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    if (items->n_events || items->n_bad) {
        append(c, p);
        return;
    }
    pending_free(p);
    send_success(c->in, c->req, c->origin, c->route.kind == TG_ROUTE_PIXEL);
}

/* --- routes --- */

/* Memory of a large request is not kept. */
static void give_back(struct tg_ingest *in)
{
    tg_items_clear(&in->items);
    if (in->body.cap > KEEP_BUFFER)
        tg_buf_fini(&in->body);
    if (in->seen.cap > KEEP_BUFFER)
        tg_buf_fini(&in->seen);
}

static void take_events(struct call *c)
{
    bool pixel = c->route.kind == TG_ROUTE_PIXEL;
    if (find_key(c) && (pixel ? make_pixel_body(c) : decode_body(c)) && parse_body(c) &&
        find_key_in_body(c) && normalise(c) && find_room(c))
        store(c);
    give_back(c->in);
}

static void take_merge(struct call *c)
{
    if (find_key(c) && (c->source || (decode_body(c) && parse_body(c) && find_key_in_body(c)))) {
        tg_count(c->source->merges, 1);
        send_success(c->in, c->req, c->origin, false);
    }
    give_back(c->in);
}

static void send_text(struct call *c, int rc)
{
    if (rc) {
        (void)refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    const struct answer a = {.status = 200, .type = JSON, .body = tg_buf_str(&c->in->text)};
    send_answer(c->in, c->req, c->origin, &a);
}

/* How the browser reached the relay, unless the configuration says it; a proxy in between may have changed
 * scheme and Host. */
static bool public_address(const struct call *c, struct tg_str *host)
{
    *host = tg_buf_str(&c->in->public_base);
    if (host->n)
        return c->in->public_https;
    struct tg_client_ip ip = tg_client_ip(tg_http_peer(c->req), c->msg,
                                          (struct tg_cidrs){c->source->proxies, c->source->n_proxies});
    *host = tg_http_header(c->msg, "Host");
    if (!ip.via_proxy)
        return tg_http_is_tls(c->req);
    struct tg_str forwarded = tg_http_header(c->msg, "X-Forwarded-Host");
    if (forwarded.n)
        *host = forwarded;
    struct tg_str scheme = tg_http_header(c->msg, "X-Forwarded-Proto");
    return scheme.n ? tg_str_ieq(scheme, "https") : tg_http_is_tls(c->req);
}

static void give_settings(struct call *c)
{
    tg_buf_clear(&c->in->key);
    if (tg_url_decode(&c->in->key, c->route.write_key, false)) {
        (void)refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    c->key = tg_buf_str(&c->in->key);
    if (!need_key(c))
        return;
    struct tg_str host;
    bool https = public_address(c, &host);
    tg_buf_clear(&c->in->text);
    send_text(c, tg_settings_segment(&c->in->text, c->key, host, https));
}

static void give_source_config(struct call *c)
{
    if (!find_key(c) || !need_key(c))
        return;
    tg_buf_clear(&c->in->text);
    send_text(c, tg_settings_rudder(&c->in->text, tg_str_of(c->source->name), c->key));
}

/* Overload is health enough: senders are told to wait, not that the relay is gone. */
static void give_health(struct call *c)
{
    const char *why = NULL;
    int retry_after = RETRY_AFTER_S;
    int rc = c->in->sink.ready(c->in->sink.arg, &why, &retry_after);
    if (rc == TG_OK || rc == TG_BUSY)
        send_success(c->in, c->req, c->origin, false);
    else
        (void)refuse_unready(c, rc, why, retry_after);
}

/* Every path: the SDK shall see the answer to the request itself, not a network failure. */
static void give_preflight(struct call *c)
{
    struct tg_buf *lines = &c->in->lines;
    tg_buf_clear(lines);
    if (tg_cors_preflight(lines, c->msg)) {
        (void)refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    const struct tg_http_reply reply = {.status = 204, .headers = tg_buf_str(lines)};
    tg_http_reply(c->req, &reply);
}

static void follow_route(struct call *c)
{
    switch (c->route.kind) {
    case TG_ROUTE_NONE:
        (void)refuse(c, 404, "not_found", "there is nothing under this path");
        return;
    case TG_ROUTE_EVENT:
    case TG_ROUTE_BATCH:
        take_events(c);
        return;
    case TG_ROUTE_PIXEL:
        if (c->msg->method == TG_HTTP_HEAD)
            send_success(c->in, c->req, c->origin, true);
        else if (c->route.unknown)
            (void)refuse(c, 404, "not_found", "there is no such pixel");
        else
            take_events(c);
        return;
    case TG_ROUTE_MERGE:
        take_merge(c);
        return;
    case TG_ROUTE_METRICS:
        send_success(c->in, c->req, c->origin, false);
        return;
    case TG_ROUTE_SETTINGS:
        give_settings(c);
        return;
    case TG_ROUTE_SOURCE_CONFIG:
        give_source_config(c);
        return;
    case TG_ROUTE_HEALTH:
        give_health(c);
        return;
    }
}

static struct call call_of(struct tg_ingest *in, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    return (struct call){.in = in,
                         .req = req,
                         .msg = msg,
                         .route = tg_route_find(msg->path),
                         .origin = tg_http_header(msg, "Origin"),
                         .received_at = tg_wall_ms()};
}

static void on_request(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct tg_ingest *in = arg;
    struct call c = call_of(in, req, msg);
    if (msg->method == TG_HTTP_OPTIONS)
        give_preflight(&c);
    else if (c.route.kind != TG_ROUTE_NONE && !tg_route_allows(c.route.kind, msg->method))
        send_error(in, req, c.origin, (struct answer){.status = 405, .allow = tg_route_allow(c.route.kind)},
                   "method_not_allowed", "this path does not take that method");
    else
        follow_route(&c);
}

/* Whether a request that is refused for its size has a wrong key: that is said first. Answered then. */
static bool answered_for_key(struct tg_ingest *in, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct call c = call_of(in, req, msg);
    bool keyed =
        c.route.kind == TG_ROUTE_EVENT || c.route.kind == TG_ROUTE_BATCH || c.route.kind == TG_ROUTE_MERGE;
    return keyed && msg->method == TG_HTTP_POST && !find_key(&c);
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
    struct answer a = {.status = faults[fault].status,
                       .retry_after = fault == TG_HTTP_CROWDED ? RETRY_AFTER_S : 0};
    struct call c = call_of(arg, req, msg);
    if (msg->method != TG_HTTP_GET || fault == TG_HTTP_MALFORMED)
        c.route.kind = TG_ROUTE_NONE; /* no page made this: it gets no picture */
    (void)refuse_with(&c, a, faults[fault].code, reason);
}

/* --- life --- */

static void init_buffers(struct tg_ingest *in)
{
    tg_items_init(&in->items);
    tg_buf_init(&in->body, in->limits.http.body_bytes);
    tg_buf_init(&in->key, in->limits.http.body_bytes);
    tg_buf_init(&in->lines, 64 * 1024);
    tg_buf_init(&in->text, 64 * 1024);
    tg_buf_init(&in->public_base, 4096);
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
    tg_buf_fini(&in->public_base);
    in->gone = true;
    if (in->n_pending == 0)
        dispose(in);
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
    struct tg_url parts = {0};
    struct tg_buf base = TG_BUF_INIT(in->public_base.max);
    int rc = url ? tg_url_parse(tg_str_of(url), &parts, err) : TG_OK;
    if (rc)
        return tg_err_prefix(err, "public_url");
    while (parts.path.n && parts.path.p[parts.path.n - 1] == '/')
        parts.path.n--;
    const char *start = url ? strstr(url, "://") + 3 : "";
    size_t authority = strcspn(start, "/?#");
    rc = tg_buf_addstr(&base, tg_str_n(start, authority));
    if (!rc)
        rc = tg_buf_addstr(&base, parts.path);
    if (rc) {
        tg_buf_fini(&base);
        return tg_fail(err, rc, "public_url: %s", tg_code_text(rc));
    }
    tg_buf_fini(&in->public_base);
    in->public_base = base;
    in->public_https = parts.https;
    return TG_OK;
}

struct tg_http *tg_ingest_http(struct tg_ingest *in)
{
    return in->http;
}
