/* HTTP/1.x requests out of bytes, without sockets: fed by http_server.c, by unit tests and by the fuzzer.
 *
 * The caller keeps all bytes of the request that is arriving in one buffer, calls tg_http_parse after every
 * read, and removes msg->consumed bytes when a request is complete. Only a few counters live between calls;
 * spans are made when the request is whole, so that the buffer may move while it grows.
 *
 * llhttp judges the request line and the header grammar. What it lets pass and what servers in a chain could
 * read differently (request smuggling) is refused here: bare CR or LF, NUL and other control characters,
 * continued header lines, white space before the colon, more than one Content-Length, Content-Length beside
 * Transfer-Encoding, any transfer coding but "chunked", sloppy chunk sizes. The answer is 400 and the
 * connection ends. */
#ifndef TG_INGEST_HTTP_PARSER_H
#define TG_INGEST_HTTP_PARSER_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

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

struct tg_http_parse_limits {
    size_t head; /* request line and headers, bytes */
    size_t body; /* bytes */
};

enum tg_http_parse {
    TG_HTTP_MORE, /* feed more bytes */
    TG_HTTP_DONE, /* msg is complete */
    TG_HTTP_BAD /* fault says why; answer and close. msg has the headers when they were readable, else none */
};

/* Why a request was refused. */
enum tg_http_fault {
    TG_HTTP_MALFORMED, /* 400 */
    TG_HTTP_HEAD_SIZE, /* 431 */
    TG_HTTP_BODY_SIZE, /* 400: senders drop on 400, some repeat a 413 (ingest contract, section 7) */
    TG_HTTP_CROWDED    /* 503: no memory for the body; never set by the parser itself */
};

/* What is remembered of the request that is arriving. All zero is the start. */
struct tg_http_parser {
    uint8_t state;
    uint8_t chunk_state;
    uint8_t size_digits;   /* of the chunk size being read */
    bool expects_continue; /* set once the head is read and a body is still to come: "100 Continue" is wanted
                            */
    enum tg_http_fault fault;
    const char *reason; /* of the fault, for the person who reads the answer */
    size_t scanned;     /* bytes of the head, later of the buffer, looked at */
    size_t line;        /* where the head line being scanned begins */
    size_t skipped;     /* empty line before the request line */
    size_t head_len;    /* with `skipped` and the final empty line */
    size_t body_len;    /* decoded bytes, directly behind the head */
    uint64_t left;      /* bytes to come of the body (Content-Length) or of the chunk */
    size_t framing;     /* bytes of chunk lines and trailers so far */
};

void tg_http_parser_reset(struct tg_http_parser *p);

/* Looks at data[0..*len), which begins at the first byte of the request. Chunked bodies are decoded in place,
 * which may shorten *len. Bytes behind a complete request stay for the next one. */
enum tg_http_parse tg_http_parse(struct tg_http_parser *p, char *data, size_t *len,
                                 const struct tg_http_parse_limits *limits, struct tg_http_msg *msg);

/* How long the whole request will be, when the head said so; 0 when not known (yet). */
size_t tg_http_expected(const struct tg_http_parser *p);

/* The first header of that name (any case); an empty span when absent. */
struct tg_str tg_http_header(const struct tg_http_msg *msg, const char *name);

#endif
