/* The HTTP server for senders: HTTP/1.0 and 1.1, keep-alive, pipelining answered in order, chunked bodies,
 * Expect, HEAD, plain or TLS, on one libevent base. Everything here is called on the loop's thread.
 *
 * One request of a connection is with the handler at a time. The handler may answer at once or later (an
 * ingest POST is answered after a disk sync); a sender that leaves meanwhile costs nothing but the memory of
 * the wait. */
#ifndef TG_INGEST_HTTP_SERVER_H
#define TG_INGEST_HTTP_SERVER_H

#include "base/err.h"
#include "base/metrics.h"
#include "ingest/http_parser.h"
#include "ingest/http_tls.h"

struct event_base;
struct sockaddr;
struct tg_http;
struct tg_http_req; /* a request that waits for its answer */

struct tg_http_limits {
    size_t head_bytes;      /* request line and headers; more: 431 */
    size_t body_bytes;      /* as sent; more: 400 */
    size_t buffer_bytes;    /* unfinished requests of all connections together; more: 503 */
    int request_timeout_ms; /* from a request's first byte to its last, and for taking an answer: then closed
                             */
    int idle_timeout_ms;    /* between requests */
    unsigned connections;   /* above: the one that is idle longest is closed; none idle: accepting waits */
};
/* 16 KiB, 4 MiB, 256 MiB, 10 s, 75 s, 10000. */
extern const struct tg_http_limits tg_http_default_limits;

struct tg_http_handler {
    void *arg;
    /* A whole request. `msg` and all its spans are lent for the call only; `req` must get tg_http_reply
     * exactly once, now or later. */
    void (*request)(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg);
    /* A request that cannot be served; answer it likewise (with that status), the connection ends afterwards.
     * `msg` has no headers when they were not readable. */
    void (*refuse)(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg,
                   enum tg_http_fault fault, const char *reason);
};

/* Copies limits and handler. `metrics` may be NULL. */
TG_MUST_CHECK int tg_http_new(struct tg_http **out, struct event_base *base,
                              const struct tg_http_limits *limits, const struct tg_http_handler *handler,
                              struct tg_metrics *metrics, struct tg_err *err);
/* Closes everything at once; requests that wait for an answer are gone, and must not be answered any more
 * (tg_http_stop is the graceful way). */
void tg_http_free(struct tg_http **h);

/* Begins to accept from a listening socket, this worker's own or a sibling's. The socket must be non-blocking
 * and stays the caller's. tls: NULL for plain; must outlive the listener. TG_EXISTS when that fd is listened
 * to already. */
TG_MUST_CHECK int tg_http_accept_for(struct tg_http *h, int fd, struct tg_http_tls *tls, struct tg_err *err);
/* Ends accepting from it; its connections live on. Unknown fds are fine. */
void tg_http_accept_stop(struct tg_http *h, int fd);
/* Stops accepting on all listeners (connections wait in the kernel's queue) or starts again. */
void tg_http_pause(struct tg_http *h, bool paused);
/* New limits for connections and requests from now on. */
void tg_http_set_limits(struct tg_http *h, const struct tg_http_limits *limits);

/* Graceful end: takes what waits in the listen queues, stops accepting, closes idle connections, lets begun
 * requests finish (every answer says Connection: close), then calls `done` once (perhaps before this
 * returns). */
void tg_http_stop(struct tg_http *h, void (*done)(void *arg), void *arg);

/* Open connections. */
unsigned tg_http_connections(const struct tg_http *h);
/* Bytes held by unfinished requests. */
size_t tg_http_buffered(const struct tg_http *h);

struct tg_http_reply {
    int status;
    const char *content_type; /* NULL: none */
    struct tg_str headers;    /* further lines, each ended by CRLF */
    struct tg_str body;
};

/* Answers and forgets the request: `req` is gone afterwards. Copies what it needs. */
void tg_http_reply(struct tg_http_req *req, const struct tg_http_reply *reply);

/* The peer's address, and whether it came over TLS. Valid until the answer. */
const struct sockaddr *tg_http_peer(const struct tg_http_req *req);
bool tg_http_is_tls(const struct tg_http_req *req);

#endif
