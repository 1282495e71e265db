#include "ingest/lookups.h"

#include "base/url.h"
#include "ingest/answer.h"
#include "ingest/caller.h"
#include "ingest/client_ip.h"
#include "ingest/cors.h"
#include "ingest/settings_reply.h"

/* How the browser reached the relay, unless the configuration says it; a proxy in between may have changed
 * scheme and Host. */
static bool public_address(const struct tg_call *c, struct tg_str *host)
{
    *host = tg_buf_str(&c->in->public_url.base);
    if (host->n)
        return c->in->public_url.https;
    struct tg_client_ip ip = tg_client_ip(tg_http_peer(c->req), c->msg,
                                          (struct tg_cidrs){c->source->proxies, c->source->n_proxies});
    *host = tg_http_header(c->msg, "Host");
    if (!ip.via_proxy)
        return tg_http_is_tls(c->req);
    struct tg_str forwarded = tg_http_header(c->msg, "X-Forwarded-Host");
    if (forwarded.n)
        *host = forwarded;
    struct tg_str scheme = tg_http_header(c->msg, "X-Forwarded-Proto");
    return scheme.n ? tg_str_ieq(scheme, "https") : tg_http_is_tls(c->req);
}

/* By the key in the path. */
static bool find_caller(struct tg_call *c)
{
    tg_buf_clear(&c->in->key);
    if (tg_url_decode(&c->in->key, c->route.write_key, false))
        return tg_refuse_unready(c, TG_NOMEM, NULL, 0);
    c->key = tg_buf_str(&c->in->key);
    return tg_caller_need(c);
}

void tg_give_settings(struct tg_call *c)
{
    if (!find_caller(c))
        return;
    struct tg_str host;
    bool https = public_address(c, &host);
    tg_buf_clear(&c->in->text);
    tg_answer_json(c, tg_settings_segment(&c->in->text, c->key, host, https), &c->in->text);
}

void tg_give_browser_script(struct tg_call *c)
{
    const struct tg_browser_script *script = &c->in->browser_script;
    struct tg_buf *lines = &c->in->lines;
    if (!find_caller(c))
        return;
    if (!script->text.len) {
        (void)tg_refuse(c, 404, "not_found", "the relay has no such script: its analytics_js is not set");
        return;
    }
    tg_buf_clear(lines);
    if (tg_cors_answer(lines, c->origin) || tg_browser_script_lines(script, lines)) {
        (void)tg_refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    struct tg_http_reply reply = {.status = 304, .headers = tg_buf_str(lines)};
    if (!tg_browser_script_is_known(script, tg_http_header(c->msg, "If-None-Match"))) {
        reply.status = 200;
        reply.content_type = "text/javascript; charset=utf-8";
        reply.body = tg_buf_str(&script->text);
    }
    tg_http_reply(c->req, &reply);
}

void tg_give_source_config(struct tg_call *c)
{
    if (!tg_caller_find(c) || !tg_caller_need(c))
        return;
    tg_buf_clear(&c->in->text);
    tg_answer_json(c, tg_settings_rudder(&c->in->text, tg_str_of(c->source->name), c->key), &c->in->text);
}

void tg_give_health(struct tg_call *c)
{
    const char *why = NULL;
    int retry_after = TG_RETRY_AFTER_S;
    int rc = c->in->sink.ready(c->in->sink.arg, &why, &retry_after);
    if (rc == TG_OK || rc == TG_BUSY)
        tg_answer_success(c->in, c->req, c->origin, false);
    else
        (void)tg_refuse_unready(c, rc, why, retry_after);
}

void tg_give_preflight(struct tg_call *c)
{
    struct tg_buf *lines = &c->in->lines;
    tg_buf_clear(lines);
    if (tg_cors_preflight(lines, c->msg)) {
        (void)tg_refuse_unready(c, TG_NOMEM, NULL, 0);
        return;
    }
    const struct tg_http_reply reply = {.status = 204, .headers = tg_buf_str(lines)};
    tg_http_reply(c->req, &reply);
}
