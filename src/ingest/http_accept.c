#include "ingest/http_accept.h"

#include "base/log.h"
#include "base/mem.h"
#include "ingest/http_conn.h"
#include "ingest/http_listeners.h"
#include "ingest/http_read.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

enum { ACCEPT_AT_ONCE = 64 };

static bool evict_idle(struct tg_http *h)
{
    struct tg_http_req *oldest = TAILQ_FIRST(&h->idle);
    if (!oldest)
        return false;
    tg_count(h->m_evicted, 1);
    tg_conn_close(oldest);
    return true;
}

static int conn_start(struct tg_http_req *c, struct tg_http_listener *l)
{
    if (l->tls) {
        c->io.ssl = tg_http_tls_session(l->tls, c->io.fd);
        if (!c->io.ssl)
            return TG_NOMEM;
    }
    (void)event_assign(&c->readable, l->h->base, c->io.fd, EV_READ | EV_PERSIST, tg_conn_on_readable, c);
    (void)event_assign(&c->writable, l->h->base, c->io.fd, EV_WRITE | EV_PERSIST, tg_conn_on_writable, c);
    return event_add(&c->readable, NULL) == 0 ? TG_OK : TG_NOMEM;
}

static struct tg_http_req *conn_new(struct tg_http_listener *l, int fd, const struct sockaddr *peer,
                                    socklen_t peer_len)
{
    struct tg_http *h = l->h;
    struct tg_http_req *c = tg_calloc(1, sizeof *c);
    if (!c) {
        (void)close(fd);
        return NULL;
    }
    *c = (struct tg_http_req){.magic = TG_CONN_MAGIC, .h = h, .io = {.fd = fd}};
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
    tg_conn_set_idle(c);
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
        tg_http_listeners_apply(h);
        return false;
    default: /* the error of one connection that came and went */
        return errnum != EBADF && errnum != EINVAL && errnum != ENOTSOCK;
    }
}

void tg_http_accept_some(struct tg_http_listener *l, unsigned most)
{
    struct tg_http *h = l->h;
    for (unsigned i = 0; i < most; i++) {
        bool at_limit = h->connections >= h->limits.connections && !h->stopping;
        if (at_limit && TAILQ_EMPTY(&h->idle)) {
            h->full = true;
            tg_http_listeners_apply(h);
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
    tg_http_accept_some(arg, ACCEPT_AT_ONCE);
}

int tg_http_accept_for(struct tg_http *h, int fd, struct tg_http_tls *tls, struct tg_err *err)
{
    if (tg_http_listener_find(h, fd))
        return tg_fail(err, TG_EXISTS, "socket %d is listened to already", fd);
    struct tg_http_listener *l = tg_calloc(1, sizeof *l);
    if (!l)
        return tg_fail(err, TG_NOMEM, "listener: out of memory");
    *l = (struct tg_http_listener){.h = h, .fd = fd, .tls = tls};
    int on = 1; /* inherited by accepted sockets */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)event_assign(&l->acceptable, h->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    TAILQ_INSERT_TAIL(&h->listeners, l, link);
    tg_http_listener_apply(l);
    return TG_OK;
}
