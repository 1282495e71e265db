/* Whatever the bytes and the pieces in which they arrive: the parser says the same, stays inside its buffer,
 * lets no control character through, and what is built on its spans (routes, keys, CORS, addresses, pixels)
 * takes them. */
#include "base/buf.h"
#include "base/json.h"
#include "ingest/client_ip.h"
#include "ingest/cors.h"
#include "ingest/http_parser.h"
#include "ingest/pixel.h"
#include "ingest/routes.h"
#include "ingest/write_key.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_REQUESTS = 64 };

static const struct tg_http_parse_limits limits = {.head = 512, .body = 256};

/* assert() may be compiled out, and the order matters here. */
static void must(int condition)
{
    if (!condition)
        abort();
}

/* What one way of feeding gave. */
struct outcome {
    struct tg_buf log; /* method, path, query, headers, body of each request */
    enum tg_http_parse last;
    enum tg_http_fault fault;
};

static void must_be_inside(struct tg_str s, const struct tg_buf *b)
{
    must(s.n == 0 || (s.p >= b->data && s.p + s.n <= b->data + b->len));
}

static void must_be_clean(struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++)
        must(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != '\0');
}

static void note(struct tg_buf *log, struct tg_str s)
{
    must(tg_buf_printf(log, "%zu:", s.n) == TG_OK && tg_buf_addstr(log, s) == TG_OK);
}

static void use_pixel(const struct tg_http_msg *msg)
{
    struct tg_buf out = TG_BUF_INIT(1 << 20);
    bool coded = memmem(msg->query.p ? msg->query.p : "", msg->query.n, "data", 4) != NULL;
    if (tg_pixel_event(&out, msg->query) == TG_OK && !coded)
        must(tg_json_validate(tg_buf_str(&out), TG_PIXEL_MAX_DEPTH + 1, NULL, NULL) == TG_OK);
    tg_buf_fini(&out);
}

static void use(const struct tg_http_msg *msg)
{
    struct tg_buf scratch = TG_BUF_INIT(1 << 16), lines = TG_BUF_INIT(1 << 16);
    struct tg_str key;
    (void)tg_route_find(msg->path);
    must(tg_write_key_of(msg, &scratch, &key) != TG_NOMEM);
    must(tg_cors_preflight(&lines, msg) == TG_OK);
    struct sockaddr_in peer = {.sin_family = AF_INET};
    const struct tg_cidr everybody = {.bits = 0};
    struct tg_client_ip ip = tg_client_ip((struct sockaddr *)&peer, msg, (struct tg_cidrs){&everybody, 1});
    must(memchr(ip.text, '\0', sizeof ip.text) != NULL && ip.text[0]);
    tg_buf_fini(&scratch);
    tg_buf_fini(&lines);
    use_pixel(msg);
}

static void check(struct outcome *o, const struct tg_buf *b, const struct tg_http_msg *msg)
{
    must(msg->consumed <= b->len && msg->body.n <= limits.body && msg->n_headers <= TG_HTTP_MAX_HEADERS);
    if (!tg_str_is(msg->path, "/"))
        must_be_inside(msg->path, b);
    must_be_inside(msg->query, b);
    must_be_inside(msg->body, b);
    must_be_clean(msg->path);
    must_be_clean(msg->query);
    must(tg_buf_printf(&o->log, "%d %d %d ", (int)msg->method, msg->keep_alive, msg->http10) == TG_OK);
    note(&o->log, msg->path);
    note(&o->log, msg->query);
    for (size_t i = 0; i < msg->n_headers; i++) {
        must_be_inside(msg->headers[i].name, b);
        must_be_inside(msg->headers[i].value, b);
        must_be_clean(msg->headers[i].name);
        must_be_clean(msg->headers[i].value);
        must(msg->headers[i].name.n > 0);
        note(&o->log, msg->headers[i].name);
        note(&o->log, msg->headers[i].value);
    }
    note(&o->log, msg->body);
    use(msg);
}

/* Feeds the text in pieces of `step` bytes, as a connection would. */
static struct outcome feed(struct tg_str text, size_t step)
{
    struct outcome o = {.log = TG_BUF_INIT(1 << 24), .last = TG_HTTP_MORE};
    struct tg_buf b = TG_BUF_INIT(text.n + 1);
    struct tg_http_parser parser;
    static struct tg_http_msg msg;
    tg_http_parser_reset(&parser);
    unsigned requests = 0;
    for (size_t at = 0; at < text.n && o.last != TG_HTTP_BAD; at += step) {
        must(tg_buf_add(&b, text.p + at, text.n - at < step ? text.n - at : step) == TG_OK);
        while (b.len && requests < MOST_REQUESTS) {
            o.last = tg_http_parse(&parser, b.data, &b.len, &limits, &msg);
            if (o.last != TG_HTTP_DONE)
                break;
            check(&o, &b, &msg);
            tg_buf_consume(&b, msg.consumed);
            tg_http_parser_reset(&parser);
            requests++;
        }
    }
    if (o.last == TG_HTTP_BAD) {
        must(parser.why.reason != NULL);
        o.fault = parser.why.fault;
    }
    tg_buf_fini(&b);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct tg_str text = tg_str_n((const char *)data + 1, size - 1);
    struct outcome whole = feed(text, text.n), pieces = feed(text, 1 + data[0] % 16);
    must(whole.last == pieces.last && whole.fault == pieces.fault);
    must(tg_str_eq(tg_buf_str(&whole.log), tg_buf_str(&pieces.log)));
    tg_buf_fini(&whole.log);
    tg_buf_fini(&pieces.log);
    return 0;
}
