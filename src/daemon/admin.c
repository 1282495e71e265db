/* Served by the relay's own HTTP server: evhttp of libevent 2.1 has no limit on connections. */
#include "daemon/admin.h"

#include "base/digest.h"
#include "base/mem.h"
#include "daemon/board_status.h"
#include "ingest/http_server.h"

#include <strings.h>

enum {
    MAX_ANSWER = 64 * 1024 * 1024,
    TIMEOUT_MS = 10000,
    MAX_HEAD = 8192,
    MAX_BODY = 1024,
    MAX_BUFFER = 1024 * 1024,
    /* So that whoever opens connections here and leaves them takes no descriptors from the senders' door. */
    MAX_CONNECTIONS = 64,
};

struct tg_admin {
    struct tg_http *http;
    char *token;
    struct tg_board *board;
    struct tg_metrics *metrics;
};

static void answer(struct tg_http_req *req, int status, const char *type, struct tg_str body)
{
    const struct tg_http_reply reply = {
        .status = status,
        .content_type = type,
        .headers = TG_STR("Cache-Control: no-store\r\n"),
        .body = body,
    };
    tg_http_reply(req, &reply);
}

static void plain(struct tg_http_req *req, int status, const char *text)
{
    answer(req, status, "text/plain; charset=utf-8", tg_str_of(text));
}

static bool allowed(const struct tg_admin *a, const struct tg_http_msg *msg)
{
    static const char scheme[] = "Bearer ";
    const size_t n = sizeof scheme - 1;
    if (!a->token || !*a->token)
        return true;
    struct tg_str given = tg_http_header(msg, "Authorization");
    return given.n >= n && strncasecmp(given.p, scheme, n) == 0 &&
           tg_equal_secret(tg_str_n(given.p + n, given.n - n), tg_str_of(a->token));
}

static void serve_ready(struct tg_admin *a, struct tg_http_req *req)
{
    char why[TG_BOARD_WHY_MAX + 32] = "";
    if (tg_board_ready(a->board, why, sizeof why)) {
        plain(req, 200, "ready\n");
        return;
    }
    struct tg_buf text = TG_BUF_INIT(TG_BOARD_WHY_MAX + 64);
    if (tg_buf_printf(&text, "not ready: %s\n", why))
        tg_buf_clear(&text);
    answer(req, 503, "text/plain; charset=utf-8", tg_buf_str(&text));
    tg_buf_fini(&text);
}

static void serve_text(struct tg_http_req *req, int rc, struct tg_buf *text, const char *type)
{
    if (rc)
        plain(req, 500, "out of memory\n");
    else
        answer(req, 200, type, tg_buf_str(text));
    tg_buf_fini(text);
}

static void on_request(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg)
{
    struct tg_admin *a = arg;
    struct tg_buf text = TG_BUF_INIT(MAX_ANSWER);
    if (msg->method != TG_HTTP_GET && msg->method != TG_HTTP_HEAD)
        plain(req, 405, "there are only GET and HEAD here\n");
    else if (!allowed(a, msg))
        plain(req, 401, "the admin token is missing or wrong: send Authorization: Bearer <admin_token>\n");
    else if (tg_str_is(msg->path, "/healthz"))
        plain(req, 200, "ok\n");
    else if (tg_str_is(msg->path, "/readyz"))
        serve_ready(a, req);
    else if (tg_str_is(msg->path, "/metrics"))
        serve_text(req, tg_metrics_render(a->metrics, &text), &text,
                   "text/plain; version=0.0.4; charset=utf-8");
    else if (tg_str_is(msg->path, "/status"))
        serve_text(req, tg_board_status(a->board, a->metrics, &text), &text, "application/json");
    else
        plain(req, 404, "there are /healthz, /readyz, /metrics and /status\n");
}

static void on_refused(void *arg, struct tg_http_req *req, const struct tg_http_msg *msg,
                       enum tg_http_fault fault, const char *reason)
{
    (void)arg;
    (void)msg;
    plain(req, fault == TG_HTTP_HEAD_SIZE ? 431 : fault == TG_HTTP_CROWDED ? 503 : 400, reason);
}

int tg_admin_new(struct event_base *base, int fd, const char *token, struct tg_board *board,
                 struct tg_metrics *metrics, struct tg_admin **out, struct tg_err *err)
{
    static const struct tg_http_limits limits = {
        .head_bytes = MAX_HEAD,
        .body_bytes = MAX_BODY,
        .buffer_bytes = MAX_BUFFER,
        .request_timeout_ms = TIMEOUT_MS,
        .idle_timeout_ms = TIMEOUT_MS,
        .connections = MAX_CONNECTIONS,
    };
    struct tg_admin *a = tg_calloc(1, sizeof *a);
    if (!a)
        return tg_fail(err, TG_NOMEM, "admin listener: out of memory");
    a->board = board;
    a->metrics = metrics;
    a->token = token ? tg_strdup(token) : NULL;
    const struct tg_http_handler handler = {a, on_request, on_refused};
    int rc = token && !a->token ? tg_fail(err, TG_NOMEM, "out of memory") : TG_OK;
    if (!rc)
        rc = tg_http_new(&a->http, base, &limits, &handler, NULL, err);
    if (!rc)
        rc = tg_http_accept_for(a->http, fd, NULL, err);
    if (rc) {
        tg_admin_free(&a);
        return tg_err_prefix(err, "admin listener");
    }
    *out = a;
    return TG_OK;
}

int tg_admin_set_token(struct tg_admin *a, const char *token)
{
    char *copy = tg_strdup(token);
    if (!copy)
        return TG_NOMEM;
    tg_free(a->token);
    a->token = copy;
    return TG_OK;
}

void tg_admin_free(struct tg_admin **admin)
{
    struct tg_admin *a = *admin;
    if (!a)
        return;
    *admin = NULL;
    tg_http_free(&a->http);
    tg_free(a->token);
    tg_free(a);
}
