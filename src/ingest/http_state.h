/* What the files of the HTTP server share: a connection, a listener, the server. Nobody else looks inside. */
#ifndef TG_INGEST_HTTP_STATE_H
#define TG_INGEST_HTTP_STATE_H

#include "base/buf.h"
#include "ingest/http_io.h"
#include "ingest/http_reply_head.h"
#include "ingest/http_server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum {
    TG_CONN_MAGIC = 0x68747470,
    TG_HTTP_SCRATCH_BYTES = 256 * 1024,
    TG_HTTP_CODES = 600,
};

TAILQ_HEAD(tg_http_list, tg_http_req);

struct tg_http_req { /* a connection: it has one request at a time */
    unsigned magic;  /* it comes back through libevent's and the handler's void pointers */
    struct tg_http *h;
    TAILQ_ENTRY(tg_http_req) link;
    struct tg_http_list *list; /* where it is linked; NULL: nowhere */
    int64_t since;             /* ms: idle, busy since */
    struct tg_http_io io;
    struct event readable, writable;
    struct tg_http_parser parser;
    struct tg_buf in;                  /* the unfinished request and what came behind it */
    struct tg_buf out;                 /* what the socket did not take yet */
    size_t counted;                    /* bytes of `in` that stand in h->buffered */
    bool waiting;                      /* the handler has a request */
    bool in_run;                       /* run() of http_read.c is on the stack: it frees */
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

struct tg_http_listener {
    TAILQ_ENTRY(tg_http_listener) link;
    struct tg_http *h;
    int fd;
    struct tg_http_tls *tls;
    struct event acceptable;
};

TAILQ_HEAD(tg_http_listeners, tg_http_listener);

struct tg_http {
    struct event_base *base;
    struct tg_http_limits limits;
    struct tg_http_handler handler;
    struct tg_http_listeners listeners;
    struct tg_http_list idle, busy, waiting, resuming;
    struct tg_http_list orphans; /* dead, and the handler has their request */
    unsigned connections;        /* open */
    unsigned held;               /* structs: open ones and dead ones that wait for an answer */
    size_t buffered;
    bool paused, full, starved, stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct event sweep, resume, finish;
    struct tg_http_msg msg;
    struct tg_buf scratch; /* for reading */
    struct tg_buf answer;  /* for composing */
    struct tg_http_date date;
    struct tg_metrics *metrics;
    tg_cell spare; /* stands for every cell when there are no metrics */
    tg_cell *m_connections, *m_accepted, *m_received, *m_timeouts, *m_evicted, *m_codes[TG_HTTP_CODES];
};

#endif
