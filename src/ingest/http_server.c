/* The server as a whole: its birth, its sweep of connections that are too slow, its end. The files beneath
 * it, from the lowest: http_listeners.c, http_reply_head.c, http_conn.c (what states a connection has),
 * http_read.c, http_accept.c. */
#include "ingest/http_server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/http_accept.h"
#include "ingest/http_conn.h"
#include "ingest/http_listeners.h"
#include "ingest/http_read.h"

enum {
    LAST_ACCEPTS = 4096,
    SWEEP_MAX_MS = 1000,
};

const struct tg_http_limits tg_http_default_limits = {
    .head_bytes = 16 * 1024,
    .body_bytes = 4 * 1024 * 1024,
    .buffer_bytes = 256 * 1024 * 1024,
    .request_timeout_ms = 10 * 1000,
    .idle_timeout_ms = 75 * 1000,
    .connections = 10000,
};

static void expire(struct tg_http_list *list, int64_t before, tg_cell *count)
{
    struct tg_http_req *c;
    while ((c = TAILQ_FIRST(list)) && c->since <= before) {
        tg_count(count, 1);
        tg_conn_close(c);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http *h = arg;
    int64_t now = tg_mono_ms();
    expire(&h->busy, now - h->limits.request_timeout_ms, h->m_timeouts);
    expire(&h->idle, now - h->limits.idle_timeout_ms, &h->spare);
    if (h->starved) {
        h->starved = false;
        tg_http_listeners_apply(h);
    }
}

static void on_finish(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http *h = arg;
    void (*stopped)(void *) = h->stopped;
    h->stopped = NULL;
    (void)event_del(&h->sweep);
    if (stopped)
        stopped(h->stopped_arg);
}

static int schedule_sweep(struct tg_http *h)
{
    int shorter = h->limits.request_timeout_ms < h->limits.idle_timeout_ms ? h->limits.request_timeout_ms
                                                                           : h->limits.idle_timeout_ms;
    int ms = shorter / 4 < 1 ? 1 : shorter / 4 > SWEEP_MAX_MS ? SWEEP_MAX_MS : shorter / 4;
    struct timeval every = {ms / 1000, ms % 1000 * 1000};
    return event_add(&h->sweep, &every) == 0 ? TG_OK : TG_NOMEM;
}

static tg_cell *cell(struct tg_http *h, enum tg_metric_kind kind, const char *name, const char *help)
{
    return h->metrics ? tg_metric(h->metrics, kind, name, help, "") : &h->spare;
}

static void make_cells(struct tg_http *h)
{
    h->m_connections = cell(h, TG_GAUGE, "tidegate_http_connections", "Open connections of senders.");
    h->m_accepted = cell(h, TG_COUNTER, "tidegate_http_accepted_total", "Connections accepted.");
    h->m_received = cell(h, TG_COUNTER, "tidegate_http_received_bytes_total", "Bytes read from senders.");
    h->m_timeouts = cell(h, TG_COUNTER, "tidegate_http_timeouts_total", "Connections closed as too slow.");
    h->m_evicted = cell(h, TG_COUNTER, "tidegate_http_evicted_total",
                        "Idle connections closed to make room for new ones.");
    tg_gauge(h->m_connections, 0); /* a worker that died had some */
}

int tg_http_new(struct tg_http **out, struct event_base *base, const struct tg_http_limits *limits,
                const struct tg_http_handler *handler, struct tg_metrics *metrics, struct tg_err *err)
{
    *out = NULL;
    struct tg_http *h = tg_calloc(1, sizeof *h);
    if (!h)
        return tg_fail(err, TG_NOMEM, "HTTP server: out of memory");
    h->base = base;
    h->limits = *limits;
    h->handler = *handler;
    h->metrics = metrics;
    h->date.second = -1;
    TAILQ_INIT(&h->listeners);
    TAILQ_INIT(&h->idle);
    TAILQ_INIT(&h->busy);
    TAILQ_INIT(&h->waiting);
    TAILQ_INIT(&h->resuming);
    TAILQ_INIT(&h->orphans);
    make_cells(h);
    tg_buf_init(&h->scratch, TG_HTTP_SCRATCH_BYTES);
    tg_buf_init(&h->answer, (size_t)-1);
    (void)event_assign(&h->sweep, base, -1, EV_PERSIST, on_sweep, h);
    (void)event_assign(&h->resume, base, -1, 0, tg_conn_on_resume, h);
    (void)event_assign(&h->finish, base, -1, 0, on_finish, h);
    if (tg_buf_reserve(&h->scratch, TG_HTTP_SCRATCH_BYTES) || tg_buf_reserve(&h->answer, 4096) ||
        schedule_sweep(h)) {
        tg_http_free(&h);
        return tg_fail(err, TG_NOMEM, "HTTP server: out of memory");
    }
    *out = h;
    return TG_OK;
}

static void close_all(struct tg_http_list *list)
{
    struct tg_http_req *c;
    while ((c = TAILQ_FIRST(list))) {
        c->waiting = false;
        tg_conn_close(c);
    }
}

void tg_http_free(struct tg_http **out)
{
    struct tg_http *h = *out;
    if (!h)
        return;
    *out = NULL;
    h->stopped = NULL;
    struct tg_http_listener *l;
    while ((l = TAILQ_FIRST(&h->listeners)))
        tg_http_listener_free(h, l);
    close_all(&h->idle);
    close_all(&h->busy);
    close_all(&h->waiting);
    close_all(&h->resuming);
    close_all(&h->orphans);
    (void)event_del(&h->sweep);
    (void)event_del(&h->resume);
    (void)event_del(&h->finish);
    tg_buf_fini(&h->scratch);
    tg_buf_fini(&h->answer);
    tg_free(h);
}

void tg_http_set_limits(struct tg_http *h, const struct tg_http_limits *limits)
{
    h->limits = *limits;
    if (!h->stopping && schedule_sweep(h))
        tg_error("cannot schedule the sweep of connections");
}

/* What has arrived on idle connections is still answered; then they close. */
static void close_idle(struct tg_http *h)
{
    struct tg_http_req *c;
    for (unsigned most = h->connections; most && (c = TAILQ_FIRST(&h->idle)); most--) {
        unsigned before = h->connections;
        tg_conn_readable(c);
        if (h->connections == before && c->list == &h->idle)
            tg_conn_close(c);
    }
}

static void close_lingering(struct tg_http *h)
{
    struct tg_http_req *c, *next;
    for (c = TAILQ_FIRST(&h->busy); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->lingering)
            tg_conn_close(c);
    }
}

void tg_http_stop(struct tg_http *h, void (*done)(void *arg), void *arg)
{
    h->stopping = true;
    h->stopped = done;
    h->stopped_arg = arg;
    struct tg_http_listener *l;
    while ((l = TAILQ_FIRST(&h->listeners))) {
        tg_http_accept_some(l, LAST_ACCEPTS);
        tg_http_listener_free(h, l);
    }
    close_idle(h);
    close_lingering(h);
    tg_conn_maybe_finish(h);
}

unsigned tg_http_connections(const struct tg_http *h)
{
    return h->connections;
}

size_t tg_http_buffered(const struct tg_http *h)
{
    return h->buffered;
}
