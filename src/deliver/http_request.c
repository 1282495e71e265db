#include "deliver/http_request.h"

#include "base/gzip.h"
#include "base/mem.h"
#include "base/url.h"
#include "deliver/headers.h"

#include <stdio.h>

static bool add_header(struct tg_http_call *call, const char *name, const char *value)
{
    char line[512], *long_line = NULL, *text = line;
    /* "Name;" is curl's way to send an empty value; "Name:" would mean to leave the header out. */
    size_t need = strlen(name) + strlen(value) + 3;
    if (need > sizeof line && !(text = long_line = tg_malloc(need)))
        return false;
    snprintf(text, need, *value ? "%s: %s" : "%s;", name, value);
    struct curl_slist *more = curl_slist_append(call->headers, text);
    tg_free(long_line);
    if (more)
        call->headers = more;
    return more != NULL;
}

static bool leave_out(struct tg_http_call *call, const char *name_and_colon)
{
    struct curl_slist *more = curl_slist_append(call->headers, name_and_colon);
    if (more)
        call->headers = more;
    return more != NULL;
}

/* Headers that say how the message is framed, or where it goes, are the client's business alone. */
static bool ours(const char *name)
{
    static const char *const names[] = {"Host",
                                        "Content-Length",
                                        "Transfer-Encoding",
                                        "Connection",
                                        "Expect",
                                        "Proxy-Connection",
                                        "Keep-Alive",
                                        "TE",
                                        "Upgrade",
                                        "Trailer",
                                        NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *default_type(const struct tg_request *request)
{
    if (request->body_kind == TG_BODY_JSON)
        return "application/json";
    return request->body_kind == TG_BODY_FORM ? "application/x-www-form-urlencoded" : NULL;
}

static int set_headers(struct tg_http_call *call, const struct tg_request *request, bool gzip)
{
    bool typed = false;
    bool fine = leave_out(call, "Expect:");
    for (size_t i = 0; fine && i < request->n_headers; i++) {
        const struct tg_header *h = &request->headers[i];
        if (tg_has_header_break(tg_str_of(h->value)) || tg_has_header_break(tg_str_of(h->name)) || !*h->name)
            return TG_INVALID;
        typed = typed || strcasecmp(h->name, "Content-Type") == 0;
        call->once = call->once || strcasecmp(h->name, "X-WSSE") == 0;
        if (!ours(h->name))
            fine = add_header(call, h->name, h->value);
    }
    if (fine && !typed) {
        const char *type = default_type(request);
        fine = type ? add_header(call, "Content-Type", type) : leave_out(call, "Content-Type:");
    }
    if (fine && gzip)
        fine = add_header(call, "Content-Encoding", "gzip");
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return fine ? TG_OK : TG_NOMEM;
}

static int set_body(struct tg_http_call *call, const struct tg_request *request, bool gzip)
{
    const char *data = request->body ? request->body : "";
    size_t n = request->body ? request->body_len : 0;
    if (gzip) {
        int rc = tg_gzip(&call->gzip, tg_str_n(data, n), 6);
        if (rc != TG_OK)
            return rc;
        data = call->gzip.data;
        n = call->gzip.len;
    }
    curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, data); /* lent, not copied */
    return TG_OK;
}

/* POST and whatever has a body go out as curl's POST, other methods as its GET, each under its own name. */
static int set_method(struct tg_http_call *call, const struct tg_request *request, bool gzip)
{
    CURL *e = call->easy;
    bool post = strcmp(request->method, "POST") == 0, head = strcmp(request->method, "HEAD") == 0;
    curl_easy_setopt(e, CURLOPT_NOBODY, head ? 1L : 0L);
    if (!head)
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    if ((post || request->body) && !head) {
        int rc = set_body(call, request, gzip);
        if (rc != TG_OK)
            return rc;
    }
    bool plain = post || head || (strcmp(request->method, "GET") == 0 && !request->body);
    return curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, plain ? NULL : request->method) == CURLE_OK ? TG_OK
                                                                                                  : TG_NOMEM;
}

static bool method_is_token(const char *method)
{
    size_t n = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-");
    return n > 0 && n < 32 && method[n] == 0;
}

static int check_url(struct tg_http_call *call, const struct tg_request *request, struct tg_err *err)
{
    struct tg_url url;
    struct tg_ip ip;
    int rc = tg_url_parse(tg_str_of(request->url), &url, err);
    if (rc != TG_OK)
        return rc;
    const struct tg_egress *egress = &call->rules->egress;
    call->https = url.https;
    if (!url.https && !egress->allow_private)
        return tg_fail(err, TG_INVALID,
                       "http is not allowed, use https (or egress.allow_private for private addresses)");
    if (call->rules->proxy && tg_ip_parse(url.host, &ip) &&
        !tg_egress_allows(egress, &ip, url.https, call->refused))
        return tg_fail(err, TG_INVALID, "%s", call->refused);
    return TG_OK;
}

int tg_http_request_set(struct tg_http_call *call, const struct tg_request *request, int64_t timeout_ms,
                        struct tg_err *err)
{
    CURL *e = call->easy;
    if (!method_is_token(request->method))
        return tg_fail(err, TG_INVALID, "method \"%.40s\" cannot be sent", request->method);
    int rc = check_url(call, request, err);
    if (rc != TG_OK)
        return rc;
    bool gzip = request->gzip && request->body && request->body_len > 0;
    rc = set_headers(call, request, gzip);
    if (rc == TG_OK)
        rc = set_method(call, request, gzip);
    if (rc != TG_OK)
        return tg_fail(err, rc, "request: %s",
                       rc == TG_INVALID ? "a header has a line break" : tg_code_text(rc));
    if (curl_easy_setopt(e, CURLOPT_URL, request->url) != CURLE_OK)
        return tg_fail(err, TG_NOMEM, "request: out of memory");
    int64_t connect_ms = call->rules->connect_ms;
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms < timeout_ms ? connect_ms : timeout_ms));
    /* Rather share a connection that turns out to be HTTP/2 than open one for each request. */
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, call->https ? 1L : 0L);
    return TG_OK;
}
