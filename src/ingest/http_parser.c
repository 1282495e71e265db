/* Walk of a request: the head is scanned line by line as it arrives. When its empty line is there, llhttp
 * reads it in one go and the body's framing is decided. A body of known length is only waited for; a chunked
 * one is decoded in place. When the last byte came in a later call than the head, the head is simply read
 * again: that costs a microsecond for large requests and saves every waiting connection a table of headers.
 */
#include "ingest/http_parser.h"

#include "ingest/http_framing.h"
#include "ingest/http_head_read.h"

enum state { HEAD, BODY, CHUNKS };

void tg_http_parser_reset(struct tg_http_parser *p)
{
    memset(p, 0, sizeof *p);
}

static enum tg_http_parse read_head(const struct tg_http_parser *p, const char *data, size_t n,
                                    struct tg_http_msg *msg, struct tg_http_refusal *why)
{
    return tg_http_head_read(data + p->head.skipped, n - p->head.skipped, msg, why);
}

/* After a fault: the headers before it, within n bytes, so that the answer can name the right origin; of a
 * request line that is too long by itself its beginning, so that a pixel gets its picture. */
static enum tg_http_parse salvage(const struct tg_http_parser *p, const char *data, size_t n,
                                  struct tg_http_msg *msg)
{
    struct tg_http_refusal ignored;
    if (n > p->head.skipped)
        (void)read_head(p, data, n, msg, &ignored);
    return TG_HTTP_BAD;
}

/* Of an unfinished or faulty head of `visible` bytes, those that can be read. */
static size_t readable(const struct tg_http_parser *p, size_t visible)
{
    bool long_target = p->why.fault == TG_HTTP_HEAD_SIZE && tg_http_head_scan_in_first_line(&p->head);
    return long_target ? visible : p->head.line;
}

static enum tg_http_parse frame_body(struct tg_http_parser *p, const struct tg_http_msg *msg,
                                     size_t body_limit)
{
    struct tg_http_framing f;
    enum tg_http_parse rc = tg_http_framing(msg, body_limit, &f, &p->why);
    if (rc != TG_HTTP_DONE)
        return rc;
    p->state = f.chunked ? CHUNKS : BODY;
    p->length = f.length;
    p->expects_continue = f.expects_continue;
    return TG_HTTP_DONE;
}

static enum tg_http_parse parse_head(struct tg_http_parser *p, const char *data, size_t len,
                                     const struct tg_http_parse_limits *limits, struct tg_http_msg *msg)
{
    size_t visible = len < limits->head ? len : limits->head;
    enum tg_http_parse rc = tg_http_head_scan(&p->head, data, visible, &p->why);
    if (rc == TG_HTTP_MORE && len >= limits->head)
        rc = tg_http_refuse(&p->why, TG_HTTP_HEAD_SIZE, "the headers exceed the limit");
    if (rc == TG_HTTP_BAD)
        return salvage(p, data, readable(p, visible), msg);
    if (rc == TG_HTTP_DONE)
        rc = read_head(p, data, p->head.length, msg, &p->why);
    return rc == TG_HTTP_DONE ? frame_body(p, msg, limits->body) : rc;
}

static enum tg_http_parse parse_chunks(struct tg_http_parser *p, char *data, size_t *len,
                                       const struct tg_http_parse_limits *limits)
{
    size_t body_len = *len - p->head.length;
    enum tg_http_parse rc =
        tg_http_chunks_decode(&p->chunks, data + p->head.length, &body_len, limits, &p->why);
    *len = p->head.length + body_len;
    p->length = p->chunks.decoded;
    return rc;
}

static enum tg_http_parse parse_body(struct tg_http_parser *p, char *data, size_t *len,
                                     const struct tg_http_parse_limits *limits)
{
    if (p->state == CHUNKS)
        return parse_chunks(p, data, len, limits);
    return *len - p->head.length < p->length ? TG_HTTP_MORE : TG_HTTP_DONE;
}

enum tg_http_parse tg_http_parse(struct tg_http_parser *p, char *data, size_t *len,
                                 const struct tg_http_parse_limits *limits, struct tg_http_msg *msg)
{
    bool fresh = p->state == HEAD;
    tg_http_msg_clear(msg);
    if (fresh) {
        enum tg_http_parse rc = parse_head(p, data, *len, limits, msg);
        if (rc != TG_HTTP_DONE)
            return rc;
    }
    enum tg_http_parse rc = parse_body(p, data, len, limits);
    if (rc == TG_HTTP_BAD)
        return fresh ? rc : salvage(p, data, p->head.length, msg);
    if (rc == TG_HTTP_DONE && !fresh)
        (void)read_head(p, data, p->head.length, msg, &p->why);
    if (rc == TG_HTTP_DONE) {
        msg->body = tg_str_n(data + p->head.length, (size_t)p->length);
        msg->consumed = p->head.length + (size_t)p->length;
    }
    return rc;
}

size_t tg_http_expected(const struct tg_http_parser *p)
{
    return p->state == BODY ? p->head.length + (size_t)p->length : 0;
}
