#include "daemon/admin.h"

#include "base/digest.h"
#include "base/mem.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <fcntl.h>
#include <unistd.h>

enum { MAX_ANSWER = 64 * 1024 * 1024, TIMEOUT_S = 10, MAX_HEAD = 8192, MAX_BODY = 1024 };

struct tg_admin {
    struct evhttp *http;
    char *token;
    struct tg_board *board;
    struct tg_metrics *metrics;
};

static void answer(struct evhttp_request *req, int code, const char *reason, const char *type,
                   struct tg_str body)
{
    struct evbuffer *out = evbuffer_new();
    if (out && body.n)
        (void)evbuffer_add(out, body.p, body.n);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    (void)evhttp_add_header(headers, "Content-Type", type);
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_send_reply(req, code, reason, out);
    if (out)
        evbuffer_free(out);
}

static void plain(struct evhttp_request *req, int code, const char *reason, const char *text)
{
    answer(req, code, reason, "text/plain; charset=utf-8", tg_str_of(text));
}

static bool allowed(const struct tg_admin *a, struct evhttp_request *req)
{
    if (!a->token || !*a->token)
        return true;
    const char *given = evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization");
    return given && strncasecmp(given, "Bearer ", 7) == 0 &&
           tg_equal_secret(tg_str_of(given + 7), tg_str_of(a->token));
}

static void serve_ready(struct tg_admin *a, struct evhttp_request *req)
{
    char why[192] = "";
    if (tg_board_ready(a->board, why, sizeof why - 1)) {
        plain(req, 200, "OK", "ready\n");
        return;
    }
    struct tg_buf text = TG_BUF_INIT(256);
    if (tg_buf_printf(&text, "not ready: %s\n", why))
        tg_buf_clear(&text);
    answer(req, 503, "Service Unavailable", "text/plain; charset=utf-8", tg_buf_str(&text));
    tg_buf_fini(&text);
}

static void serve_text(struct evhttp_request *req, int rc, struct tg_buf *text, const char *type)
{
    if (rc)
        plain(req, 500, "Internal Server Error", "out of memory\n");
    else
        answer(req, 200, "OK", type, tg_buf_str(text));
    tg_buf_fini(text);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct tg_admin *a = arg;
    struct tg_buf text = TG_BUF_INIT(MAX_ANSWER);
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
    path = path ? path : "";
    if (!allowed(a, req))
        plain(req, 401, "Unauthorized",
              "the admin token is missing or wrong: send Authorization: Bearer <admin_token>\n");
    else if (strcmp(path, "/healthz") == 0)
        plain(req, 200, "OK", "ok\n");
    else if (strcmp(path, "/readyz") == 0)
        serve_ready(a, req);
    else if (strcmp(path, "/metrics") == 0)
        serve_text(req, tg_metrics_render(a->metrics, &text), &text,
                   "text/plain; version=0.0.4; charset=utf-8");
    else if (strcmp(path, "/status") == 0)
        serve_text(req, tg_board_status(a->board, a->metrics, &text), &text, "application/json");
    else
        plain(req, 404, "Not Found", "there are /healthz, /readyz, /metrics and /status\n");
}

int tg_admin_new(struct event_base *base, int fd, const char *token, struct tg_board *board,
                 struct tg_metrics *metrics, struct tg_admin **out, struct tg_err *err)
{
    struct tg_admin *a = tg_calloc(1, sizeof *a);
    if (!a)
        return tg_fail(err, TG_NOMEM, "admin listener: out of memory");
    a->board = board;
    a->metrics = metrics;
    a->token = token ? tg_strdup(token) : NULL;
    a->http = evhttp_new(base);
    /* evhttp closes the socket that it accepts from: it gets a copy. */
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if ((token && !a->token) || !a->http || copy < 0 || evhttp_accept_socket(a->http, copy) != 0) {
        if (copy >= 0)
            (void)close(copy);
        tg_admin_free(&a);
        return tg_fail(err, TG_NOMEM, "admin listener: out of memory");
    }
    evhttp_set_timeout(a->http, TIMEOUT_S);
    evhttp_set_max_headers_size(a->http, MAX_HEAD);
    evhttp_set_max_body_size(a->http, MAX_BODY);
    evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_gencb(a->http, on_request, a);
    *out = a;
    return TG_OK;
}

void tg_admin_free(struct tg_admin **admin)
{
    struct tg_admin *a = *admin;
    if (!a)
        return;
    *admin = NULL;
    if (a->http)
        evhttp_free(a->http);
    tg_free(a->token);
    tg_free(a);
}
