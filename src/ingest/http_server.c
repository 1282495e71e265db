/* Life of a connection:
 *
 *             bytes                      whole request              answer
 *     idle ----------> receiving (busy) --------------> waiting ------------> idle, or sending (busy) until
 * it is taken
 *
 * Each state is a list. Idle and busy connections are appended with the time and so stay sorted by it: a
 * sweep looks at the heads only, and no connection has a timer of its own. Waiting ones have no deadline, the
 * handler owes an answer.
 *
 * Reading goes into one buffer of the server, and the request is parsed and handled right there; only what is
 * unfinished is copied into a buffer of the connection, which is freed with the request. So thousands of idle
 * connections cost their structs alone.
 *
 * A connection that goes away while its request waits is closed at once, but its struct stays (dead) until
 * the answer, so that the handler's pointer is good. What the answer triggers (the next pipelined request)
 * runs from the loop, never inside the handler's call of tg_http_reply: the sink may be in the middle of a
 * list of such calls. */
#include "ingest/http_server.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "ingest/http_io.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONN_MAGIC = 0x68747470,
    SCRATCH_BYTES = 256 * 1024,
    READ_AT_ONCE = 16 * 1024,   /* into a connection's own buffer, when the request's length is not known */
    PIPELINE_BYTES = 64 * 1024, /* taken from a sender that does not wait for its answer */
    ACCEPT_AT_ONCE = 64,
    LAST_ACCEPTS = 4096,
    SWEEP_MAX_MS = 1000,
    CODES = 600
};

const struct tg_http_limits tg_http_default_limits = {
    .head_bytes = 16 * 1024,
    .body_bytes = 4 * 1024 * 1024,
    .buffer_bytes = 256 * 1024 * 1024,
    .request_timeout_ms = 10 * 1000,
    .idle_timeout_ms = 75 * 1000,
    .connections = 10000,
};

TAILQ_HEAD(list, tg_http_req);

struct tg_http_req { /* a connection: it has one request at a time */
    unsigned magic;  /* it comes back through libevent's and the handler's void pointers */
    struct tg_http *h;
    TAILQ_ENTRY(tg_http_req) link;
    struct list *list; /* where it is linked; NULL: nowhere */
    int64_t since;     /* ms: idle, busy since */
    struct tg_http_io io;
    struct event readable, writable;
    struct tg_http_parser parser;
    struct tg_buf in;                  /* the unfinished request and what came behind it */
    struct tg_buf out;                 /* what the socket did not take yet */
    size_t counted;                    /* bytes of `in` that stand in h->buffered */
    bool waiting;                      /* the handler has a request */
    bool in_run;                       /* run() is on the stack: it frees */
    bool dead;                         /* closed */
    bool eof;                          /* the sender closed its side */
    bool muted;                        /* not reading: the sender is too far ahead */
    bool keep_alive, http10, bodiless; /* of the request that waits */
    bool faulty;                       /* refused: the rest of its bytes means nothing */
    bool close_after;                  /* when `out` is empty */
    bool lingering; /* answered; waits for the sender to stop, or its unread bytes would reset the answer */
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } peer;
};

struct listener {
    TAILQ_ENTRY(listener) link;
    struct tg_http *h;
    int fd;
    struct tg_http_tls *tls;
    struct event acceptable;
};

TAILQ_HEAD(listeners, listener);

struct tg_http {
    struct event_base *base;
    struct tg_http_limits limits;
    struct tg_http_handler handler;
    struct listeners listeners;
    struct list idle, busy, waiting, resuming;
    struct list orphans;  /* dead, and the handler has their request */
    unsigned connections; /* open */
    unsigned held;        /* structs: open ones and dead ones that wait for an answer */
    size_t buffered;
    bool paused, full, starved, stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct event sweep, resume, finish;
    struct tg_http_msg msg;
    struct tg_buf scratch; /* for reading */
    struct tg_buf answer;  /* for composing */
    int64_t date_second;
    char date[48];
    struct tg_metrics *metrics;
    tg_cell spare; /* stands for every cell when there are no metrics */
    tg_cell *m_connections, *m_accepted, *m_received, *m_timeouts, *m_evicted, *m_codes[CODES];
};

static void conn_readable(struct tg_http_req *c);

/* --- lists, ends --- */

static void move_to(struct tg_http_req *c, struct list *list)
{
    if (c->list)
        TAILQ_REMOVE(c->list, c, link);
    c->list = list;
    if (list)
        TAILQ_INSERT_TAIL(list, c, link);
}

static void set_idle(struct tg_http_req *c)
{
    c->since = tg_mono_ms();
    move_to(c, &c->h->idle);
}

/* A connection that is busy already keeps its time: the deadline is the whole request's. */
static void set_busy(struct tg_http_req *c)
{
    if (c->list == &c->h->busy)
        return;
    c->since = tg_mono_ms();
    move_to(c, &c->h->busy);
}

static void maybe_finish(struct tg_http *h)
{
    if (h->stopping && h->held == 0 && h->stopped)
        event_active(&h->finish, EV_TIMEOUT, 0);
}

static void apply_listener(struct listener *l)
{
    struct tg_http *h = l->h;
    if (h->paused || h->full || h->starved || h->stopping)
        (void)event_del(&l->acceptable);
    else if (event_add(&l->acceptable, NULL) != 0)
        tg_error("cannot listen", TG_FI("fd", l->fd));
}

static void apply_listeners(struct tg_http *h)
{
    struct listener *l;
    TAILQ_FOREACH(l, &h->listeners, link)
    apply_listener(l);
}

static void count_buffer(struct tg_http_req *c)
{
    c->h->buffered = c->h->buffered - c->counted + c->in.cap;
    c->counted = c->in.cap;
}

static void drop_input(struct tg_http_req *c)
{
    tg_buf_fini(&c->in);
    count_buffer(c);
}

static void conn_free(struct tg_http_req *c)
{
    struct tg_http *h = c->h;
    c->magic = 0;
    move_to(c, NULL);
    tg_free(c);
    h->held--;
    maybe_finish(h);
}

/* Ends the connection now. The struct goes too, unless the handler or run() still needs it. */
static void conn_close(struct tg_http_req *c)
{
    struct tg_http *h = c->h;
    if (!c->dead) {
        c->dead = true;
        (void)event_del(&c->readable);
        (void)event_del(&c->writable);
        tg_http_io_close(&c->io);
        drop_input(c);
        tg_buf_fini(&c->out);
        move_to(c, c->waiting ? &h->orphans : NULL);
        h->connections--;
        tg_gauge(h->m_connections, h->connections);
        if (h->full || h->starved) {
            h->full = h->starved = false;
            apply_listeners(h);
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
        conn_close(c);
        return;
    }
    c->lingering = true;
    drop_input(c);
    tg_http_io_end(&c->io);
    move_to(c, NULL);
    set_busy(c);
    if (c->muted && event_add(&c->readable, NULL) != 0)
        conn_close(c);
}

/* --- writing --- */

/* Sends what waits in `out`. False: the connection is closed. */
static bool conn_flush(struct tg_http_req *c)
{
    while (c->out.len) {
        ssize_t n = tg_http_io_write(&c->io, c->out.data, c->out.len);
        if (n == TG_HTTP_IO_AGAIN)
            return true;
        if (n <= 0) {
            conn_close(c);
            return false;
        }
        tg_buf_consume(&c->out, (size_t)n);
    }
    tg_buf_fini(&c->out);
    (void)event_del(&c->writable);
    return true;
}

/* Sends, or keeps what the socket does not take. False: the connection is closed. */
static bool conn_send(struct tg_http_req *c, struct tg_str bytes)
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
        conn_close(c);
        return false;
    }
    return true;
}

static void schedule_resume(struct tg_http_req *c)
{
    move_to(c, &c->h->resuming);
    event_active(&c->h->resume, EV_TIMEOUT, 0);
}

/* The answer is given to the socket or to `out`, and run() is not on the stack: what next? */
static void after_answer(struct tg_http_req *c)
{
    if (c->out.len) {
        move_to(c, NULL);
        set_busy(c);
    } else if (c->close_after) {
        conn_finish(c);
    } else if (c->in.len || c->muted) {
        schedule_resume(c);
    } else if (c->eof) {
        conn_close(c);
    } else {
        set_idle(c);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http_req *c = arg;
    assert(c->magic == CONN_MAGIC);
    bool had = c->out.len > 0;
    if (!conn_flush(c) || c->out.len)
        return;
    if (had && !c->waiting)
        after_answer(c);
    else if (!had)
        conn_readable(c); /* a TLS handshake that had to write first */
}

/* --- requests --- */

static void dispatch(struct tg_http_req *c, enum tg_http_parse rc)
{
    struct tg_http *h = c->h;
    c->keep_alive = rc == TG_HTTP_DONE && h->msg.keep_alive;
    c->http10 = h->msg.http10;
    c->bodiless = h->msg.method == TG_HTTP_HEAD;
    c->faulty = rc == TG_HTTP_BAD;
    c->waiting = true;
    move_to(c, &h->waiting);
    if (c->faulty)
        h->handler.refuse(h->handler.arg, c, &h->msg, c->parser.fault, c->parser.reason);
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
    c->parser.fault = TG_HTTP_CROWDED;
    c->parser.reason = "too many unfinished requests";
    c->h->msg.n_headers = 0;
    c->h->msg.method = TG_HTTP_OTHER;
    c->h->msg.http10 = false;
    dispatch(c, TG_HTTP_BAD);
}

/* Keeps the rest of the server's buffer. */
static int keep_rest(struct tg_http_req *c, struct tg_str rest)
{
    struct tg_http *h = c->h;
    if (h->buffered + rest.n > h->limits.buffer_bytes)
        return TG_FULL;
    int rc = tg_buf_add(&c->in, rest.p, rest.n);
    count_buffer(c);
    return rc;
}

static void settle(struct tg_http_req *c)
{
    if (c->in.len == 0 && c->in.cap)
        drop_input(c);
    if (c->parser.expects_continue && !c->waiting) {
        c->parser.expects_continue = false;
        if (!conn_send(c, TG_STR("HTTP/1.1 100 Continue\r\n\r\n")))
            return;
    }
    if (c->waiting)
        return;
    if (c->out.len || c->close_after)
        after_answer(c);
    else if (c->eof)
        conn_close(c);
    else if (c->in.len)
        set_busy(c);
    else if (c->list != &c->h->idle)
        set_idle(c);
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
        conn_close(c);
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
            conn_close(c);
        return;
    }
    if (n == 0 && (c->waiting || c->out.len)) {
        c->eof = true; /* it may have closed only its side: the answer is still wanted */
        (void)event_del(&c->readable);
        return;
    }
    conn_close(c);
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
    ssize_t n = recv(c->io.fd, c->h->scratch.data, SCRATCH_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(c);
}

/* Whether n more bytes for this connection are within everybody's budget and could be had. */
static bool make_room(struct tg_http_req *c, size_t n)
{
    struct tg_http *h = c->h;
    size_t free = c->in.cap - c->in.len;
    if (n > free && h->buffered + (n - free) > h->limits.buffer_bytes)
        return false;
    int rc = tg_buf_reserve(&c->in, n);
    count_buffer(c);
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
        conn_close(c);
    else if (!c->waiting)
        after_answer(c);
}

static void read_more(struct tg_http_req *c)
{
    size_t expected = tg_http_expected(&c->parser), want = READ_AT_ONCE;
    if (expected > c->in.len)
        want = expected - c->in.len;
    if (want > SCRATCH_BYTES)
        want = SCRATCH_BYTES;
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
    c->in.max = h->limits.head_bytes + h->limits.body_bytes + PIPELINE_BYTES + SCRATCH_BYTES;
    ssize_t n = conn_read(c, h->scratch.data, SCRATCH_BYTES);
    if (n <= 0)
        return;
    h->scratch.len = (size_t)n;
    run(c, &h->scratch);
}

static void conn_readable(struct tg_http_req *c)
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

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct tg_http_req *c = arg;
    assert(c->magic == CONN_MAGIC);
    /* A TLS write may have waited for these bytes. */
    if (c->io.ssl && c->out.len && !c->lingering && !conn_flush(c))
        return;
    conn_readable(c);
}

static void resume_one(struct tg_http_req *c)
{
    move_to(c, NULL);
    if (c->muted) {
        c->muted = false;
        if (event_add(&c->readable, NULL) != 0) {
            conn_close(c);
            return;
        }
        if (tg_http_io_pending(&c->io))
            event_active(&c->readable, EV_READ, 0);
    }
    if (c->in.len)
        run(c, &c->in);
    else
        set_idle(c);
}

/* Answered connections that have sent more already. */
static void on_resume(evutil_socket_t fd, short what, void *arg)
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

/* --- accepting --- */

static bool evict_idle(struct tg_http *h)
{
    struct tg_http_req *oldest = TAILQ_FIRST(&h->idle);
    if (!oldest)
        return false;
    tg_count(h->m_evicted, 1);
    conn_close(oldest);
    return true;
}

static int conn_start(struct tg_http_req *c, struct listener *l)
{
    if (l->tls) {
        c->io.ssl = tg_http_tls_session(l->tls, c->io.fd);
        if (!c->io.ssl)
            return TG_NOMEM;
    }
    (void)event_assign(&c->readable, l->h->base, c->io.fd, EV_READ | EV_PERSIST, on_readable, c);
    (void)event_assign(&c->writable, l->h->base, c->io.fd, EV_WRITE | EV_PERSIST, on_writable, c);
    return event_add(&c->readable, NULL) == 0 ? TG_OK : TG_NOMEM;
}

static struct tg_http_req *conn_new(struct listener *l, int fd, const struct sockaddr *peer,
                                    socklen_t peer_len)
{
    struct tg_http *h = l->h;
    struct tg_http_req *c = tg_calloc(1, sizeof *c);
    if (!c) {
        (void)close(fd);
        return NULL;
    }
    *c = (struct tg_http_req){.magic = CONN_MAGIC, .h = h, .io = {.fd = fd}};
    memcpy(&c->peer, peer, peer_len < sizeof c->peer ? peer_len : sizeof c->peer);
    tg_buf_init(&c->out, (size_t)-1); /* one answer at a time */
    if (conn_start(c, l)) {
        tg_http_io_close(&c->io);
        tg_free(c);
        return NULL;
    }
    h->held++;
    h->connections++;
    tg_gauge(h->m_connections, h->connections);
    tg_count(h->m_accepted, 1);
    set_idle(c);
    return c;
}

/* After accept4 failed. Whether to go on at once. */
static bool accept_failed(struct tg_http *h, int errnum)
{
    switch (errnum) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        if (evict_idle(h))
            return true;
        tg_warn("cannot accept", TG_FS("error", strerror(errnum)));
        h->starved = true; /* until a connection closes, or the next sweep */
        apply_listeners(h);
        return false;
    default: /* the error of one connection that came and went */
        return errnum != EBADF && errnum != EINVAL && errnum != ENOTSOCK;
    }
}

static void accept_some(struct listener *l, unsigned most)
{
    struct tg_http *h = l->h;
    for (unsigned i = 0; i < most; i++) {
        bool at_limit = h->connections >= h->limits.connections && !h->stopping;
        if (at_limit && TAILQ_EMPTY(&h->idle)) {
            h->full = true;
            apply_listeners(h);
            return;
        }
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof peer;
        int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (!accept_failed(h, errno))
                return;
            continue;
        }
        if (at_limit)
            (void)evict_idle(h);
        (void)conn_new(l, fd, (struct sockaddr *)&peer, len);
    }
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    accept_some(arg, ACCEPT_AT_ONCE);
}

static struct listener *find_listener(struct tg_http *h, int fd)
{
    struct listener *l;
    TAILQ_FOREACH(l, &h->listeners, link)
    {
        if (l->fd == fd)
            return l;
    }
    return NULL;
}

int tg_http_accept_for(struct tg_http *h, int fd, struct tg_http_tls *tls, struct tg_err *err)
{
    if (find_listener(h, fd))
        return tg_fail(err, TG_EXISTS, "socket %d is listened to already", fd);
    struct listener *l = tg_calloc(1, sizeof *l);
    if (!l)
        return tg_fail(err, TG_NOMEM, "listener: out of memory");
    *l = (struct listener){.h = h, .fd = fd, .tls = tls};
    int on = 1; /* inherited by accepted sockets */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)event_assign(&l->acceptable, h->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    TAILQ_INSERT_TAIL(&h->listeners, l, link);
    apply_listener(l);
    return TG_OK;
}

static void listener_free(struct tg_http *h, struct listener *l)
{
    (void)event_del(&l->acceptable);
    TAILQ_REMOVE(&h->listeners, l, link);
    tg_free(l);
}

void tg_http_accept_stop(struct tg_http *h, int fd)
{
    struct listener *l = find_listener(h, fd);
    if (l)
        listener_free(h, l);
}

void tg_http_pause(struct tg_http *h, bool paused)
{
    h->paused = paused;
    apply_listeners(h);
}

/* --- answers --- */

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 415:
        return "Unsupported Media Type";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static const char *http_date(struct tg_http *h)
{
    int64_t second = tg_wall_ms() / 1000;
    if (second == h->date_second)
        return h->date;
    struct tg_buf text = TG_BUF_INIT(sizeof h->date - 1);
    h->date[0] = '\0';
    if (!tg_buf_adds(&text, "Date: ") &&
        !tg_time_strftime(&text, "%a, %d %b %Y %H:%M:%S GMT\r\n", second * 1000)) {
        memcpy(h->date, text.data, text.len);
        h->date[text.len] = '\0';
        h->date_second = second;
    }
    tg_buf_fini(&text);
    return h->date;
}

/* No printf: this is done for every request. */
static int add_number(struct tg_buf *out, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return tg_buf_add(out, digits + at, sizeof digits - at);
}

static int add_status_line(struct tg_buf *out, int status)
{
    int rc = tg_buf_adds(out, "HTTP/1.1 ");
    if (!rc)
        rc = add_number(out, (size_t)status);
    if (!rc)
        rc = tg_buf_addc(out, ' ');
    if (!rc)
        rc = tg_buf_adds(out, status_text(status));
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static int add_type(struct tg_buf *out, const char *type)
{
    int rc = tg_buf_adds(out, "Content-Type: ");
    if (!rc)
        rc = tg_buf_adds(out, type);
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static int add_length(struct tg_buf *out, size_t n)
{
    int rc = tg_buf_adds(out, "Content-Length: ");
    if (!rc)
        rc = add_number(out, n);
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static int compose_head(struct tg_http_req *c, const struct tg_http_reply *r, bool keep)
{
    struct tg_buf *out = &c->h->answer;
    int rc = add_status_line(out, r->status);
    if (!rc)
        rc = tg_buf_adds(out, http_date(c->h));
    if (!rc && r->content_type)
        rc = add_type(out, r->content_type);
    if (!rc && r->status != 204)
        rc = add_length(out, r->body.n);
    if (!rc && r->headers.n)
        rc = tg_buf_addstr(out, r->headers);
    if (!rc && (!keep || c->http10))
        rc = tg_buf_adds(out, keep ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
    return rc ? rc : tg_buf_adds(out, "\r\n");
}

static void count_status(struct tg_http *h, int status)
{
    if (!h->metrics || status < 0 || status >= CODES)
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
    assert(c->magic == CONN_MAGIC && c->waiting);
    struct tg_http *h = c->h;
    c->waiting = false;
    count_status(h, r->status);
    if (c->dead) {
        conn_close(c);
        return;
    }
    bool keep = c->keep_alive && !c->faulty && !h->stopping;
    c->close_after = !keep;
    move_to(c, NULL);
    tg_buf_clear(&h->answer);
    int rc = compose_head(c, r, keep);
    if (!rc && !c->bodiless)
        rc = tg_buf_addstr(&h->answer, r->body);
    if (rc)
        conn_close(c);
    else if (conn_send(c, tg_buf_str(&h->answer)) && !c->in_run)
        after_answer(c);
}

const struct sockaddr *tg_http_peer(const struct tg_http_req *c)
{
    return &c->peer.sa;
}

bool tg_http_is_tls(const struct tg_http_req *c)
{
    return c->io.ssl != NULL;
}

/* --- the server --- */

static void expire(struct list *list, int64_t before, tg_cell *count)
{
    struct tg_http_req *c;
    while ((c = TAILQ_FIRST(list)) && c->since <= before) {
        tg_count(count, 1);
        conn_close(c);
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
        apply_listeners(h);
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
    h->date_second = -1;
    TAILQ_INIT(&h->listeners);
    TAILQ_INIT(&h->idle);
    TAILQ_INIT(&h->busy);
    TAILQ_INIT(&h->waiting);
    TAILQ_INIT(&h->resuming);
    TAILQ_INIT(&h->orphans);
    make_cells(h);
    tg_buf_init(&h->scratch, SCRATCH_BYTES);
    tg_buf_init(&h->answer, (size_t)-1);
    (void)event_assign(&h->sweep, base, -1, EV_PERSIST, on_sweep, h);
    (void)event_assign(&h->resume, base, -1, 0, on_resume, h);
    (void)event_assign(&h->finish, base, -1, 0, on_finish, h);
    if (tg_buf_reserve(&h->scratch, SCRATCH_BYTES) || tg_buf_reserve(&h->answer, 4096) || schedule_sweep(h)) {
        tg_http_free(&h);
        return tg_fail(err, TG_NOMEM, "HTTP server: out of memory");
    }
    *out = h;
    return TG_OK;
}

static void close_all(struct list *list)
{
    struct tg_http_req *c;
    while ((c = TAILQ_FIRST(list))) {
        c->waiting = false;
        conn_close(c);
    }
}

void tg_http_free(struct tg_http **out)
{
    struct tg_http *h = *out;
    if (!h)
        return;
    *out = NULL;
    h->stopped = NULL;
    struct listener *l;
    while ((l = TAILQ_FIRST(&h->listeners)))
        listener_free(h, l);
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
        conn_readable(c);
        if (h->connections == before && c->list == &h->idle)
            conn_close(c);
    }
}

static void close_lingering(struct tg_http *h)
{
    struct tg_http_req *c, *next;
    for (c = TAILQ_FIRST(&h->busy); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->lingering)
            conn_close(c);
    }
}

void tg_http_stop(struct tg_http *h, void (*done)(void *arg), void *arg)
{
    h->stopping = true;
    h->stopped = done;
    h->stopped_arg = arg;
    struct listener *l;
    while ((l = TAILQ_FIRST(&h->listeners))) {
        accept_some(l, LAST_ACCEPTS);
        listener_free(h, l);
    }
    close_idle(h);
    close_lingering(h);
    maybe_finish(h);
}

unsigned tg_http_connections(const struct tg_http *h)
{
    return h->connections;
}

size_t tg_http_buffered(const struct tg_http *h)
{
    return h->buffered;
}
