/* Why a request is refused before it is one, and the rules for bytes that several parts of the parser share.
 */
#ifndef TG_INGEST_HTTP_FAULT_H
#define TG_INGEST_HTTP_FAULT_H

#include <stdbool.h>
#include <stddef.h>

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

struct tg_http_refusal {
    enum tg_http_fault fault;
    const char *reason; /* for the person who reads the answer */
};

/* Says why; TG_HTTP_BAD, so that it can be returned. */
static inline enum tg_http_parse tg_http_refuse(struct tg_http_refusal *r, enum tg_http_fault fault,
                                                const char *reason)
{
    *r = (struct tg_http_refusal){fault, reason};
    return TG_HTTP_BAD;
}

/* Control characters but tab. */
static inline bool tg_http_is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* RFC 9110 token characters. */
extern const bool tg_http_token_char[256];
static inline bool tg_http_is_token(unsigned char c)
{
    return tg_http_token_char[c];
}

#endif
