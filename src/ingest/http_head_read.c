#include "ingest/http_head_read.h"

#include <llhttp.h>

struct collector {
    struct tg_http_msg *msg;
    struct tg_str url;
    bool too_many;
    bool complete;
};

static void extend(struct tg_str *s, const char *at, size_t n)
{
    if (s->p)
        s->n = (size_t)(at + n - s->p);
    else
        *s = tg_str_n(at, n);
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    extend(&((struct collector *)parser->data)->url, at, n);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct collector *c = parser->data;
    if (c->msg->n_headers == TG_HTTP_MAX_HEADERS) {
        c->too_many = true;
        return -1;
    }
    c->msg->headers[c->msg->n_headers++] = (struct tg_http_header){tg_str_n(at, n), {NULL, 0}};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct collector *c = parser->data;
    if (c->msg->n_headers)
        extend(&c->msg->headers[c->msg->n_headers - 1].value, at, n);
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    ((struct collector *)parser->data)->complete = true;
    return HPE_PAUSED; /* bodies are ours */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

static enum tg_http_method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return TG_HTTP_GET;
    case HTTP_HEAD:
        return TG_HTTP_HEAD;
    case HTTP_POST:
        return TG_HTTP_POST;
    case HTTP_OPTIONS:
        return TG_HTTP_OPTIONS;
    default:
        return TG_HTTP_OTHER;
    }
}

static bool is_absolute(struct tg_str url)
{
    return (url.n > 7 && strncasecmp(url.p, "http://", 7) == 0) ||
           (url.n > 8 && strncasecmp(url.p, "https://", 8) == 0);
}

/* Takes scheme and host off. */
static struct tg_str without_authority(struct tg_str url)
{
    const char *end = url.p + url.n, *at = (const char *)memchr(url.p, ':', url.n) + 3;
    while (at < end && *at != '/' && *at != '?' && *at != '#')
        at++;
    return tg_str_n(at, (size_t)(end - at));
}

/* Target in origin or absolute form, cut into path and query. */
static void split_url(struct tg_http_msg *msg, struct tg_str url)
{
    bool absolute = is_absolute(url);
    if (absolute)
        url = without_authority(url);
    const char *hash = url.n ? memchr(url.p, '#', url.n) : NULL;
    if (hash)
        url.n = (size_t)(hash - url.p);
    const char *mark = url.n ? memchr(url.p, '?', url.n) : NULL;
    msg->path = mark ? tg_str_n(url.p, (size_t)(mark - url.p)) : url;
    msg->query = mark ? tg_str_n(mark + 1, (size_t)(url.p + url.n - mark - 1)) : tg_str_n(NULL, 0);
    if (absolute && msg->path.n == 0)
        msg->path = TG_STR("/");
}

enum tg_http_parse tg_http_head_read(const char *data, size_t n, struct tg_http_msg *msg,
                                     struct tg_http_refusal *why)
{
    struct collector c = {.msg = msg};
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &c;
    (void)llhttp_execute(&parser, data, n);
    msg->method = method_of(parser.method);
    msg->method_name = llhttp_method_name(parser.method);
    for (size_t i = 0; i < msg->n_headers; i++)
        msg->headers[i].value = tg_str_trim(msg->headers[i].value);
    split_url(msg, c.url);
    if (c.too_many)
        return tg_http_refuse(why, TG_HTTP_HEAD_SIZE, "too many headers");
    if (!c.complete)
        return tg_http_refuse(why, TG_HTTP_MALFORMED,
                              parser.reason ? parser.reason : "the head does not parse");
    if (parser.http_major != 1 || parser.http_minor > 1)
        return tg_http_refuse(why, TG_HTTP_MALFORMED, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    msg->http10 = parser.http_minor == 0;
    msg->keep_alive = llhttp_should_keep_alive(&parser);
    return TG_HTTP_DONE;
}
