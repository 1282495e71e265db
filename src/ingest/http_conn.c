#include "ingest/http_conn.h"

#include "base/clock.h"
#include "base/mem.h"
#include "ingest/http_listeners.h"

#include <assert.h>

/* --- lists, ends --- */

void tg_conn_move_to(struct tg_http_req *c, struct tg_http_list *list)
{
    if (c->list)
        TAILQ_REMOVE(c->list, c, link);
    c->list = list;
    if (list)
        TAILQ_INSERT_TAIL(list, c, link);
}

void tg_conn_set_idle(struct tg_http_req *c)
{
    c->since = tg_mono_ms();
    tg_conn_move_to(c, &c->h->idle);
}

void tg_conn_set_busy(struct tg_http_req *c)
{
    if (c->list == &c->h->busy)
        return;
    c->since = tg_mono_ms();
    tg_conn_move_to(c, &c->h->busy);
}

void tg_conn_maybe_finish(struct tg_http *h)
{
    if (h->stopping && h->held == 0 && h->stopped)
        event_active(&h->finish, EV_TIMEOUT, 0);
}

void tg_conn_count_buffer(struct tg_http_req *c)
{
    c->h->buffered = c->h->buffered - c->counted + c->in.cap;
    c->counted = c->in.cap;
}

void tg_conn_drop_input(struct tg_http_req *c)
{
    tg_buf_fini(&c->in);
    tg_conn_count_buffer(c);
}

static void conn_free(struct tg_http_req *c)
{
    struct tg_http *h = c->h;
    c->magic = 0;
    tg_conn_move_to(c, NULL);
    tg_free(c);
    h->held--;
    tg_conn_maybe_finish(h);
}

void tg_conn_close(struct tg_http_req *c)
{
    struct tg_http *h = c->h;
    if (!c->dead) {
        c->dead = true;
        (void)event_del(&c->readable);
        (void)event_del(&c->writable);
        tg_http_io_close(&c->io);
        tg_conn_drop_input(c);
        tg_buf_fini(&c->out);
        tg_conn_move_to(c, c->waiting ? &h->orphans : NULL);
        h->connections--;
        tg_gauge(h->m_connections, h->connections);
        if (h->full || h->starved) {
            h->full = h->starved = false;
            tg_http_listeners_apply(h);
        }
    }
    if (!c->waiting && !c->in_run)
        conn_free(c);
}

/* Ends it after an answer. */
static void conn_finish(struct tg_http_req *c)
{
    bool unread = c->faulty || c->in.len > 0;
    if (!unread || c->eof || c->h->stopping) {
        tg_conn_close(c);
        return;
    }
    c->lingering = true;
    tg_conn_drop_input(c);
    tg_http_io_end(&c->io);
    tg_conn_move_to(c, NULL);
    tg_conn_set_busy(c);
    if (c->muted && event_add(&c->readable, NULL) != 0)
        tg_conn_close(c);
}

/* --- writing --- */

bool tg_conn_flush(struct tg_http_req *c)
{
    while (c->out.len) {
        ssize_t n = tg_http_io_write(&c->io, c->out.data, c->out.len);
        if (n == TG_HTTP_IO_AGAIN)
            return true;
        if (n <= 0) {
            tg_conn_close(c);
            return false;
        }
        tg_buf_consume(&c->out, (size_t)n);
    }
    tg_buf_fini(&c->out);
    (void)event_del(&c->writable);
    return true;
}

bool tg_conn_send(struct tg_http_req *c, struct tg_str bytes)
{
    ssize_t n = 0;
    if (c->out.len == 0) {
        n = tg_http_io_write(&c->io, bytes.p, bytes.n);
        if (n == (ssize_t)bytes.n)
            return true;
        if (n == TG_HTTP_IO_AGAIN)
            n = 0;
    }
    if (n < 0 || tg_buf_add(&c->out, bytes.p + n, bytes.n - (size_t)n) ||
        event_add(&c->writable, NULL) != 0) {
        tg_conn_close(c);
        return false;
    }
    return true;
}

static void schedule_resume(struct tg_http_req *c)
{
    tg_conn_move_to(c, &c->h->resuming);
    event_active(&c->h->resume, EV_TIMEOUT, 0);
}

void tg_conn_after_answer(struct tg_http_req *c)
{
    if (c->out.len) {
        tg_conn_move_to(c, NULL);
        tg_conn_set_busy(c);
    } else if (c->close_after) {
        conn_finish(c);
    } else if (c->in.len || c->muted) {
        schedule_resume(c);
    } else if (c->eof) {
        tg_conn_close(c);
    } else {
        tg_conn_set_idle(c);
    }
}

/* --- answers --- */

static void count_status(struct tg_http *h, int status)
{
    if (!h->metrics || status < 0 || status >= TG_HTTP_CODES)
        return;
    if (!h->m_codes[status]) {
        char labels[16] = "code=\"000\"";
        labels[6] = (char)('0' + status / 100 % 10);
        labels[7] = (char)('0' + status / 10 % 10);
        labels[8] = (char)('0' + status % 10);
        h->m_codes[status] = tg_metric(h->metrics, TG_COUNTER, "tidegate_http_requests_total",
                                       "Requests answered, by status.", labels);
    }
    tg_count(h->m_codes[status], 1);
}

void tg_http_reply(struct tg_http_req *c, const struct tg_http_reply *r)
{
    assert(c->magic == TG_CONN_MAGIC && c->waiting);
    struct tg_http *h = c->h;
    c->waiting = false;
    count_status(h, r->status);
    if (c->dead) {
        tg_conn_close(c);
        return;
    }
    bool keep = c->keep_alive && !c->faulty && !h->stopping;
    c->close_after = !keep;
    tg_conn_move_to(c, NULL);
    tg_buf_clear(&h->answer);
    int rc = tg_http_reply_head(&h->answer, &h->date, r, keep, c->http10);
    if (!rc && !c->bodiless)
        rc = tg_buf_addstr(&h->answer, r->body);
    if (rc)
        tg_conn_close(c);
    else if (tg_conn_send(c, tg_buf_str(&h->answer)) && !c->in_run)
        tg_conn_after_answer(c);
}

const struct sockaddr *tg_http_peer(const struct tg_http_req *c)
{
    return &c->peer.sa;
}

bool tg_http_is_tls(const struct tg_http_req *c)
{
    return c->io.ssl != NULL;
}
