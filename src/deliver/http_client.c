/* The happy path: tg_client_send sets up an easy handle and adds it to the multi handle, which asks for a
 * timer at once; from the loop, on_timer and on_socket tell curl what happened (curl_multi_socket_action) and
 * then `collect` takes finished transfers out, one by one, and calls their callbacks outside of curl. So a
 * callback may send and cancel as it likes.
 *
 * What can go wrong: the ceilings of body and headers make our write functions refuse, which ends the
 * transfer with CURLE_WRITE_ERROR: `cut` tells that from a failure. A refused address makes the socket
 * function return CURL_SOCKET_BAD, which curl reports as "couldn't connect": `refused` keeps the reason. A
 * kept connection that breaks before an answer makes curl send the request again by itself, which on_send
 * stops where the request is good for one time only. Everything else is curl's own error text. */
#include "deliver/http_client.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/gzip.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "deliver/headers.h"
#include "deliver/told.h"

#include <assert.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

enum { CALL_MAGIC = 0x7c411001, SOCK_MAGIC = 0x7c411002, IDLE_MAX = 64, REQUEST_GZIP_MAX = 64 << 20 };

struct sock {
    unsigned magic;
    struct tg_client *client;
    struct event *event;
};

struct tg_client_call {
    unsigned magic;
    struct tg_client *client;
    struct tg_client_call *next, *prev; /* in client->active, or next in client->idle */
    CURL *easy;
    struct curl_slist *headers;
    struct tg_buf body, raw_headers, gzip;
    bool https, cut;
    bool head_ended; /* the blank line behind the headers has come */
    bool unwatched;  /* there was no memory to watch its socket */
    bool once, sent; /* it may go out once only; it has gone out */
    char refused[TG_EGRESS_WHY];
    char error[CURL_ERROR_SIZE];
    tg_client_done *done;
    void *arg;
};

struct tg_client {
    CURLM *multi;
    struct event_base *base;
    struct event *timer;
    struct tg_client_call *active, *idle;
    size_t n_active, n_idle;
    bool any_unwatched;
    struct tg_cidr *list;
    struct tg_egress egress;
    char *proxy, *ca_file;
    int64_t connect_ms;
    size_t max_body, max_headers;
    struct tg_told told; /* that an answer was too long; see tell.h */
};

/* --- what curl calls for a transfer --- */

/* Keeps what fits; the rest of an overlong response is of no use to anybody, so the transfer ends there. */
static size_t take(struct tg_client_call *call, struct tg_buf *to, const char *data, size_t n)
{
    size_t room = to->max - to->len;
    size_t fits = n < room ? n : room;
    if (tg_buf_add(to, data, fits) != TG_OK || fits < n) {
        call->cut = true;
        return 0;
    }
    return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct tg_client_call *call = arg;
    assert(call->magic == CALL_MAGIC);
    return take(call, &call->body, data, size * n);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct tg_client_call *call = arg;
    assert(call->magic == CALL_MAGIC);
    /* Each response (an interim one, a proxy's) begins with its status line: only the last one's headers
     * count. */
    if (tg_str_starts(tg_str_n(data, size * n), "HTTP/")) {
        tg_buf_clear(&call->raw_headers);
        call->head_ended = false;
        return size * n;
    }
    if (size * n > 0 && (data[0] == '\r' || data[0] == '\n'))
        call->head_ended = true;
    size_t taken = take(call, &call->raw_headers, data, size * n);
    return taken == size * n ? taken : 0;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct tg_client_call *call = arg;
    assert(call->magic == CALL_MAGIC);
    struct tg_ip ip;
    if (purpose != CURLSOCKTYPE_IPCXN || !tg_ip_of(&address->addr, &ip)) {
        snprintf(call->refused, sizeof call->refused, "not an internet address");
        return CURL_SOCKET_BAD;
    }
    /* A proxy is the operator's own choice. */
    if (!call->client->proxy && !tg_egress_allows(&call->client->egress, &ip, call->https, call->refused))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before the request's bytes go out, also when curl repeats them on a new connection. The partner may have
 * read what went out first, and the nonce in it (X-WSSE) is not taken twice: it would look like wrong
 * credentials. */
static int on_send(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    struct tg_client_call *call = arg;
    assert(call->magic == CALL_MAGIC);
    if (call->once && call->sent)
        return CURL_PREREQFUNC_ABORT;
    call->sent = true;
    return CURL_PREREQFUNC_OK;
}

/* --- the loop --- */

static void collect(struct tg_client *client);

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct sock *s = arg;
    assert(s->magic == SOCK_MAGIC);
    struct tg_client *client = s->client;
    int mask = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(client->multi, fd, mask, &running); /* may free s */
    collect(client);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_client *client = arg;
    int running;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    struct tg_client *client = arg;
    if (ms < 0)
        return event_del(client->timer);
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    return event_add(client->timer, &tv);
}

static void drop_sock(struct tg_client *client, curl_socket_t fd, struct sock *s)
{
    curl_multi_assign(client->multi, fd, NULL);
    if (!s)
        return;
    event_free(s->event);
    s->magic = 0;
    tg_free(s);
}

static struct sock *new_sock(struct tg_client *client, curl_socket_t fd)
{
    struct sock *s = tg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->magic = SOCK_MAGIC;
    s->client = client;
    s->event = event_new(client->base, fd, EV_READ | EV_PERSIST, on_socket, s);
    if (!s->event || curl_multi_assign(client->multi, fd, s) != CURLM_OK) {
        if (s->event)
            event_free(s->event);
        tg_free(s);
        return NULL;
    }
    return s;
}

/* A refusal from `watch` would end all transfers for good, so a socket that cannot be watched ends its own
 * transfer alone, soon. */
static int give_up(struct tg_client *client, CURL *easy)
{
    struct tg_client_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    if (call)
        call->unwatched = true;
    client->any_unwatched = true;
    event_active(client->timer, EV_TIMEOUT, 0);
    return 0;
}

/* Curl says what it wants to know about a socket. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct tg_client *client = arg;
    struct sock *s = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        drop_sock(client, fd, s);
        return 0;
    }
    if (!s && !(s = new_sock(client, fd)))
        return give_up(client, easy);
    short events =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
    if ((event_get_events(s->event) & (EV_READ | EV_WRITE | EV_PERSIST)) != events) {
        event_del(s->event);
        event_assign(s->event, client->base, fd, events, on_socket, s);
    }
    return event_add(s->event, NULL) == 0 ? 0 : give_up(client, easy);
}

/* --- handles --- */

/* Options that hold for every request. Those that libcurl was built without fail harmlessly (brotli, HTTP/2).
 */
static void set_common(struct tg_client_call *call)
{
    struct tg_client *client = call->client;
    CURL *e = call->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    /* A thread that resolves a name is left behind at the end of a transfer instead of waited for: waiting
     * stops the loop. */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, client->proxy ? client->proxy : "");
    curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    if (client->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, client->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(e, CURLOPT_USERAGENT, "tidegate/" TG_VERSION);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
}

static void free_call(struct tg_client_call *call)
{
    if (call->easy)
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    tg_buf_fini(&call->body);
    tg_buf_fini(&call->raw_headers);
    tg_buf_fini(&call->gzip);
    call->magic = 0;
    tg_free(call);
}

static struct tg_client_call *new_call(struct tg_client *client)
{
    struct tg_client_call *call = tg_calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->magic = CALL_MAGIC;
    call->client = client;
    tg_buf_init(&call->body, client->max_body);
    tg_buf_init(&call->raw_headers, client->max_headers);
    tg_buf_init(&call->gzip, REQUEST_GZIP_MAX);
    call->easy = curl_easy_init();
    if (!call->easy) {
        free_call(call);
        return NULL;
    }
    set_common(call);
    return call;
}

static struct tg_client_call *get_call(struct tg_client *client)
{
    struct tg_client_call *call = client->idle;
    if (!call)
        return new_call(client);
    client->idle = call->next;
    client->n_idle--;
    call->next = NULL;
    return call;
}

/* Makes the handle ready for the next request. Large buffers are given back, so that memory stays flat. */
static void put_call(struct tg_client_call *call)
{
    struct tg_client *client = call->client;
    if (client->n_idle >= IDLE_MAX) {
        free_call(call);
        return;
    }
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    enum { KEEP = 4096 };
    struct tg_buf *bufs[] = {&call->body, &call->raw_headers, &call->gzip};
    for (size_t i = 0; i < 3; i++)
        bufs[i]->cap > KEEP ? tg_buf_fini(bufs[i]) : tg_buf_clear(bufs[i]);
    call->cut = call->unwatched = call->head_ended = call->once = call->sent = false;
    call->refused[0] = call->error[0] = 0;
    call->done = NULL;
    call->next = client->idle;
    client->idle = call;
    client->n_idle++;
}

static void link_active(struct tg_client_call *call)
{
    struct tg_client *client = call->client;
    call->prev = NULL;
    call->next = client->active;
    if (call->next)
        call->next->prev = call;
    client->active = call;
    client->n_active++;
}

static void unlink_active(struct tg_client_call *call)
{
    struct tg_client *client = call->client;
    if (call->prev)
        call->prev->next = call->next;
    else
        client->active = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->next = call->prev = NULL;
    client->n_active--;
}

/* --- one request --- */

static bool add_header(struct tg_client_call *call, const char *name, const char *value)
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

static bool leave_out(struct tg_client_call *call, const char *name_and_colon)
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

static int set_headers(struct tg_client_call *call, const struct tg_request *request, bool gzip)
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

static int set_body(struct tg_client_call *call, const struct tg_request *request, bool gzip)
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
static int set_method(struct tg_client_call *call, const struct tg_request *request, bool gzip)
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

static int check_url(struct tg_client_call *call, const struct tg_request *request, struct tg_err *err)
{
    struct tg_url url;
    struct tg_ip ip;
    int rc = tg_url_parse(tg_str_of(request->url), &url, err);
    if (rc != TG_OK)
        return rc;
    const struct tg_egress *egress = &call->client->egress;
    call->https = url.https;
    if (!url.https && !egress->allow_private)
        return tg_fail(err, TG_INVALID,
                       "http is not allowed, use https (or egress.allow_private for private addresses)");
    if (call->client->proxy && tg_ip_parse(url.host, &ip) &&
        !tg_egress_allows(egress, &ip, url.https, call->refused))
        return tg_fail(err, TG_INVALID, "%s", call->refused);
    return TG_OK;
}

static int set_up(struct tg_client_call *call, const struct tg_request *request, int64_t timeout_ms,
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
    int64_t connect_ms = call->client->connect_ms;
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms < timeout_ms ? connect_ms : timeout_ms));
    /* Rather share a connection that turns out to be HTTP/2 than open one for each request. */
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, call->https ? 1L : 0L);
    return TG_OK;
}

int tg_client_send(struct tg_client *client, const struct tg_request *request, int64_t timeout_ms,
                   tg_client_done *done, void *arg, struct tg_client_call **out, struct tg_err *err)
{
    struct tg_client_call *call = get_call(client);
    if (!call)
        return tg_fail(err, TG_NOMEM, "request: out of memory");
    int rc = set_up(call, request, timeout_ms, err);
    if (rc == TG_OK) {
        call->done = done;
        call->arg = arg;
        link_active(call);
        CURLMcode code = curl_multi_add_handle(client->multi, call->easy);
        if (code == CURLM_OK) {
            if (out)
                *out = call;
            return TG_OK;
        }
        unlink_active(call);
        rc = tg_fail(err, TG_NOMEM, "request: %s", curl_multi_strerror(code));
    }
    put_call(call);
    return rc;
}

void tg_client_cancel(struct tg_client_call **p)
{
    struct tg_client_call *call = *p;
    if (!call)
        return;
    assert(call->magic == CALL_MAGIC && call->done);
    *p = NULL;
    curl_multi_remove_handle(call->client->multi, call->easy);
    unlink_active(call);
    put_call(call);
}

size_t tg_client_active(const struct tg_client *client)
{
    return client->n_active;
}

/* --- answers --- */

static const char *error_text(struct tg_client_call *call, enum tg_client_failure failure, CURLcode code)
{
    if (failure == TG_CLIENT_EGRESS)
        return call->refused;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return "the connection broke before an answer";
    return call->error[0] ? call->error : curl_easy_strerror(code);
}

static enum tg_client_failure failure_of(const struct tg_client_call *call, CURLcode code)
{
    if (call->refused[0] && code == CURLE_COULDNT_CONNECT)
        return TG_CLIENT_EGRESS;
    return code == CURLE_OPERATION_TIMEDOUT ? TG_CLIENT_TIMEOUT : TG_CLIENT_NETWORK;
}

static void tell_cut(const struct tg_client_call *call, long status)
{
    char *address = NULL;
    (void)curl_easy_getinfo(call->easy, CURLINFO_PRIMARY_IP, &address);
    tg_told_warn(&call->client->told, "answer is too long: its rest is not read, its connection dropped",
                 TG_FS("address", address), TG_FI("status", status), TG_FI("body_bytes", call->body.len));
}

static void finish(struct tg_client_call *call, CURLcode code)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(call->client->multi, call->easy);
    unlink_active(call);
    struct tg_response response = {0};
    struct tg_header *headers = NULL;
    enum tg_client_failure failure = TG_CLIENT_ANSWERED;
    /* The partner has answered even when its body is of no use: asking again would only repeat the delivery.
     */
    bool useless_body = (call->cut || code == CURLE_BAD_CONTENT_ENCODING) && status >= 200;
    if (code == CURLE_OK && !call->head_ended)
        code =
            CURLE_PARTIAL_FILE; /* the connection ended within the headers, which curl takes for an answer */
    if (call->cut && tg_told_due(&call->client->told, tg_mono_ms()))
        tell_cut(call, status);
    if (code == CURLE_OK || useless_body) {
        response.status = (int)status;
        response.n_headers = tg_headers_split(&call->raw_headers, &headers);
        response.headers = headers;
        response.body = tg_buf_str(&call->body);
    } else {
        failure = failure_of(call, code);
        response.error = error_text(call, failure, code);
    }
    call->done(call->arg, &response, failure);
    tg_free(headers);
    put_call(call);
}

static void collect(struct tg_client *client)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(client->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct tg_client_call *call = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
        assert(call && call->magic == CALL_MAGIC);
        finish(call, msg->data.result);
    }
    while (client->any_unwatched) {
        struct tg_client_call *call = client->active;
        while (call && !call->unwatched)
            call = call->next;
        if (call)
            finish(call, CURLE_OUT_OF_MEMORY);
        else
            client->any_unwatched = false;
    }
}

/* --- the client --- */

static int copy_options(struct tg_client *client, const struct tg_client_options *o)
{
    client->base = o->base;
    client->egress = o->egress;
    client->connect_ms = o->connect_ms ? o->connect_ms : 5000;
    client->max_body = o->max_body ? o->max_body : 1 << 20;
    client->max_headers = o->max_headers ? o->max_headers : 64 << 10;
    if (o->egress.n) {
        client->list = tg_memdup(o->egress.list, o->egress.n * sizeof *o->egress.list);
        client->egress.list = client->list;
    }
    client->proxy = o->proxy ? tg_strdup(o->proxy) : NULL;
    client->ca_file = o->ca_file ? tg_strdup(o->ca_file) : NULL;
    bool complete =
        (!o->egress.n || client->list) && (!o->proxy || client->proxy) && (!o->ca_file || client->ca_file);
    return complete ? TG_OK : TG_NOMEM;
}

static int set_multi(struct tg_client *client, const struct tg_client_options *o)
{
    /* Once per process is enough and calling it again is fine; nothing is ever taken down, since other
     * clients may live. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return TG_NOMEM;
    client->multi = curl_multi_init();
    client->timer = evtimer_new(client->base, on_timer, client);
    if (!client->multi || !client->timer)
        return TG_NOMEM;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, watch);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS,
                      (long)(o->max_connections ? o->max_connections : 256));
    return TG_OK;
}

int tg_client_new(const struct tg_client_options *options, struct tg_client **out, struct tg_err *err)
{
    struct tg_client *client = tg_calloc(1, sizeof *client);
    if (!client)
        return tg_fail(err, TG_NOMEM, "http client: out of memory");
    int rc = copy_options(client, options);
    if (rc == TG_OK)
        rc = set_multi(client, options);
    if (rc != TG_OK) {
        tg_client_free(&client);
        return tg_fail(err, rc, "http client: %s", tg_code_text(rc));
    }
    *out = client;
    return TG_OK;
}

void tg_client_free(struct tg_client **p)
{
    struct tg_client *client = *p;
    if (!client)
        return;
    *p = NULL;
    while (client->active) {
        struct tg_client_call *call = client->active;
        curl_multi_remove_handle(client->multi, call->easy);
        unlink_active(call);
        free_call(call);
    }
    while (client->idle) {
        struct tg_client_call *call = client->idle;
        client->idle = call->next;
        free_call(call);
    }
    if (client->multi)
        curl_multi_cleanup(client->multi);
    if (client->timer)
        event_free(client->timer);
    tg_free(client->list);
    tg_free(client->proxy);
    tg_free(client->ca_file);
    tg_free(client);
}
