#include "ingest/http_chunks.h"

#include <string.h>

enum chunk_state {
    SIZE_FIRST,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST,
    TRAILER,
    TRAILER_LF,
    END_LF
};

enum { MAX_SIZE_DIGITS = 8 };

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void chunk_begin(struct tg_http_chunks *k)
{
    k->state = SIZE_FIRST;
    k->left = 0;
    k->size_digits = 0;
}

static enum tg_http_parse size_byte(struct tg_http_chunks *k, unsigned char c, struct tg_http_refusal *why)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++k->size_digits > MAX_SIZE_DIGITS)
            return tg_http_refuse(why, TG_HTTP_MALFORMED, "a chunk size has too many digits");
        k->left = k->left * 16 + (uint64_t)digit;
        k->state = SIZE;
        return TG_HTTP_MORE;
    }
    if (k->state == SIZE_FIRST || (c != '\r' && c != ';'))
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a chunk size is not a hexadecimal number");
    k->state = c == '\r' ? SIZE_LF : EXTENSION;
    return TG_HTTP_MORE;
}

/* A byte of a chunk extension or a trailer: dropped, but counted and checked. */
static enum tg_http_parse dropped_byte(struct tg_http_chunks *k, unsigned char c, uint8_t at_cr, size_t limit,
                                       struct tg_http_refusal *why)
{
    if (c == '\r') {
        k->state = at_cr;
        return TG_HTTP_MORE;
    }
    if (tg_http_is_control(c))
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a control character between chunks");
    if (++k->framing > limit)
        return tg_http_refuse(why, TG_HTTP_HEAD_SIZE, "chunk extensions and trailers exceed the limit");
    return TG_HTTP_MORE;
}

static enum tg_http_parse size_ended(struct tg_http_chunks *k, size_t body_limit, struct tg_http_refusal *why)
{
    if (k->left == 0) {
        k->state = TRAILER_FIRST;
        return TG_HTTP_MORE;
    }
    /* The limit may have been lowered since the body began. */
    if (k->decoded > body_limit || k->left > body_limit - k->decoded)
        return tg_http_refuse(why, TG_HTTP_BODY_SIZE, "the body exceeds the limit");
    k->state = DATA;
    return TG_HTTP_MORE;
}

static enum tg_http_parse trailer_first(struct tg_http_chunks *k, unsigned char c, size_t limit,
                                        struct tg_http_refusal *why)
{
    if (c == '\r') {
        k->state = END_LF;
        return TG_HTTP_MORE;
    }
    if (!tg_http_is_token(c))
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a trailer line has no name");
    k->state = TRAILER;
    return dropped_byte(k, c, TRAILER_LF, limit, why);
}

/* One byte outside chunk data. TG_HTTP_DONE: it was the last of the request. */
static enum tg_http_parse chunk_byte(struct tg_http_chunks *k, unsigned char c,
                                     const struct tg_http_parse_limits *limits, struct tg_http_refusal *why)
{
    bool wants_lf =
        k->state == SIZE_LF || k->state == DATA_LF || k->state == TRAILER_LF || k->state == END_LF;
    if (c != '\n' && wants_lf)
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "a CR without LF between chunks");
    switch (k->state) {
    case SIZE_FIRST:
    case SIZE:
        return size_byte(k, c, why);
    case EXTENSION:
        return dropped_byte(k, c, SIZE_LF, limits->head, why);
    case SIZE_LF:
        return size_ended(k, limits->body, why);
    case DATA_CR:
        if (c != '\r')
            return tg_http_refuse(why, TG_HTTP_MALFORMED, "a chunk is longer than its size");
        k->state = DATA_LF;
        return TG_HTTP_MORE;
    case DATA_LF:
        chunk_begin(k);
        return TG_HTTP_MORE;
    case TRAILER_FIRST:
        return trailer_first(k, c, limits->head, why);
    case TRAILER:
        return dropped_byte(k, c, TRAILER_LF, limits->head, why);
    case TRAILER_LF:
        k->state = TRAILER_FIRST;
        return TG_HTTP_MORE;
    default: /* END_LF */
        return TG_HTTP_DONE;
    }
}

enum tg_http_parse tg_http_chunks_decode(struct tg_http_chunks *k, char *body, size_t *len,
                                         const struct tg_http_parse_limits *limits,
                                         struct tg_http_refusal *why)
{
    size_t r = k->decoded;
    enum tg_http_parse rc = TG_HTTP_MORE;
    while (rc == TG_HTTP_MORE && r < *len) {
        if (k->state != DATA) {
            rc = chunk_byte(k, (unsigned char)body[r++], limits, why);
            continue;
        }
        size_t n = *len - r < k->left ? *len - r : (size_t)k->left;
        memmove(body + k->decoded, body + r, n);
        r += n;
        k->decoded += n;
        k->left -= n;
        if (k->left == 0)
            k->state = DATA_CR;
    }
    memmove(body + k->decoded, body + r, *len - r);
    *len -= r - k->decoded;
    return rc;
}
