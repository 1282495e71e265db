#include "ingest/http_read.h"

#include "ingest/http_conn.h"

#include <assert.h>
#include <errno.h>

enum {
    READ_AT_ONCE = 16 * 1024,   /* into a connection's own buffer, when the request's length is not known */
    PIPELINE_BYTES = 64 * 1024, /* taken from a sender that does not wait for its answer */
};

/* --- requests --- */

static void dispatch(struct tg_http_req *c, enum tg_http_parse rc)
{
    struct tg_http *h = c->h;
    c->keep_alive = rc == TG_HTTP_DONE && h->msg.keep_alive;
    c->http10 = h->msg.http10;
    c->bodiless = h->msg.method == TG_HTTP_HEAD;
    c->faulty = rc == TG_HTTP_BAD;
    c->waiting = true;
    tg_conn_move_to(c, &h->waiting);
    if (c->faulty)
        h->handler.refuse(h->handler.arg, c, &h->msg, c->parser.why.fault, c->parser.why.reason);
    else
        h->handler.request(h->handler.arg, c, &h->msg);
}

/* Parses and handles what is in b from *at on, until bytes are missing or an answer is. */
static void run_requests(struct tg_http_req *c, struct tg_buf *b, size_t *at)
{
    struct tg_http *h = c->h;
    const struct tg_http_parse_limits limits = {h->limits.head_bytes, h->limits.body_bytes};
    while (*at < b->len && !c->dead && !c->waiting && !c->close_after && !c->out.len) {
        size_t len = b->len - *at;
        enum tg_http_parse rc = tg_http_parse(&c->parser, b->data + *at, &len, &limits, &h->msg);
        b->len = *at + len;
        if (rc == TG_HTTP_MORE)
            return;
        *at = rc == TG_HTTP_DONE ? *at + h->msg.consumed : b->len;
        dispatch(c, rc);
        tg_http_parser_reset(&c->parser);
    }
}

static void refuse_crowded(struct tg_http_req *c)
{
    c->parser.expects_continue = false; /* the answer is the last word */
    (void)tg_http_refuse(&c->parser.why, TG_HTTP_CROWDED, "too many unfinished requests");
    tg_http_msg_clear(&c->h->msg);
    dispatch(c, TG_HTTP_BAD);
}

/* Keeps the rest of the server's buffer. */
static int keep_rest(struct tg_http_req *c, struct tg_str rest)
{
    struct tg_http *h = c->h;
    if (h->buffered + rest.n > h->limits.buffer_bytes)
        return TG_FULL;
    int rc = tg_buf_add(&c->in, rest.p, rest.n);
    tg_conn_count_buffer(c);
    return rc;
}

static void settle(struct tg_http_req *c)
{
    if (c->in.len == 0 && c->in.cap)
        tg_conn_drop_input(c);
    if (c->parser.expects_continue && !c->waiting) {
        c->parser.expects_continue = false;
        if (!tg_conn_send(c, TG_STR("HTTP/1.1 100 Continue\r\n\r\n")))
            return;
    }
    if (c->waiting)
        return;
    if (c->out.len || c->close_after)
        tg_conn_after_answer(c);
    else if (c->eof)
        tg_conn_close(c);
    else if (c->in.len)
        tg_conn_set_busy(c);
    else if (c->list != &c->h->idle)
        tg_conn_set_idle(c);
}

/* Works on b: the server's buffer, or the connection's own. May free the connection. */
static void run(struct tg_http_req *c, struct tg_buf *b)
{
    size_t at = 0;
    c->in_run = true;
    run_requests(c, b, &at);
    if (!c->dead && b == &c->in) {
        tg_buf_consume(b, at);
    } else if (!c->dead && at < b->len && !c->close_after &&
               keep_rest(c, tg_str_n(b->data + at, b->len - at))) {
        if (c->waiting)
            c->faulty = true; /* no room for what it sent ahead: the answer is its last */
        else
            refuse_crowded(c);
    }
    if (!c->dead)
        settle(c);
    c->in_run = false;
    if (c->dead)
        tg_conn_close(c);
}

/* --- reading --- */

static void conn_mute(struct tg_http_req *c)
{
    c->muted = true;
    (void)event_del(&c->readable);
}

static void conn_ended(struct tg_http_req *c, ssize_t n)
{
    if (n == TG_HTTP_IO_AGAIN) {
        if (c->io.read_wants_write && event_add(&c->writable, NULL) != 0)
            tg_conn_close(c);
        return;
    }
    if (n == 0 && (c->waiting || c->out.len)) {
        c->eof = true; /* it may have closed only its side: the answer is still wanted */
        (void)event_del(&c->readable);
        return;
    }
    tg_conn_close(c);
}

static ssize_t conn_read(struct tg_http_req *c, char *buf, size_t n)
{
    ssize_t got = tg_http_io_read(&c->io, buf, n);
    if (got <= 0) {
        conn_ended(c, got);
        return 0;
    }
    tg_count(c->h->m_received, got);
    /* The socket does not tell of what OpenSSL holds: come again for it. */
    if (tg_http_io_pending(&c->io))
        event_active(&c->readable, EV_READ, 0);
    return got;
}

/* Of a connection that has had its last answer. Below TLS: its bytes mean nothing any more. */
static void discard(struct tg_http_req *c)
{
    ssize_t n = recv(c->io.fd, c->h->scratch.data, TG_HTTP_SCRATCH_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        tg_conn_close(c);
}

/* Whether n more bytes for this connection are within everybody's budget and could be had. */
static bool make_room(struct tg_http_req *c, size_t n)
{
    struct tg_http *h = c->h;
    size_t free = c->in.cap - c->in.len;
    if (n > free && h->buffered + (n - free) > h->limits.buffer_bytes)
        return false;
    int rc = tg_buf_reserve(&c->in, n);
    tg_conn_count_buffer(c);
    return rc == TG_OK;
}

/* The sender has a request with the handler, or does not take its answer, and sends on. */
static void read_ahead(struct tg_http_req *c)
{
    if (c->in.len >= PIPELINE_BYTES || !make_room(c, READ_AT_ONCE)) {
        conn_mute(c);
        return;
    }
    ssize_t n = conn_read(c, c->in.data + c->in.len, READ_AT_ONCE);
    if (n > 0)
        c->in.len += (size_t)n;
}

/* The rest of its request has no place. */
static void give_up(struct tg_http_req *c)
{
    c->in_run = true;
    refuse_crowded(c);
    c->in_run = false;
    if (c->dead)
        tg_conn_close(c);
    else if (!c->waiting)
        tg_conn_after_answer(c);
}

static void read_more(struct tg_http_req *c)
{
    size_t expected = tg_http_expected(&c->parser), want = READ_AT_ONCE;
    if (expected > c->in.len)
        want = expected - c->in.len;
    if (want > TG_HTTP_SCRATCH_BYTES)
        want = TG_HTTP_SCRATCH_BYTES;
    if (!make_room(c, want)) {
        give_up(c);
        return;
    }
    ssize_t n = conn_read(c, c->in.data + c->in.len, want);
    if (n <= 0)
        return;
    c->in.len += (size_t)n;
    run(c, &c->in);
}

static void read_fresh(struct tg_http_req *c)
{
    struct tg_http *h = c->h;
    c->in.max = h->limits.head_bytes + h->limits.body_bytes + PIPELINE_BYTES + TG_HTTP_SCRATCH_BYTES;
    ssize_t n = conn_read(c, h->scratch.data, TG_HTTP_SCRATCH_BYTES);
    if (n <= 0)
        return;
    h->scratch.len = (size_t)n;
    run(c, &h->scratch);
}

void tg_conn_readable(struct tg_http_req *c)
{
    if (c->lingering)
        discard(c);
    else if (c->waiting || c->out.len)
        read_ahead(c);
    else if (c->in.len)
        read_more(c);
    else
        read_fresh(c);
}

/* --- the loop's calls --- */

void tg_conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http_req *c = arg;
    assert(c->magic == TG_CONN_MAGIC);
    /* A TLS write may have waited for these bytes. */
    if (c->io.ssl && c->out.len && !c->lingering && !tg_conn_flush(c))
        return;
    tg_conn_readable(c);
}

void tg_conn_on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http_req *c = arg;
    assert(c->magic == TG_CONN_MAGIC);
    bool had = c->out.len > 0;
    if (!tg_conn_flush(c) || c->out.len)
        return;
    if (had && !c->waiting)
        tg_conn_after_answer(c);
    else if (!had)
        tg_conn_readable(c); /* a TLS handshake that had to write first */
}

static void resume_one(struct tg_http_req *c)
{
    tg_conn_move_to(c, NULL);
    if (c->muted) {
        c->muted = false;
        if (event_add(&c->readable, NULL) != 0) {
            tg_conn_close(c);
            return;
        }
        if (tg_http_io_pending(&c->io))
            event_active(&c->readable, EV_READ, 0);
    }
    if (c->in.len)
        run(c, &c->in);
    else
        tg_conn_set_idle(c);
}

void tg_conn_on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http *h = arg;
    struct tg_http_req *c;
    for (unsigned most = h->connections; most && (c = TAILQ_FIRST(&h->resuming)); most--)
        resume_one(c);
    if (!TAILQ_EMPTY(&h->resuming))
        event_active(&h->resume, EV_TIMEOUT, 0);
}
