/* A request of HTTP/1.x as its handlers see it. */
#ifndef TG_INGEST_HTTP_MSG_H
#define TG_INGEST_HTTP_MSG_H

#include "base/str.h"

#include <stdbool.h>

enum tg_http_method { TG_HTTP_GET, TG_HTTP_HEAD, TG_HTTP_POST, TG_HTTP_OPTIONS, TG_HTTP_OTHER };

struct tg_http_header {
    struct tg_str name, value; /* value without white space around it */
};

enum { TG_HTTP_MAX_HEADERS = 100 };

/* A request; spans point into the caller's buffer (a path that the target leaves out is a literal "/"). */
struct tg_http_msg {
    enum tg_http_method method;
    const char *method_name; /* as sent; never freed */
    struct tg_str path;      /* raw, begins with '/' (or is "*") */
    struct tg_str query;     /* raw, without '?' */
    struct tg_str body;      /* whole, de-chunked; content codings still on */
    bool keep_alive;
    bool http10;
    size_t consumed; /* bytes of the buffer that belong to this request */
    size_t n_headers;
    struct tg_http_header headers[TG_HTTP_MAX_HEADERS];
};

/* Without headers, of no known method. */
void tg_http_msg_clear(struct tg_http_msg *msg);

/* The first header of that name (any case); an empty span when absent. */
struct tg_str tg_http_header(const struct tg_http_msg *msg, const char *name);

#endif
