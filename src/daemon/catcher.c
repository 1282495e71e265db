#include "daemon/catcher.h"

#include "base/clock.h"
#include "base/gzip.h"
#include "base/mem.h"
#include "daemon/sockets.h"

#include <event2/event.h>
#include <strings.h>
#include <unistd.h>

enum {
    MAX_HEAD = 64 * 1024,
    MAX_BODY = 64 * 1024 * 1024,
    MAX_BUFFER = 256 * 1024 * 1024,
    MAX_CONNECTIONS = 1000,
    TIMEOUT_MS = 60000,
};

struct tg_catcher {
    struct event_base *base;
    struct tg_http *http;
    int fd;
    struct tg_catcher_options options;
    struct tg_buf headers; /* of every answer, as they are sent */
    char address[TG_ADDRESS_MAX];
    unsigned count;
};

struct later { /* an answer that waits for its delay */
    struct tg_catcher *catcher;
    struct tg_http_req *req;
    int status;
};

/* --- answers --- */

static void answer(struct tg_catcher *c, struct tg_http_req *req, int status)
{
    const char *body = status == 204 ? "" : c->options.body ? c->options.body : "{}";
    const struct tg_http_reply reply = {
        .status = status,
        .content_type = "application/json",
        .headers = tg_buf_str(&c->headers),
        .body = tg_str_of(body),
    };
    tg_http_reply(req, &reply);
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
    struct later *l = arg;
    (void)fd;
    (void)what;
    answer(l->catcher, l->req, l->status);
    tg_free(l);
}

static void answer_in_time(struct tg_catcher *c, struct tg_http_req *req, int status)
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

/* --- requests --- */

/* The body as it was before compression; as it came when it does not decompress. */
static int plain_body(const struct tg_http_msg *msg, struct tg_buf *out)
{
    struct tg_str encoding = tg_http_header(msg, "Content-Encoding");
    if (encoding.n == 4 && strncasecmp(encoding.p, "gzip", 4) == 0) {
        struct tg_inflate *z = NULL;
        int rc = tg_inflate_new(&z, false);
        if (!rc)
            rc = tg_inflate_feed(z, msg->body, out, NULL);
        tg_inflate_free(&z);
        if (!rc)
            return TG_OK;
        tg_buf_clear(out);
    }
    return tg_buf_addstr(out, msg->body);
}

static void on_request(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct tg_catcher *c = arg;
    struct tg_buf body = TG_BUF_INIT(MAX_BODY);
    size_t turn = c->count++;
    struct tg_caught caught = {.number = c->count, .at = tg_wall_ms(), .msg = msg, .status = 200};
    if (c->options.n_statuses)
        caught.status = c->options.statuses[turn < c->options.n_statuses ? turn : c->options.n_statuses - 1];
    if (plain_body(msg, &body) == TG_OK)
        caught.body = tg_buf_str(&body);
    if (c->options.caught)
        c->options.caught(c->options.arg, &caught);
    tg_buf_fini(&body);
    answer_in_time(c, req, caught.status);
}

static void on_refused(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg,
                       enum tg_http_fault fault, const char *reason)
{
    const struct tg_http_reply reply = {
        .status = 400, .content_type = "text/plain; charset=utf-8", .body = tg_str_of(reason)};
    (void)arg;
    (void)msg;
    (void)fault;
    tg_http_reply(req, &reply);
}

/* --- birth and end --- */

static int add_headers(struct tg_catcher *c)
{
    int rc = TG_OK;
    for (size_t i = 0; !rc && i < c->options.n_headers; i++)
        rc =
            tg_buf_printf(&c->headers, "%s: %s\r\n", c->options.headers[i].name, c->options.headers[i].value);
    return rc;
}

static int open_http(struct tg_catcher *c, struct tg_err *err)
{
    static const struct tg_http_limits limits = {
        .head_bytes = MAX_HEAD,
        .body_bytes = MAX_BODY,
        .buffer_bytes = MAX_BUFFER,
        .request_timeout_ms = TIMEOUT_MS,
        .idle_timeout_ms = TIMEOUT_MS,
        .connections = MAX_CONNECTIONS,
    };
    const struct tg_http_handler handler = {c, on_request, on_refused};
    int rc = tg_http_new(&c->http, c->base, &limits, &handler, NULL, err);
    return rc ? rc : tg_http_accept_for(c->http, c->fd, NULL, err);
}

int tg_catcher_new(struct event_base *base, const struct tg_catcher_options *options, struct tg_catcher **out,
                   struct tg_err *err)
{
    struct tg_catcher *c = tg_calloc(1, sizeof *c);
    if (!c)
        return tg_fail(err, TG_NOMEM, "out of memory");
    *c = (struct tg_catcher){.base = base, .fd = -1, .options = *options};
    tg_buf_init(&c->headers, MAX_HEAD);
    int rc = add_headers(c);
    if (rc)
        rc = tg_fail(err, rc, "the headers are too long");
    if (!rc)
        rc = tg_listen(options->address, &c->fd, 1, c->address, err);
    if (!rc)
        rc = open_http(c, err);
    if (rc)
        tg_catcher_free(&c);
    *out = c;
    return rc;
}

void tg_catcher_free(struct tg_catcher **catcher)
{
    struct tg_catcher *c = *catcher;
    if (!c)
        return;
    *catcher = NULL;
    tg_http_free(&c->http);
    if (c->fd >= 0)
        (void)close(c->fd);
    tg_buf_fini(&c->headers);
    tg_free(c);
}

const char *tg_catcher_address(const struct tg_catcher *catcher)
{
    return catcher->address;
}
