/* The URL by which browsers reach the relay, where the operator says so. */
#ifndef TG_INGEST_PUBLIC_URL_H
#define TG_INGEST_PUBLIC_URL_H

#include "base/buf.h"

#include <stdbool.h>

struct tg_public_url {
    struct tg_buf base; /* host, port and path without a slash at the end; empty: none is set */
    bool https;
};

void tg_public_url_init(struct tg_public_url *u);
void tg_public_url_fini(struct tg_public_url *u);
/* Copies an http or https URL; NULL: none. On failure (TG_INVALID, TG_NOMEM) the old one stays. */
TG_MUST_CHECK int tg_public_url_set(struct tg_public_url *u, const char *url, struct tg_err *err);

#endif
