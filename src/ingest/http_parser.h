/* HTTP/1.x requests out of bytes, without sockets: fed by http_read.c, by unit tests and by the fuzzer.
 *
 * The caller keeps all bytes of the request that is arriving in one buffer, calls tg_http_parse after every
 * read, and removes msg->consumed bytes when a request is complete. Only a few counters live between calls;
 * spans are made when the request is whole, so that the buffer may move while it grows.
 *
 * llhttp judges the request line and the header grammar (http_head_read.h). What it lets pass and what
 * servers in a chain could read differently (request smuggling) is refused by http_head_scan.h,
 * http_framing.h and http_chunks.h. The answer is 400 and the connection ends. */
#ifndef TG_INGEST_HTTP_PARSER_H
#define TG_INGEST_HTTP_PARSER_H

#include "ingest/http_chunks.h"
#include "ingest/http_head_scan.h"
#include "ingest/http_msg.h"

/* What is remembered of the request that is arriving. All zero is the start. */
struct tg_http_parser {
    uint8_t state;
    bool expects_continue; /* set once the head is read and a body is still to come: "100 Continue" is wanted
                            */
    struct tg_http_refusal why; /* of TG_HTTP_BAD */
    struct tg_http_head_scan head;
    uint64_t length; /* of the body, when its head says so */
    struct tg_http_chunks chunks;
};

void tg_http_parser_reset(struct tg_http_parser *p);

/* Looks at data[0..*len), which begins at the first byte of the request. Chunked bodies are decoded in place,
 * which may shorten *len. Bytes behind a complete request stay for the next one. */
enum tg_http_parse tg_http_parse(struct tg_http_parser *p, char *data, size_t *len,
                                 const struct tg_http_parse_limits *limits, struct tg_http_msg *msg);

/* How long the whole request will be, when the head said so; 0 when not known (yet). */
size_t tg_http_expected(const struct tg_http_parser *p);

#endif
