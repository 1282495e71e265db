#include "daemon/poster.h"

#include "base/digest.h"
#include "base/mem.h"
#include "deliver/http_client.h"

#include <event2/event.h>
#include <stdio.h>

struct post {
    struct event_base *base;
    int status;
    struct tg_buf *answer;
    char why[256];
};

static void on_done(void *arg, const struct tg_response *response, enum tg_client_failure failure)
{
    struct post *p = arg;
    p->status = failure == TG_CLIENT_ANSWERED ? response->status : 0;
    if (!p->status)
        (void)snprintf(p->why, sizeof p->why, "%s", response->error ? response->error : "no answer");
    else if (tg_buf_addstr(p->answer, response->body))
        tg_buf_clear(p->answer);
    (void)event_base_loopbreak(p->base);
}

static int basic(const char *write_key, struct tg_buf *out)
{
    struct tg_buf pair = TG_BUF_INIT(4096);
    int rc = tg_buf_printf(&pair, "%s:", write_key);
    if (!rc)
        rc = tg_buf_adds(out, "Basic ");
    if (!rc)
        rc = tg_base64(out, pair.data, pair.len, false, true);
    if (!rc && !tg_buf_cstr(out))
        rc = TG_NOMEM;
    tg_buf_fini(&pair);
    return rc;
}

int tg_post(struct event_base *base, const char *url, const char *write_key, struct tg_str body,
            int64_t timeout_ms, int *status, struct tg_buf *answer, struct tg_err *err)
{
    struct post p = {.base = base, .answer = answer};
    struct tg_client *client = NULL;
    const struct tg_client_options options = {.base = base, .egress = {.allow_private = true}};
    struct tg_buf auth = TG_BUF_INIT(8192);
    int rc = basic(write_key, &auth);
    struct tg_header headers[] = {{(char *)"Authorization", auth.data}};
    const struct tg_request request = {
        .method = (char *)"POST",
        .url = (char *)url,
        .headers = headers,
        .n_headers = 1,
        .body_kind = TG_BODY_JSON,
        .body = (char *)body.p,
        .body_len = body.n,
    };
    if (rc)
        rc = tg_fail(err, rc, "the write key is too long");
    if (!rc)
        rc = tg_client_new(&options, &client, err);
    if (!rc)
        rc = tg_client_send(client, &request, timeout_ms, on_done, &p, NULL, err);
    if (!rc) {
        (void)event_base_dispatch(base);
        *status = p.status;
        if (!p.status)
            rc = tg_fail(err, TG_NETWORK, "%s: %s", url, p.why);
    }
    tg_client_free(&client);
    tg_buf_fini(&auth);
    return rc;
}
