#include "tg_test.h"

#include "ingest/http_client.h"
#include "ingest/http_server.h"

#include <malloc.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

enum { KEPT = 64 };

/* A server whose handler answers at once with the path and the body's length, or keeps requests for the test.
 */
struct fixture {
    struct event_base *base;
    struct tg_metrics *metrics;
    struct tg_http *http;
    struct tg_http_limits limits;
    int listener;
    uint16_t port;
    bool keep; /* requests wait in `kept` */
    bool big;  /* answers are of a megabyte */
    struct tg_http_req *kept[KEPT];
    size_t n_kept;
    size_t served, refused;
    enum tg_http_fault fault;
    char body[32]; /* the last one's beginning */
    bool stopped;
    struct tg_buf in; /* of the test's client */
};

static void answer(struct fixture *f, struct tg_http_req *req, int status, const char *text)
{
    (void)f;
    const struct tg_http_reply reply = {.status = status,
                                        .content_type = "text/plain",
                                        .headers = TG_STR("X-Test: 1\r\n"),
                                        .body = tg_str_of(text)};
    tg_http_reply(req, &reply);
}

static void on_request(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct fixture *f = arg;
    f->served++;
    snprintf(f->body, sizeof f->body, "%.*s", msg->body.n < 31 ? (int)msg->body.n : 31,
             msg->body.n ? msg->body.p : "");
    if (f->keep) {
        assert_true(f->n_kept < KEPT);
        f->kept[f->n_kept++] = req;
        return;
    }
    if (f->big) {
        static char body[1 << 20];
        memset(body, 'x', sizeof body);
        const struct tg_http_reply reply = {.status = 200, .body = tg_str_n(body, sizeof body)};
        tg_http_reply(req, &reply);
        return;
    }
    char text[128];
    snprintf(text, sizeof text, "%.*s %zu", TG_STR_ARG(msg->path), msg->body.n);
    answer(f, req, 200, text);
}

static void on_refuse(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg,
                      enum tg_http_fault fault, const char *reason)
{
    (void)msg;
    struct fixture *f = arg;
    f->refused++;
    f->fault = fault;
    answer(f, req, fault == TG_HTTP_HEAD_SIZE ? 431 : fault == TG_HTTP_CROWDED ? 503 : 400, reason);
}

static void on_stopped(void *arg)
{
    ((struct fixture *)arg)->stopped = true;
}

static void start(struct fixture *f)
{
    const struct tg_http_handler handler = {.arg = f, .request = on_request, .refuse = on_refuse};
    tg_http_free(&f->http);
    assert_ok(tg_http_new(&f->http, f->base, &f->limits, &handler, f->metrics, NULL));
    assert_ok(tg_http_accept_for(f->http, f->listener, NULL, NULL));
}

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    struct fixture *f = tg_calloc(1, sizeof *f);
    f->base = event_base_new();
    f->metrics = tg_metrics_new(1);
    f->limits = tg_http_default_limits;
    f->listener = client_listen(&f->port);
    tg_buf_init(&f->in, 1 << 26);
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tg_http_free(&f->http);
    close(f->listener);
    tg_metrics_free(&f->metrics);
    event_base_free(f->base);
    tg_buf_fini(&f->in);
    tg_free(f);
    return 0;
}

#define HOST "Host: relay\r\n"

/* Answers say what they must, byte for byte, and the connection stays for the next request. */
static void keep_alive(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    for (int i = 0; i < 3; i++) {
        assert_true(
            client_send(f->base, fd, TG_STR("POST /a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi")));
        struct tg_str a = client_answer(f->base, fd, &f->in);
        assert_begins(a, "HTTP/1.1 200 OK\r\nDate: ");
        assert_has(a, " GMT\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nX-Test: 1\r\n\r\n/a 2");
    }
    assert_int_equal(f->served, 3);
    assert_int_equal(tg_http_connections(f->http), 1);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_http_requests_total", "code=\"200\""), 3);
    close(fd);
    turn_until(f->base, tg_http_connections(f->http) == 0);
}

/* HTTP/1.0 closes unless it asks; HTTP/1.1 keeps unless it asks; HEAD gets no body. */
static void versions_and_head(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *request;
        bool closes, head;
        const char *has;
    } cases[] = {
        {"GET /a HTTP/1.0\r\n\r\n", true, false, "Connection: close\r\n\r\n/a 0"},
        {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, false,
         "Connection: keep-alive\r\n\r\n/a 0"},
        {"GET /a HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", true, false,
         "Connection: close\r\n\r\n/a 0"},
        {"HEAD /a HTTP/1.1\r\n" HOST "\r\n", false, true, "Content-Length: 4\r\nX-Test: 1\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = client_connect(f->port);
        assert_true(client_send(f->base, fd, tg_str_of(cases[i].request)));
        struct tg_str a = client_answer_of(f->base, fd, &f->in, cases[i].head);
        assert_has(a, cases[i].has);
        assert_int_equal(f->in.len, 0);
        if (cases[i].closes)
            client_closed(f->base, fd, &f->in);
        else
            assert_int_equal(tg_http_connections(f->http), 1);
        close(fd);
        turn_until(f->base, tg_http_connections(f->http) == 0);
    }
}

/* Pipelined requests are handled one after another and answered in order, also when answers come later. */
static void pipelining(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    int fd = client_connect(f->port);
    assert_true(client_send(
        f->base, fd,
        TG_STR("GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST
               "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n" HOST)));
    turn_until(f->base, f->n_kept == 1);
    assert_true(client_send(f->base, fd, TG_STR("\r\nGET /4 HTTP/1.1\r\n" HOST "\r\n")));
    for (size_t i = 0; i < 4; i++) {
        turn_until(f->base, f->n_kept == i + 1);
        turn(f->base);
        assert_int_equal(f->n_kept, i + 1);
        char text[8];
        snprintf(text, sizeof text, "answer%zu", i);
        answer(f, f->kept[i], 200, text);
        struct tg_str a = client_answer(f->base, fd, &f->in);
        assert_has(a, text);
    }
    close(fd);
    turn_until(f->base, tg_http_connections(f->http) == 0);
    assert_int_equal(tg_http_buffered(f->http), 0);
}

/* A sender that pipelines without end is read only so far ahead. */
static void pipelining_is_bounded(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    int fd = client_connect(f->port);
    assert_true(client_send(f->base, fd, TG_STR("GET /1 HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, f->n_kept == 1);
    static char flood[1 << 20];
    for (size_t i = 0; i + 32 <= sizeof flood; i += 32)
        memcpy(flood + i, "GET /2 HTTP/1.1\r\nHost: relay12\r\n\r\n", 32);
    for (int i = 0; i < 200; i++) {
        (void)send(fd, flood, sizeof flood, MSG_NOSIGNAL);
        turn(f->base);
    }
    assert_true(tg_http_buffered(f->http) <= 256 * 1024);
    answer(f, f->kept[0], 200, "done");
    struct tg_str a = client_answer(f->base, fd, &f->in);
    assert_has(a, "done");
    close(fd);
    turn_until(f->base, tg_http_connections(f->http) == 0);
    for (size_t i = 1; i < f->n_kept; i++)
        answer(f, f->kept[i], 200, "");
    assert_int_equal(tg_http_buffered(f->http), 0);
}

/* Malformed requests get one 400 and the connection ends, whatever follows them. */
static void malformed(void **state)
{
    struct fixture *f = *state;
    static const char *const shapes[] = {
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\nxGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
        "POST / HTTP/1.1\n" HOST "\n",
        "POST / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int fd = client_connect(f->port);
        assert_true(client_send(f->base, fd, tg_str_of(shapes[i])));
        struct tg_str a = client_answer(f->base, fd, &f->in);
        assert_begins(a, "HTTP/1.1 400 Bad Request\r\n");
        assert_has(a, "Connection: close\r\n");
        client_closed(f->base, fd, &f->in);
        close(fd);
        turn_until(f->base, tg_http_connections(f->http) == 0);
    }
    assert_int_equal(f->served, 0);
    assert_int_equal(f->refused, 4);
}

/* A large body arrives whole, with a length and in chunks, and its memory is given back. */
static void large_bodies(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    struct tg_buf body = TG_BUF_INIT(1 << 24);
    assert_ok(
        tg_buf_printf(&body, "POST /l HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n%03000000d", 1));
    assert_true(client_send(f->base, fd, tg_buf_str(&body)));
    struct tg_str a = client_answer(f->base, fd, &f->in);
    assert_has(a, "/l 3000000");
    tg_buf_clear(&body);
    assert_ok(tg_buf_adds(&body, "POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 1000; i++)
        assert_ok(tg_buf_printf(&body, "%x\r\n%0*d\r\n", 1000 + i, 1000 + i, i));
    assert_ok(tg_buf_adds(&body, "0\r\n\r\n"));
    assert_true(client_send(f->base, fd, tg_buf_str(&body)));
    a = client_answer(f->base, fd, &f->in);
    assert_has(a, "/c 1499500");
    assert_int_equal(tg_http_buffered(f->http), 0);
    tg_buf_fini(&body);
    close(fd);
}

/* A sender of a too large body reads the answer although it goes on sending. */
static void oversize(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    assert_true(
        client_send(f->base, fd, TG_STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 9999999\r\n\r\n")));
    static char part[65536];
    for (int i = 0; i < 16; i++)
        assert_true(client_send(f->base, fd, tg_str_n(part, sizeof part)));
    struct tg_str a = client_answer(f->base, fd, &f->in);
    assert_begins(a, "HTTP/1.1 400 Bad Request\r\n");
    assert_int_equal(f->fault, TG_HTTP_BODY_SIZE);
    client_closed(f->base, fd, &f->in);
    close(fd);
    turn_until(f->base, tg_http_connections(f->http) == 0);
}

/* The sender of a body is told to go on when it waits for that. */
static void expect_continue(void **state)
{
    struct fixture *f = *state;
    int fd = client_connect(f->port);
    assert_true(
        client_send(f->base, fd,
                    TG_STR("POST /e HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")));
    struct tg_str a = client_answer(f->base, fd, &f->in);
    assert_str(a, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_true(client_send(f->base, fd, TG_STR("ok")));
    a = client_answer(f->base, fd, &f->in);
    assert_has(a, "/e 2");
    close(fd);
}

/* A slow sender's connection is closed without an answer: a 408 would make browsers send again. */
static void slow_sender(void **state)
{
    struct fixture *f = *state;
    f->limits.request_timeout_ms = 40;
    start(f);
    static const char *const beginnings[] = {"P", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nslow"};
    for (size_t i = 0; i < 2; i++) {
        int fd = client_connect(f->port);
        assert_true(client_send(f->base, fd, tg_str_of(beginnings[i])));
        client_closed(f->base, fd, &f->in);
        close(fd);
    }
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_http_timeouts_total", ""), 2);
}

/* The deadline is the whole request's: bytes that trickle in do not move it. */
static void trickling_sender(void **state)
{
    struct fixture *f = *state;
    f->limits.request_timeout_ms = 60;
    start(f);
    int fd = client_connect(f->port);
    int64_t begun = tg_mono_ms(), last = 0;
    int rc = 0;
    while (rc == 0) {
        int64_t now = tg_mono_ms();
        assert_true(now - begun < CLIENT_DEADLINE_MS);
        if (now - last >= 5) {
            (void)send(fd, "a", 1, MSG_NOSIGNAL);
            last = now;
        }
        turn(f->base);
        rc = client_poll(fd, &f->in);
    }
    assert_int_equal(f->in.len, 0);
    close(fd);
}

/* A connection between requests is closed after the idle time. */
static void idle_timeout(void **state)
{
    struct fixture *f = *state;
    f->limits.idle_timeout_ms = 40;
    start(f);
    int fd = client_connect(f->port);
    assert_true(client_send(f->base, fd, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    (void)client_answer(f->base, fd, &f->in);
    client_closed(f->base, fd, &f->in);
    close(fd);
}

/* A request that waits for its answer has no deadline, and its sender may have left by then. */
static void sender_gone(void **state)
{
    struct fixture *f = *state;
    f->limits.request_timeout_ms = f->limits.idle_timeout_ms = 20;
    f->keep = true;
    start(f);
    int fd = client_connect(f->port);
    assert_true(client_send(f->base, fd, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, f->n_kept == 1);
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    turn_until(f->base, tg_http_connections(f->http) == 0);
    answer(f, f->kept[0], 200, "nobody");
    turn(f->base);
}

/* A sender that closes its own side only still gets what it asked for, pipelined requests too. */
static void half_closed(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    int fd = client_connect(f->port);
    assert_true(
        client_send(f->base, fd, TG_STR("GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n")));
    shutdown(fd, SHUT_WR);
    for (size_t i = 0; i < 2; i++) {
        turn_until(f->base, f->n_kept == i + 1);
        turn(f->base);
        answer(f, f->kept[i], 200, "yes");
        struct tg_str a = client_answer(f->base, fd, &f->in);
        assert_begins(a, "HTTP/1.1 200 OK");
    }
    client_closed(f->base, fd, &f->in);
    close(fd);
}

/* Answers larger than the socket takes are sent as the reader takes them; one that reads nothing is closed.
 */
static void slow_reader(void **state)
{
    enum { ANSWERS = 100 };
    struct fixture *f = *state;
    f->big = true;
    f->limits.request_timeout_ms = CLIENT_DEADLINE_MS; /* however busy the machine is */
    start(f);
    int fd = client_connect(f->port);
    for (int i = 0; i < ANSWERS; i++)
        assert_true(client_send(f->base, fd, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    size_t total = 0;
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while (total < (size_t)ANSWERS << 20) {
        assert_true(tg_mono_ms() < deadline);
        turn(f->base);
        tg_buf_clear(&f->in);
        assert_true(client_poll(fd, &f->in) >= 0);
        total += f->in.len;
    }
    assert_int_equal(f->served, ANSWERS);
    close(fd);
    f->limits.request_timeout_ms = 100;
    start(f);
    fd = client_connect(f->port);
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    turn_until(f->base, tg_http_connections(f->http) == 1);
    for (int i = 0; i < ANSWERS; i++)
        if (!client_send(f->base, fd, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")))
            break; /* closed already */
    turn_until(f->base, tg_http_connections(f->http) == 0);
    close(fd);
}

/* At the limit of connections the one that is idle longest goes; when none is idle, new ones wait. */
static void connection_limit(void **state)
{
    struct fixture *f = *state;
    f->limits.connections = 3;
    f->keep = true;
    start(f);
    int fd[5];
    for (int i = 0; i < 3; i++) {
        fd[i] = client_connect(f->port);
        turn_until(f->base, tg_http_connections(f->http) == (unsigned)i + 1);
    }
    fd[3] = client_connect(f->port);
    client_closed(f->base, fd[0], &f->in);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_http_evicted_total", ""), 1);
    for (int i = 1; i <= 3; i++)
        assert_true(client_send(f->base, fd[i], TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, f->n_kept == 3);
    fd[4] = client_connect(f->port);
    assert_true(client_send(f->base, fd[4], TG_STR("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n")));
    for (int i = 0; i < 20; i++)
        turn(f->base);
    assert_int_equal(f->n_kept, 3);
    answer(f, f->kept[0], 200, "");
    close(fd[1]);
    turn_until(f->base, f->n_kept == 4);
    for (int i = 1; i < 4; i++)
        answer(f, f->kept[i], 200, "");
    for (int i = 0; i < 5; i++)
        if (i != 1)
            close(fd[i]);
}

/* Unfinished requests of all connections together have a ceiling: above it the answer is 503. */
static void crowded(void **state)
{
    struct fixture *f = *state;
    f->limits.buffer_bytes = 300 * 1024;
    start(f);
    int a = client_connect(f->port), b = client_connect(f->port);
    static char part[200 * 1024];
    assert_true(client_send(f->base, a, TG_STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 250000\r\n\r\n")));
    assert_true(client_send(f->base, a, tg_str_n(part, sizeof part)));
    turn_until(f->base, tg_http_buffered(f->http) >= sizeof part);
    assert_true(client_send(f->base, b, TG_STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 250000\r\n\r\n")));
    assert_true(client_send(f->base, b, tg_str_n(part, sizeof part)));
    struct tg_str answered = client_answer(f->base, b, &f->in);
    assert_begins(answered, "HTTP/1.1 503 Service Unavailable\r\n");
    assert_int_equal(f->fault, TG_HTTP_CROWDED);
    assert_true(client_send(f->base, a, tg_str_n(part, 250000 - sizeof part)));
    answered = client_answer(f->base, a, &f->in);
    assert_has(answered, "/ 250000");
    close(a);
    close(b);
    turn_until(f->base, tg_http_connections(f->http) == 0);
    assert_int_equal(tg_http_buffered(f->http), 0);
}

/* Who is refused for want of room is not told to go on with its body as well. */
static void crowded_while_expecting(void **state)
{
    struct fixture *f = *state;
    f->limits.buffer_bytes = 16;
    start(f);
    int fd = client_connect(f->port);
    assert_true(
        client_send(f->base, fd,
                    TG_STR("POST /e HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")));
    assert_begins(client_answer(f->base, fd, &f->in), "HTTP/1.1 503 Service Unavailable\r\n");
    client_closed(f->base, fd, &f->in);
}

/* Paused, connections wait in the kernel's queue; a sibling's socket can be taken over and given back. */
static void pausing_and_siblings(void **state)
{
    struct fixture *f = *state;
    tg_http_pause(f->http, true);
    int fd = client_connect(f->port);
    for (int i = 0; i < 20; i++)
        turn(f->base);
    assert_int_equal(tg_http_connections(f->http), 0);
    tg_http_pause(f->http, false);
    turn_until(f->base, tg_http_connections(f->http) == 1);
    uint16_t port;
    int sibling = client_listen(&port), other = client_connect(port);
    assert_ok(tg_http_accept_for(f->http, sibling, NULL, NULL));
    assert_int_equal(tg_http_accept_for(f->http, sibling, NULL, NULL), TG_EXISTS);
    turn_until(f->base, tg_http_connections(f->http) == 2);
    tg_http_accept_stop(f->http, sibling);
    tg_http_accept_stop(f->http, sibling);
    int third = client_connect(port);
    assert_true(client_send(f->base, other, TG_STR("GET /s HTTP/1.1\r\n" HOST "\r\n")));
    (void)client_answer(f->base, other, &f->in);
    assert_int_equal(tg_http_connections(f->http), 2);
    close(third);
    close(other);
    close(fd);
    close(sibling);
}

/* Stopping answers what waits in the listen queue and what is in flight, then tells; idle connections just
 * close. */
static void graceful_stop(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    int idle = client_connect(f->port), begun = client_connect(f->port), waiting = client_connect(f->port);
    assert_true(client_send(f->base, begun, TG_STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nh")));
    assert_true(client_send(f->base, waiting, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, f->n_kept == 1 && tg_http_connections(f->http) == 3);
    int queued = client_connect(f->port);
    assert_int_equal(send(queued, "GET / HTTP/1.1\r\n" HOST "\r\n", 31, 0), 31);
    struct pollfd queue = {.fd = f->listener, .events = POLLIN};
    assert_int_equal(poll(&queue, 1, CLIENT_DEADLINE_MS), 1);
    tg_http_stop(f->http, on_stopped, f);
    client_closed(f->base, idle, &f->in);
    turn_until(f->base, f->n_kept == 2);
    assert_false(f->stopped);
    answer(f, f->kept[0], 200, "");
    answer(f, f->kept[1], 503, "");
    struct tg_str a = client_answer(f->base, waiting, &f->in);
    assert_has(a, "Connection: close\r\n");
    client_closed(f->base, waiting, &f->in);
    a = client_answer(f->base, queued, &f->in);
    assert_begins(a, "HTTP/1.1 503 ");
    client_closed(f->base, queued, &f->in);
    assert_true(client_send(f->base, begun, TG_STR("i")));
    turn_until(f->base, f->n_kept == 3);
    assert_false(f->stopped);
    answer(f, f->kept[2], 200, "");
    turn_until(f->base, f->stopped);
    a = client_answer(f->base, begun, &f->in);
    assert_begins(a, "HTTP/1.1 200 ");
    assert_int_equal(tg_http_connections(f->http), 0);
    close(idle);
    close(begun);
    close(waiting);
    close(queued);
}

/* A stop with nothing to do tells at once, and one whose sender has gone tells after the handler's answer. */
static void stop_with_a_dead_sender(void **state)
{
    struct fixture *f = *state;
    f->keep = true;
    int fd = client_connect(f->port);
    assert_true(client_send(f->base, fd, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, f->n_kept == 1);
    shutdown(fd, SHUT_RDWR);
    close(fd);
    tg_http_stop(f->http, on_stopped, f);
    for (int i = 0; i < 20; i++)
        turn(f->base);
    assert_false(f->stopped);
    answer(f, f->kept[0], 200, "");
    turn_until(f->base, f->stopped);
}

/* Two thousand idle connections hold their structs and nothing else. */
static void idle_memory(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 2000 };
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < 2 * MANY + 100)
        skip();
    static int fd[MANY];
    int first = client_connect(f->port);
    turn_until(f->base, tg_http_connections(f->http) == 1);
    assert_ok(tg_buf_reserve(&f->in, 1 << 20));
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < MANY; i++) {
        fd[i] = client_connect(f->port);
        assert_true(
            client_send(f->base, fd[i], TG_STR("POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nin pi")));
        assert_true(client_send(f->base, fd[i], TG_STR("eces")));
        (void)client_answer(f->base, fd[i], &f->in);
    }
    assert_int_equal(tg_http_connections(f->http), MANY + 1);
    size_t each = (mallinfo2().uordblks - before) / MANY;
    print_message("%zu bytes a connection\n", each);
#ifndef __SANITIZE_ADDRESS__
    assert_true(each < 1536);
#endif
    assert_int_equal(tg_http_buffered(f->http), 0);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
    close(first);
    turn_until(f->base, tg_http_connections(f->http) == 0);
}

/* --- TLS --- */

static void write_pair(const char *cert_file, const char *key_file, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name,
                               -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *out = fopen(cert_file, "w");
    assert_int_equal(PEM_write_X509(out, cert), 1);
    fclose(out);
    out = fopen(key_file, "w");
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
};

static void tls_open(struct fixture *f, struct tls_client *c, uint16_t port, int version)
{
    c->fd = client_connect(port);
    c->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(c->context, version);
    c->ssl = SSL_new(c->context);
    SSL_set_fd(c->ssl, c->fd);
    int rc;
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while ((rc = SSL_connect(c->ssl)) != 1) {
        assert_int_equal(SSL_get_error(c->ssl, rc), SSL_ERROR_WANT_READ);
        assert_true(tg_mono_ms() < deadline);
        turn(f->base);
    }
}

static void tls_close(struct tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    close(c->fd);
}

static void tls_send(struct fixture *f, struct tls_client *c, struct tg_str text)
{
    while (text.n) {
        int n = SSL_write(c->ssl, text.p, text.n > 30000 ? 30000 : (int)text.n);
        if (n > 0)
            text = tg_str_n(text.p + n, text.n - (size_t)n);
        turn(f->base);
    }
}

static void tls_expect(struct fixture *f, struct tls_client *c, const char *text)
{
    tg_buf_clear(&f->in);
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while (!f->in.len || !strstr(tg_buf_cstr(&f->in), text)) {
        assert_true(tg_mono_ms() < deadline);
        turn(f->base);
        assert_ok(tg_buf_reserve(&f->in, 65536));
        int n = SSL_read(c->ssl, f->in.data + f->in.len, 65536);
        if (n > 0)
            f->in.len += (size_t)n;
    }
}

static void common_name(struct tls_client *c, char *out, int size)
{
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out, size);
    X509_free(cert);
}

/* The same server over TLS: keep-alive, pipelining, bodies larger than a record, large answers; reload
 * changes the pair. */
static void tls(void **state)
{
    struct fixture *f = *state;
    char folder[] = "/tmp/tg_http_test_XXXXXX", cert[64], key[64], name[32];
    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof cert, "%s/c.pem", folder);
    snprintf(key, sizeof key, "%s/k.pem", folder);
    write_pair(cert, key, "first");
    struct tg_http_tls *pair;
    assert_ok(tg_http_tls_new(&pair, cert, key, NULL));
    uint16_t port;
    int listener = client_listen(&port);
    assert_ok(tg_http_accept_for(f->http, listener, pair, NULL));

    struct tls_client c;
    tls_open(f, &c, port, TLS1_2_VERSION);
    tls_send(f, &c, TG_STR("GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"));
    tls_expect(f, &c, "/2 0");
    struct tg_buf body = TG_BUF_INIT(1 << 20);
    assert_ok(tg_buf_printf(&body, "POST /l HTTP/1.1\r\n" HOST "Content-Length: 500000\r\n\r\n%0500000d", 1));
    tls_send(f, &c, tg_buf_str(&body));
    tls_expect(f, &c, "/l 500000");
    f->keep = true;
    tls_send(f, &c, TG_STR("GET /3 HTTP/1.1\r\n" HOST "\r\n"));
    turn_until(f->base, f->n_kept == 1);
    tls_send(f, &c, TG_STR("GET /4 HTTP/1.1\r\n" HOST "\r\n"));
    for (int i = 0; i < 10; i++)
        turn(f->base);
    f->keep = false;
    assert_true(tg_http_is_tls(f->kept[0]));
    answer(f, f->kept[0], 200, "later");
    tls_expect(f, &c, "/4 0");
    common_name(&c, name, sizeof name);
    assert_string_equal(name, "first");

    write_pair(cert, key, "second");
    assert_ok(tg_http_tls_reload(pair, NULL));
    struct tls_client d;
    tls_open(f, &d, port, TLS1_3_VERSION);
    common_name(&d, name, sizeof name);
    assert_string_equal(name, "second");
    f->big = true;
    tls_send(f, &d, TG_STR("GET /big HTTP/1.1\r\n" HOST "\r\n"));
    size_t total = 0;
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while (total < 1 << 20) {
        assert_true(tg_mono_ms() < deadline);
        turn(f->base);
        int n = SSL_read(d.ssl, body.data, 65536);
        total += n > 0 ? (size_t)n : 0;
    }
    f->big = false;
    tls_send(f, &c, TG_STR("GET /old HTTP/1.1\r\n" HOST "\r\n"));
    tls_expect(f, &c, "/old 0");

    /* A pair that does not fit is refused and the one in use stays. */
    char other[80];
    snprintf(other, sizeof other, "%s/other.pem", folder);
    write_pair(other, key, "third");
    struct tg_err err = {0};
    assert_int_equal(tg_http_tls_reload(pair, &err), TG_INVALID);
    assert_non_null(strstr(err.msg, key));
    tls_send(f, &d, TG_STR("GET /still HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"));
    tls_expect(f, &d, "/still 0");

    /* Plain bytes on a TLS port just end the connection. */
    int plain = client_connect(port);
    assert_true(client_send(f->base, plain, TG_STR("GET / HTTP/1.1\r\n" HOST "\r\n")));
    turn_until(f->base, tg_http_connections(f->http) <= 1);
    close(plain);
    tls_close(&c);
    tls_close(&d);
    turn_until(f->base, tg_http_connections(f->http) == 0);
    tg_http_accept_stop(f->http, listener);
    close(listener);
    tg_http_tls_free(&pair);
    tg_buf_fini(&body);
    unlink(cert);
    unlink(key);
    unlink(other);
    rmdir(folder);
}

/* A file that is not there is named. */
static void tls_files(void **state)
{
    (void)state;
    struct tg_http_tls *pair;
    struct tg_err err = {0};
    assert_int_equal(tg_http_tls_new(&pair, "/nonexistent/c.pem", "/nonexistent/k.pem", &err), TG_INVALID);
    assert_null(pair);
    assert_non_null(strstr(err.msg, "/nonexistent/c.pem"));
}

/* Refused allocations close connections at most; the server serves on. */
static void torture(void **state)
{
    struct fixture *f = *state;
    for (long n = 1; n < 60; n++) {
        int fd = client_connect(f->port);
        struct tg_buf in = TG_BUF_INIT(1 << 20);
        assert_ok(tg_buf_reserve(&in, 1 << 17));
        tg_mem_fail_after(n);
        (void)client_send(
            f->base, fd,
            TG_STR("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"));
        (void)client_send(f->base, fd, TG_STR("\r\nGET / HTTP/1.1\r\n"));
        (void)client_send(f->base, fd, TG_STR(HOST "\r\n"));
        tg_mem_fail_after(0);
        turn(f->base);
        close(fd);
        turn_until(f->base, tg_http_connections(f->http) == 0);
        assert_int_equal(tg_http_buffered(f->http), 0);
        tg_buf_fini(&in);
    }
    for (long n = 1; n < 5; n++) {
        const struct tg_http_handler handler = {.arg = f, .request = on_request, .refuse = on_refuse};
        struct tg_http *h;
        tg_mem_fail_after(n);
        int rc = tg_http_new(&h, f->base, &f->limits, &handler, NULL, NULL);
        tg_mem_fail_after(0);
        assert_true(rc == TG_OK || rc == TG_NOMEM);
        tg_http_free(&h);
    }
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(keep_alive),
        WITH(versions_and_head),
        WITH(pipelining),
        WITH(pipelining_is_bounded),
        WITH(malformed),
        WITH(large_bodies),
        WITH(oversize),
        WITH(expect_continue),
        WITH(slow_sender),
        WITH(trickling_sender),
        WITH(idle_timeout),
        WITH(sender_gone),
        WITH(half_closed),
        WITH(slow_reader),
        WITH(connection_limit),
        WITH(crowded),
        WITH(crowded_while_expecting),
        WITH(pausing_and_siblings),
        WITH(graceful_stop),
        WITH(stop_with_a_dead_sender),
        WITH(idle_memory),
        WITH(tls),
        cmocka_unit_test(tls_files),
        WITH(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
