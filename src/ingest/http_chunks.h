/* A chunked body, decoded in place by a byte-wise machine that knows no lenience. */
#ifndef TG_INGEST_HTTP_CHUNKS_H
#define TG_INGEST_HTTP_CHUNKS_H

#include "ingest/http_fault.h"

#include <stdint.h>

struct tg_http_parse_limits {
    size_t head; /* request line and headers, bytes */
    size_t body; /* bytes */
};

/* All zero is the start. */
struct tg_http_chunks {
    uint8_t state;
    uint8_t size_digits; /* of the chunk size being read */
    size_t decoded;      /* bytes of the body so far */
    size_t framing; /* bytes of chunk extensions and trailers so far; the limit of the head holds for them */
    uint64_t left;  /* bytes to come of the chunk */
};

/* body[0..*len) is what was decoded before and what has arrived since; afterwards what is decoded now and
 * what came behind it, which may shorten *len. TG_HTTP_DONE: the body is whole. */
enum tg_http_parse tg_http_chunks_decode(struct tg_http_chunks *c, char *body, size_t *len,
                                         const struct tg_http_parse_limits *limits,
                                         struct tg_http_refusal *why);

#endif
