#include "daemon/catcher.h"

#include "base/clock.h"
#include "base/gzip.h"
#include "base/mem.h"
#include "daemon/sockets.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <unistd.h>

enum { MAX_BODY = 64 * 1024 * 1024, MAX_HEADERS = 128 };

struct tg_catcher {
    struct event_base *base;
    struct evhttp *http;
    struct tg_catcher_options options;
    char address[TG_ADDRESS_MAX];
    unsigned count;
};

struct later { /* an answer that waits for its delay */
    struct tg_catcher *catcher;
    struct evhttp_request *req;
    int status;
};

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "OTHER";
    }
}

static void answer(struct tg_catcher *c, struct evhttp_request *req, int status)
{
    struct evbuffer *out = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    const char *body = c->options.body ? c->options.body : "{}";
    (void)evhttp_add_header(headers, "Content-Type", "application/json");
    for (size_t i = 0; i < c->options.n_headers; i++)
        (void)evhttp_add_header(headers, c->options.headers[i].name, c->options.headers[i].value);
    if (out && status != 204)
        (void)evbuffer_add(out, body, strlen(body));
    evhttp_send_reply(req, status, status < 300 ? "OK" : "As told", out);
    if (out)
        evbuffer_free(out);
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
    struct later *l = arg;
    (void)fd;
    (void)what;
    answer(l->catcher, l->req, l->status);
    tg_free(l);
}

static void answer_in_time(struct tg_catcher *c, struct evhttp_request *req, int status)
{
    struct later *l = c->options.delay_ms ? tg_malloc(sizeof *l) : NULL;
    const struct timeval delay = {c->options.delay_ms / 1000, (c->options.delay_ms % 1000) * 1000};
    if (l) {
        *l = (struct later){c, req, status};
        if (event_base_once(c->base, -1, EV_TIMEOUT, on_delay, l, &delay) == 0)
            return;
        tg_free(l);
    }
    answer(c, req, status);
}

static size_t copy_headers(struct evkeyvalq *from, struct tg_header *to)
{
    size_t n = 0;
    for (struct evkeyval *h = from->tqh_first; h && n < MAX_HEADERS; h = h->next.tqe_next)
        to[n++] = (struct tg_header){h->key, h->value};
    return n;
}

/* The body as it was before compression; as it came when it does not decompress. */
static int plain_body(struct evhttp_request *req, struct tg_buf *out)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t n = evbuffer_get_length(in);
    struct tg_str raw = {n ? (const char *)evbuffer_pullup(in, -1) : "", n};
    const char *encoding = evhttp_find_header(evhttp_request_get_input_headers(req), "Content-Encoding");
    if (!raw.p)
        return TG_NOMEM;
    if (encoding && strcasecmp(encoding, "gzip") == 0) {
        struct tg_inflate *z = NULL;
        int rc = tg_inflate_new(&z, false);
        if (!rc)
            rc = tg_inflate_feed(z, raw, out, NULL);
        tg_inflate_free(&z);
        if (!rc)
            return TG_OK;
        tg_buf_clear(out);
    }
    return tg_buf_addstr(out, raw);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct tg_catcher *c = arg;
    struct tg_header headers[MAX_HEADERS];
    struct tg_buf body = TG_BUF_INIT(MAX_BODY);
    size_t turn = c->count++;
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");
    struct tg_caught caught = {
        .number = c->count,
        .at = tg_wall_ms(),
        .method = method_name(evhttp_request_get_command(req)),
        .target = evhttp_request_get_uri(req),
        .host = host ? host : "",
        .headers = headers,
        .n_headers = copy_headers(evhttp_request_get_input_headers(req), headers),
        .status = 200,
    };
    if (c->options.n_statuses)
        caught.status = c->options.statuses[turn < c->options.n_statuses ? turn : c->options.n_statuses - 1];
    if (plain_body(req, &body) == TG_OK)
        caught.body = tg_buf_str(&body);
    if (c->options.caught)
        c->options.caught(c->options.arg, &caught);
    tg_buf_fini(&body);
    answer_in_time(c, req, caught.status);
}

int tg_catcher_new(struct event_base *base, const struct tg_catcher_options *options, struct tg_catcher **out,
                   struct tg_err *err)
{
    int fd = -1;
    struct tg_catcher *c = tg_calloc(1, sizeof *c);
    if (!c)
        return tg_fail(err, TG_NOMEM, "out of memory");
    c->base = base;
    c->options = *options;
    int rc = tg_listen(options->address, &fd, 1, c->address, err);
    if (rc) {
        tg_free(c);
        return rc;
    }
    c->http = evhttp_new(base);
    if (!c->http || evhttp_accept_socket(c->http, fd) != 0) {
        (void)close(fd);
        tg_catcher_free(&c);
        return tg_fail(err, TG_NOMEM, "out of memory");
    }
    evhttp_set_allowed_methods(c->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH);
    evhttp_set_max_body_size(c->http, MAX_BODY);
    evhttp_set_gencb(c->http, on_request, c);
    *out = c;
    return TG_OK;
}

void tg_catcher_free(struct tg_catcher **catcher)
{
    struct tg_catcher *c = *catcher;
    if (!c)
        return;
    *catcher = NULL;
    if (c->http)
        evhttp_free(c->http);
    tg_free(c);
}

const char *tg_catcher_address(const struct tg_catcher *catcher)
{
    return catcher->address;
}
