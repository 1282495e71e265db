/* The status line and the headers of an answer, as bytes. */
#ifndef TG_INGEST_HTTP_REPLY_HEAD_H
#define TG_INGEST_HTTP_REPLY_HEAD_H

#include "base/buf.h"
#include "ingest/http_server.h"

/* The header `Date`, written once a second. Begins with second = -1. */
struct tg_http_date {
    int64_t second;
    char text[48];
};

/* Adds everything up to the empty line. keep: the connection lives on; http10: the request was HTTP/1.0. */
TG_MUST_CHECK int tg_http_reply_head(struct tg_buf *out, struct tg_http_date *date,
                                     const struct tg_http_reply *r, bool keep, bool http10);

#endif
