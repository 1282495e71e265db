/* A partner on a loopback port, inside the test's own event loop: keeps what it gets and answers as told.
 * Include after cmocka.h. */
#ifndef TG_TEST_PARTNER_H
#define TG_TEST_PARTNER_H

#include "base/clock.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PARTNER_MAX = 2048 };

struct partner_answer {
    int status;          /* 0: 200; -1: no answer until partner_release; -2: hang up */
    const char *headers; /* "Name: value\n…" or NULL */
    const char *body;
    size_t body_len; /* 0: strlen */
};
struct partner_got {
    char *method, *uri, *body;
    size_t body_len;
    char *headers; /* "name: value\n" each */
};
struct partner {
    struct event_base *base;
    struct evhttp *http;
    int port, holder; /* the holder never listens: nobody else gets the port while the partner is away */
    struct partner_answer script[PARTNER_MAX]; /* taken in order, then `otherwise` */
    size_t n_script, at_script;
    struct partner_answer otherwise;
    /* Decides when set, before the script. */
    struct partner_answer (*decide)(void *arg, const struct partner_got *got);
    void *arg;
    struct partner_got got[PARTNER_MAX];
    size_t n_got, in_flight, most_in_flight;
    struct evhttp_request *held[PARTNER_MAX];
    size_t n_held;
    int sockets;
};

static inline void partner_reply(struct evhttp_request *req, struct partner_answer a)
{
    char line[512];
    for (const char *p = a.headers; p && *p; p = strchr(p, '\n') + 1) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        char *colon = strchr(line, ':');
        *colon = 0;
        evhttp_add_header(evhttp_request_get_output_headers(req), line, colon + 2);
    }
    struct evbuffer *out = evbuffer_new();
    if (a.body)
        evbuffer_add(out, a.body, a.body_len ? a.body_len : strlen(a.body));
    evhttp_send_reply(req, a.status ? a.status : 200, "Said", out);
    evbuffer_free(out);
}

static inline const char *partner_method(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "HEAD";
    }
}

static inline void partner_keep(struct partner *p, struct evhttp_request *req)
{
    assert_true(p->n_got < PARTNER_MAX);
    struct partner_got *g = &p->got[p->n_got++];
    g->method = strdup(partner_method(evhttp_request_get_command(req)));
    g->uri = strdup(evhttp_request_get_uri(req));
    size_t n;
    FILE *headers = open_memstream(&g->headers, &n);
    struct evkeyval *kv;
    for (kv = evhttp_request_get_input_headers(req)->tqh_first; kv; kv = kv->next.tqe_next)
        fprintf(headers, "%s: %s\n", kv->key, kv->value);
    fclose(headers);
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    g->body_len = evbuffer_get_length(in);
    g->body = calloc(1, g->body_len + 1);
    evbuffer_copyout(in, g->body, g->body_len);
}

static inline void partner_on_request(struct evhttp_request *req, void *arg)
{
    struct partner *p = arg;
    partner_keep(p, req);
    struct partner_answer a = p->at_script < p->n_script ? p->script[p->at_script++] : p->otherwise;
    if (p->decide)
        a = p->decide(p->arg, &p->got[p->n_got - 1]);
    if (a.status == -2) {
        evhttp_connection_free(evhttp_request_get_connection(req));
        return;
    }
    if (a.status == -1) {
        p->held[p->n_held++] = req;
        if (p->n_held > p->most_in_flight)
            p->most_in_flight = p->n_held;
        return;
    }
    partner_reply(req, a);
}

/* Answers the oldest held request. */
static inline void partner_release(struct partner *p, struct partner_answer a)
{
    assert_true(p->n_held > 0);
    struct evhttp_request *req = p->held[0];
    memmove(p->held, p->held + 1, --p->n_held * sizeof p->held[0]);
    partner_reply(req, a);
}

static inline void partner_hold_port(struct partner *p)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;
    int one = 1;
    p->holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(p->holder, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(p->holder, (struct sockaddr *)&in, n), 0);
    assert_int_equal(getsockname(p->holder, (struct sockaddr *)&in, &n), 0);
    p->port = ntohs(in.sin_port);
}

static inline void partner_listen(struct partner *p)
{
    p->http = evhttp_new(p->base);
    evhttp_set_allowed_methods(p->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_HEAD);
    evhttp_set_gencb(p->http, partner_on_request, p);
    assert_int_equal(evhttp_bind_socket(p->http, "127.0.0.1", (ev_uint16_t)p->port), 0);
}

static inline struct partner *partner_new(struct event_base *base)
{
    struct partner *p = calloc(1, sizeof *p);
    p->base = base;
    partner_hold_port(p);
    partner_listen(p);
    return p;
}

/* Goes away; partner_listen brings it back. */
static inline void partner_close(struct partner *p)
{
    if (p->http)
        evhttp_free(p->http);
    p->http = NULL;
    p->n_held = 0;
}

static inline void partner_script(struct partner *p, struct partner_answer a)
{
    assert_true(p->n_script < PARTNER_MAX);
    p->script[p->n_script++] = a;
}

static inline void partner_free(struct partner *p)
{
    partner_close(p);
    close(p->holder);
    for (size_t i = 0; i < p->n_got; i++) {
        free(p->got[i].method);
        free(p->got[i].uri);
        free(p->got[i].body);
        free(p->got[i].headers);
    }
    free(p);
}

static inline void partner_stop_loop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

/* Runs the loop until `until(arg)` holds; fails after a minute. */
static inline void loop_until(struct event_base *base, bool (*until)(void *arg), void *arg)
{
    int64_t deadline = tg_mono_ms() + 60000;
    struct event *tick = event_new(base, -1, EV_PERSIST, partner_stop_loop, base);
    struct timeval tv = {0, 2000};
    event_add(tick, &tv);
    while (!until(arg) && tg_mono_ms() < deadline)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(tick);
    assert_true(until(arg));
}

#endif
