/* New connections. */
#ifndef TG_INGEST_HTTP_ACCEPT_H
#define TG_INGEST_HTTP_ACCEPT_H

#include "ingest/http_state.h"

/* Takes at most so many from the listener's queue. */
void tg_http_accept_some(struct tg_http_listener *l, unsigned most);

#endif
