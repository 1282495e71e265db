/* The happy path: tg_client_send sets up an easy handle and adds it to the multi handle, which asks for a
 * timer at once; from the loop, curl is told what happened and then `collect` takes finished transfers out,
 * one by one, and calls their callbacks outside of curl. So a callback may send and cancel as it likes. */
#include "deliver/http_client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/headers.h"
#include "deliver/http_call.h"
#include "deliver/http_loop.h"
#include "deliver/http_request.h"
#include "deliver/told.h"

#include <assert.h>

enum { IDLE_MAX = 64 };

struct tg_client_call {
    struct tg_http_call http; /* first: what curl knows it by */
    struct tg_client *client;
    struct tg_client_call *next, *prev; /* of the client's active ones, or next of its idle ones */
    unsigned made_for;                  /* the client's options at the time */
    tg_client_done *done;
    void *arg;
};

struct tg_client {
    struct tg_http_loop loop;
    struct tg_http_rules rules;
    struct tg_client_call *active, *idle;
    size_t n_active, n_idle;
    bool any_unwatched;
    unsigned options; /* how often they have changed */
    struct tg_cidr *list;
    struct tg_told told; /* that an answer was too long; see told.h */
};

/* --- handles --- */

static void free_call(struct tg_client_call *call)
{
    tg_http_call_fini(&call->http);
    tg_free(call);
}

static struct tg_client_call *new_call(struct tg_client *client)
{
    struct tg_client_call *call = tg_calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->client = client;
    call->made_for = client->options;
    if (tg_http_call_init(&call->http, &client->rules) != TG_OK) {
        tg_free(call);
        return NULL;
    }
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

static void put_call(struct tg_client_call *call)
{
    struct tg_client *client = call->client;
    if (client->n_idle >= IDLE_MAX || call->made_for != client->options) {
        free_call(call);
        return;
    }
    tg_http_call_clear(&call->http);
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

int tg_client_send(struct tg_client *client, const struct tg_request *request, int64_t timeout_ms,
                   tg_client_done *done, void *arg, struct tg_client_call **out, struct tg_err *err)
{
    struct tg_client_call *call = get_call(client);
    if (!call)
        return tg_fail(err, TG_NOMEM, "request: out of memory");
    int rc = tg_http_request_set(&call->http, request, timeout_ms, err);
    if (rc == TG_OK) {
        call->done = done;
        call->arg = arg;
        link_active(call);
        CURLMcode code = curl_multi_add_handle(client->loop.multi, call->http.easy);
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
    assert(call->http.magic == TG_HTTP_CALL_MAGIC && call->done);
    *p = NULL;
    curl_multi_remove_handle(call->client->loop.multi, call->http.easy);
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
        return call->http.refused;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return "the connection broke before an answer";
    return call->http.error[0] ? call->http.error : curl_easy_strerror(code);
}

static enum tg_client_failure failure_of(const struct tg_client_call *call, CURLcode code)
{
    if (call->http.refused[0] && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
        return TG_CLIENT_EGRESS;
    return code == CURLE_OPERATION_TIMEDOUT ? TG_CLIENT_TIMEOUT : TG_CLIENT_NETWORK;
}

static void tell_cut(const struct tg_client_call *call, long status)
{
    char *address = NULL;
    (void)curl_easy_getinfo(call->http.easy, CURLINFO_PRIMARY_IP, &address);
    tg_told_warn(&call->client->told, "answer is too long: its rest is not read, its connection dropped",
                 TG_FS("address", address), TG_FI("status", status),
                 TG_FI("body_bytes", call->http.body.len));
}

static void finish(struct tg_client_call *call, CURLcode code)
{
    long status = 0;
    assert(call->done);
    curl_easy_getinfo(call->http.easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(call->client->loop.multi, call->http.easy);
    unlink_active(call);
    struct tg_response response = {0};
    struct tg_header *headers = NULL;
    enum tg_client_failure failure = TG_CLIENT_ANSWERED;
    /* The partner has answered even when its body is of no use: asking again would only repeat the delivery.
     */
    bool useless_body = (call->http.cut || code == CURLE_BAD_CONTENT_ENCODING) && status >= 200;
    if (code == CURLE_OK && !call->http.head_ended)
        code =
            CURLE_PARTIAL_FILE; /* the connection ended within the headers, which curl takes for an answer */
    if (call->http.cut && tg_told_due(&call->client->told, tg_mono_ms()))
        tell_cut(call, status);
    if (code == CURLE_OK || useless_body) {
        response.status = (int)status;
        response.n_headers = tg_headers_split(&call->http.raw_headers, &headers);
        response.headers = headers;
        response.body = tg_buf_str(&call->http.body);
    } else {
        failure = failure_of(call, code);
        response.error = error_text(call, failure, code);
    }
    call->done(call->arg, &response, failure);
    tg_free(headers);
    put_call(call);
}

static void collect(void *arg)
{
    struct tg_client *client = arg;
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(client->loop.multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct tg_client_call *call = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
        assert(call && call->http.magic == TG_HTTP_CALL_MAGIC);
        finish(call, msg->data.result);
    }
    while (client->any_unwatched) {
        struct tg_client_call *call = client->active;
        while (call && !call->http.unwatched)
            call = call->next;
        if (call)
            finish(call, CURLE_OUT_OF_MEMORY);
        else
            client->any_unwatched = false;
    }
}

static void unwatched(void *arg, CURL *easy)
{
    struct tg_client *client = arg;
    struct tg_client_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    if (call)
        call->http.unwatched = true;
    client->any_unwatched = true;
}

/* --- the client --- */

static void free_idle(struct tg_client *client)
{
    while (client->idle) {
        struct tg_client_call *call = client->idle;
        client->idle = call->next;
        free_call(call);
    }
    client->n_idle = 0;
}

int tg_client_set(struct tg_client *client, const struct tg_client_options *o)
{
    struct tg_http_rules *rules = &client->rules;
    struct tg_cidr *list =
        o->egress.n ? tg_memdup(o->egress.list, o->egress.n * sizeof *o->egress.list) : NULL;
    char *proxy = o->proxy ? tg_strdup(o->proxy) : NULL, *ca_file = o->ca_file ? tg_strdup(o->ca_file) : NULL;
    if ((o->egress.n && !list) || (o->proxy && !proxy) || (o->ca_file && !ca_file)) {
        tg_free(list);
        tg_free(proxy);
        tg_free(ca_file);
        return TG_NOMEM;
    }
    tg_free(client->list);
    tg_free(rules->proxy);
    tg_free(rules->ca_file);
    client->list = list;
    rules->egress = o->egress;
    rules->egress.list = list;
    rules->proxy = proxy;
    rules->ca_file = ca_file;
    client->options++;
    free_idle(client); /* curl's handles keep what they were told */
    return TG_OK;
}

static int copy_options(struct tg_client *client, const struct tg_client_options *o)
{
    client->loop =
        (struct tg_http_loop){.base = o->base, .moved = collect, .unwatched = unwatched, .arg = client};
    client->rules.connect_ms = o->connect_ms ? o->connect_ms : 5000;
    client->rules.max_body = o->max_body ? o->max_body : 1 << 20;
    client->rules.max_headers = o->max_headers ? o->max_headers : 64 << 10;
    return tg_client_set(client, o);
}

int tg_client_new(const struct tg_client_options *options, struct tg_client **out, struct tg_err *err)
{
    struct tg_client *client = tg_calloc(1, sizeof *client);
    if (!client)
        return tg_fail(err, TG_NOMEM, "http client: out of memory");
    int rc = copy_options(client, options);
    if (rc == TG_OK)
        rc = tg_http_loop_init(&client->loop, options->max_connections ? options->max_connections : 256);
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
        curl_multi_remove_handle(client->loop.multi, call->http.easy);
        unlink_active(call);
        free_call(call);
    }
    free_idle(client);
    tg_http_loop_fini(&client->loop);
    tg_free(client->list);
    tg_free(client->rules.proxy);
    tg_free(client->rules.ca_file);
    tg_free(client);
}
