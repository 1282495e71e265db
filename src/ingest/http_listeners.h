/* The sockets that the server accepts from: which there are, and whether they are watched now. */
#ifndef TG_INGEST_HTTP_LISTENERS_H
#define TG_INGEST_HTTP_LISTENERS_H

#include "ingest/http_state.h"

/* NULL: there is none for that fd. */
struct tg_http_listener *tg_http_listener_find(struct tg_http *h, int fd);
/* Watches the socket, or does not while the server is paused, full, starved or stopping. */
void tg_http_listener_apply(struct tg_http_listener *l);
void tg_http_listeners_apply(struct tg_http *h);
void tg_http_listener_free(struct tg_http *h, struct tg_http_listener *l);

#endif
