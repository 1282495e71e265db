/* What can go wrong: the ceilings of body and headers make our write functions refuse, which ends the
 * transfer with CURLE_WRITE_ERROR: `cut` tells that from a failure. A refused address makes the socket
 * function return CURL_SOCKET_BAD, which curl reports as "couldn't connect": `refused` keeps the reason. A
 * kept connection that breaks before an answer makes curl send the request again by itself, which on_send
 * stops where the request is good for one time only. Everything else is curl's own error text. */
#include "deliver/http_call.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

enum { REQUEST_GZIP_MAX = 64 << 20 };

/* --- what curl calls for a transfer --- */

/* Keeps what fits; the rest of an overlong response is of no use to anybody, so the transfer ends there. */
static size_t take(struct tg_http_call *call, struct tg_buf *to, const char *data, size_t n)
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
    struct tg_http_call *call = arg;
    assert(call->magic == TG_HTTP_CALL_MAGIC);
    return take(call, &call->body, data, size * n);
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct tg_http_call *call = arg;
    assert(call->magic == TG_HTTP_CALL_MAGIC);
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
    struct tg_http_call *call = arg;
    assert(call->magic == TG_HTTP_CALL_MAGIC);
    struct tg_ip ip;
    if (purpose != CURLSOCKTYPE_IPCXN || !tg_ip_of(&address->addr, &ip)) {
        snprintf(call->refused, sizeof call->refused, "not an internet address");
        return CURL_SOCKET_BAD;
    }
    /* A proxy is the operator's own choice. */
    if (!call->rules->proxy && !tg_egress_allows(&call->rules->egress, &ip, call->https, call->refused))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before the request's bytes go out, also when curl repeats them on a new connection. The partner may have
 * read what went out first, and the nonce in it (X-WSSE) is not taken twice: it would look like wrong
 * credentials. */
static int on_send(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    (void)local_ip, (void)remote_port, (void)local_port;
    struct tg_http_call *call = arg;
    struct tg_ip ip;
    assert(call->magic == TG_HTTP_CALL_MAGIC);
    /* A kept connection was opened by what egress said then. */
    if (!call->rules->proxy && tg_ip_parse(tg_str_of(remote_ip), &ip) &&
        !tg_egress_allows(&call->rules->egress, &ip, call->https, call->refused))
        return CURL_PREREQFUNC_ABORT;
    call->refused[0] = 0; /* another of its addresses may have been */
    if (call->once && call->sent)
        return CURL_PREREQFUNC_ABORT;
    call->sent = true;
    return CURL_PREREQFUNC_OK;
}

/* --- handles --- */

/* Options that hold for every request. Those that libcurl was built without fail harmlessly (brotli, HTTP/2).
 */
static void set_common(struct tg_http_call *call)
{
    const struct tg_http_rules *rules = call->rules;
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
    curl_easy_setopt(e, CURLOPT_PROXY, rules->proxy ? rules->proxy : "");
    curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    if (rules->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, rules->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(e, CURLOPT_USERAGENT, "tidegate/" TG_VERSION);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
}

void tg_http_call_fini(struct tg_http_call *call)
{
    if (call->easy)
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    tg_buf_fini(&call->body);
    tg_buf_fini(&call->raw_headers);
    tg_buf_fini(&call->gzip);
    call->magic = 0;
}

int tg_http_call_init(struct tg_http_call *call, const struct tg_http_rules *rules)
{
    *call = (struct tg_http_call){.magic = TG_HTTP_CALL_MAGIC, .rules = rules};
    tg_buf_init(&call->body, rules->max_body);
    tg_buf_init(&call->raw_headers, rules->max_headers);
    tg_buf_init(&call->gzip, REQUEST_GZIP_MAX);
    call->easy = curl_easy_init();
    if (!call->easy)
        return TG_NOMEM;
    set_common(call);
    return TG_OK;
}

void tg_http_call_clear(struct tg_http_call *call)
{
    enum { KEEP = 4096 };
    struct tg_buf *bufs[] = {&call->body, &call->raw_headers, &call->gzip};
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    for (size_t i = 0; i < 3; i++)
        bufs[i]->cap > KEEP ? tg_buf_fini(bufs[i]) : tg_buf_clear(bufs[i]);
    call->cut = call->unwatched = call->head_ended = call->once = call->sent = false;
    call->refused[0] = call->error[0] = 0;
}
