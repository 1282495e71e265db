/* What a connection sends: bytes become requests, requests go to the handler.
 *
 * Reading goes into one buffer of the server, and the request is parsed and handled right there; only what is
 * unfinished is copied into a buffer of the connection, which is freed with the request. So thousands of idle
 * connections cost their structs alone. */
#ifndef TG_INGEST_HTTP_READ_H
#define TG_INGEST_HTTP_READ_H

#include "ingest/http_state.h"

/* Takes what has arrived. May free the connection. */
void tg_conn_readable(struct tg_http_req *c);

/* libevent's callbacks: of a connection's socket (arg: the connection), */
void tg_conn_on_readable(evutil_socket_t fd, short what, void *arg);
void tg_conn_on_writable(evutil_socket_t fd, short what, void *arg);
/* and for answered connections that have sent more already (arg: the server). */
void tg_conn_on_resume(evutil_socket_t fd, short what, void *arg);

#endif
