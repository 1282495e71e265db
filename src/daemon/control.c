#include "daemon/control.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/sockets.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MAX_LINE = 4096,
    MAX_CLIENTS = 16,
    MAX_ANSWER = 64 * 1024 * 1024,
    PATIENCE_MS = 10000,
    WAKE_TRIES = 50,
    PIECES = 8
};

struct tg_control_client {
    struct tg_control *control; /* NULL once the server is gone */
    struct bufferevent *bev;
    bool asked, answered;
    TAILQ_ENTRY(tg_control_client) link;
};

struct tg_control {
    struct event_base *base;
    int fd;
    struct event *accept;
    tg_control_fn *command;
    void *arg;
    unsigned n_clients;
    struct timeval patience;
    TAILQ_HEAD(, tg_control_client) clients;
};

/* Shut down before it is closed: a child that was forked meanwhile, to save or to check something, has the
 * socket too, and the client reads until its end. */
static void client_free(struct tg_control_client *c)
{
    if (c->control) {
        TAILQ_REMOVE(&c->control->clients, c, link);
        c->control->n_clients--;
    }
    (void)shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
    bufferevent_free(c->bev);
    tg_free(c);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct tg_control_client *c = arg;
    if (c->answered && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
        client_free(c);
}

/* A client that leaves while its command runs is kept until the answer comes: the command holds a pointer to
 * it. One that has only closed its own direction gets its answer. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct tg_control_client *c = arg;
    bool said_all = c->asked && (what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING);
    if (said_all || (c->asked && !c->answered))
        (void)bufferevent_disable(bev, said_all ? EV_READ : EV_READ | EV_WRITE);
    else
        client_free(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct tg_control_client *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (c->asked) {
        (void)evbuffer_drain(in, evbuffer_get_length(in));
        return;
    }
    size_t n;
    char *line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
    if (!line) {
        if (evbuffer_get_length(in) > MAX_LINE)
            client_free(c);
        return;
    }
    c->asked = true;
    (void)bufferevent_set_timeouts(bev, NULL, NULL);
    c->control->command(c->control->arg, c, line);
    free(line); /* libevent's */
}

void tg_control_answer(struct tg_control_client *c, bool ok, struct tg_str text)
{
    c->answered = true;
    /* Who does not read has its place taken away: there are few. */
    if (c->control)
        (void)bufferevent_set_timeouts(c->bev, NULL, &c->control->patience);
    if (bufferevent_write(c->bev, ok ? "0" : "1", 1) ||
        bufferevent_write(c->bev, text.n ? text.p : "", text.n) || bufferevent_enable(c->bev, EV_WRITE))
        client_free(c);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct tg_control *control = arg;
    (void)what;
    int client_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client_fd < 0)
        return;
    struct tg_control_client *c = control->n_clients < MAX_CLIENTS ? tg_calloc(1, sizeof *c) : NULL;
    struct bufferevent *bev =
        c ? bufferevent_socket_new(control->base, client_fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!bev) {
        tg_free(c);
        (void)close(client_fd);
        return;
    }
    c->control = control;
    c->bev = bev;
    TAILQ_INSERT_TAIL(&control->clients, c, link);
    control->n_clients++;
    bufferevent_setcb(bev, on_read, on_written, on_event, c);
    (void)bufferevent_set_timeouts(bev, &control->patience, NULL);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE))
        client_free(c);
}

void tg_control_set_patience(struct tg_control *c, int ms)
{
    c->patience = (struct timeval){ms / 1000, ms % 1000 * 1000};
}

int tg_control_new(struct event_base *base, const char *spool_path, tg_control_fn *command, void *arg,
                   struct tg_control **out, struct tg_err *err)
{
    struct tg_control *c = tg_calloc(1, sizeof *c);
    if (!c)
        return tg_fail(err, TG_NOMEM, "control socket: out of memory");
    *c = (struct tg_control){.base = base, .command = command, .arg = arg};
    TAILQ_INIT(&c->clients);
    tg_control_set_patience(c, PATIENCE_MS);
    int rc = tg_listen_unix(spool_path, "control.sock", &c->fd, err);
    if (rc) {
        tg_free(c);
        return rc;
    }
    c->accept = event_new(base, c->fd, EV_READ | EV_PERSIST, on_accept, c);
    if (!c->accept || event_add(c->accept, NULL)) {
        if (c->accept)
            event_free(c->accept);
        (void)close(c->fd);
        tg_free(c);
        return tg_fail(err, TG_NOMEM, "control socket: out of memory");
    }
    *out = c;
    return TG_OK;
}

/* The loop that would have written it has ended: as much as goes without waiting, which is all of a short
 * answer. */
static void write_rest(struct tg_control_client *c)
{
    struct evbuffer_iovec pieces[PIECES];
    int n = evbuffer_peek(bufferevent_get_output(c->bev), -1, NULL, pieces, PIECES);
    struct msghdr m = {.msg_iov = pieces, .msg_iovlen = n < PIECES ? (size_t)n : PIECES};
    if (n > 0)
        (void)sendmsg(bufferevent_getfd(c->bev), &m, MSG_NOSIGNAL);
}

void tg_control_free(struct tg_control **control)
{
    struct tg_control *c = *control;
    if (!c)
        return;
    *control = NULL;
    struct tg_control_client *client, *next;
    for (client = TAILQ_FIRST(&c->clients); client; client = next) {
        next = TAILQ_NEXT(client, link);
        write_rest(client);
        client_free(client);
    }
    event_free(c->accept);
    (void)close(c->fd);
    tg_free(c);
}

void tg_control_close_in_child(struct tg_control *c)
{
    struct tg_control_client *client;
    TAILQ_FOREACH(client, &c->clients, link)
    {
        (void)close(bufferevent_getfd(client->bev));
    }
    (void)close(c->fd);
}

/* Whether the other side has gone in the middle. */
static bool has_ended(int number)
{
    return number == ECONNRESET || number == EPIPE;
}

int tg_control_ask(const char *spool_path, const char *line, bool *ok, struct tg_buf *answer,
                   struct tg_err *err)
{
    int fd;
    struct tg_err why = {0};
    if (tg_connect_unix(spool_path, "control.sock", &fd, &why))
        return tg_fail(err, TG_NOTFOUND, "no tidegate runs on this spool (%s)", why.msg);
    struct tg_buf out = TG_BUF_INIT(MAX_LINE + 2);
    int rc = tg_buf_printf(&out, "%s\n", line);
    if (rc)
        rc = tg_fail(err, rc, "the command is too long");
    else if (send(fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len && !has_ended(errno))
        rc = tg_fail_errno(err, errno, "control socket");
    while (!rc) {
        if (tg_buf_reserve(answer, 4096)) {
            rc = tg_fail(err, TG_TOOBIG, "control socket: the answer is too large");
            break;
        }
        ssize_t n = read(fd, answer->data + answer->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !has_ended(errno))
            rc = tg_fail_errno(err, errno, "control socket");
        if (n <= 0)
            break;
        answer->len += (size_t)n;
    }
    tg_buf_fini(&out);
    (void)close(fd);
    if (!rc && answer->len == 0)
        return tg_fail(err, TG_CLOSED, "the daemon ended before it answered");
    if (!rc) {
        *ok = answer->data[0] == '0';
        tg_buf_consume(answer, 1);
    }
    return rc;
}

bool tg_control_differs(const char *spool_path, const char *digest)
{
    struct tg_buf answer = TG_BUF_INIT(65536);
    struct tg_err err;
    bool ok = false;
    int rc = tg_control_ask(spool_path, "digest", &ok, &answer, &err);
    bool differs = !rc && ok && !tg_str_is(tg_str_trim(tg_buf_str(&answer)), digest);
    tg_buf_fini(&answer);
    return differs;
}

int tg_control_wake(const char *spool_path, bool *runs, struct tg_err *err)
{
    struct tg_buf answer = TG_BUF_INIT(65536);
    const struct timespec pause = {0, 100 * 1000 * 1000};
    bool ok = false;
    int rc = TG_OK;
    /* Another command may be under way; or the relay ends, and a successor knows without being told. */
    for (int i = 0; i < WAKE_TRIES && (!rc || rc == TG_CLOSED) && !ok; i++) {
        tg_buf_clear(&answer);
        if (i > 0)
            (void)nanosleep(&pause, NULL);
        rc = tg_control_ask(spool_path, "wake", &ok, &answer, err);
    }
    *runs = rc != TG_NOTFOUND;
    if (!*runs)
        rc = TG_OK;
    else if (!rc && !ok)
        rc = tg_fail(err, TG_BUSY, "%.*s", TG_STR_ARG(tg_buf_str(&answer)));
    tg_buf_fini(&answer);
    return rc;
}
