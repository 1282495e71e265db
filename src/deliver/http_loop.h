/* Curl's multi handle on libevent: it asks for a timer and for sockets to be watched, and is told when the
 * time has come or a socket is ready. What then has happened to transfers is for `moved` to find out. */
#ifndef TG_DELIVER_HTTP_LOOP_H
#define TG_DELIVER_HTTP_LOOP_H

#include "base/err.h"

#include <curl/curl.h>

struct event;
struct event_base;

struct tg_http_loop {
    CURLM *multi;
    struct event_base *base;
    struct event *timer;
    void (*moved)(void *arg); /* transfers may have ended; called outside of curl */
    /* There was no memory to watch the transfer's socket. Called inside of curl; `moved` comes soon. */
    void (*unwatched)(void *arg, CURL *easy);
    void *arg;
};

/* base, moved, unwatched and arg must be set, the rest 0. After a failure too it wants fini. */
TG_MUST_CHECK int tg_http_loop_init(struct tg_http_loop *loop, size_t max_connections);
void tg_http_loop_fini(struct tg_http_loop *loop); /* no transfer may be under way */

#endif
