/* Sends HTTP requests on the worker's event loop: libcurl's multi interface on libevent. Only http_*
 * know curl.
 *
 * Connections are kept, easy handles reused, HTTP/2 taken where TLS offers it, certificates checked,
 * redirects not followed, nothing taken from the environment. The resolved address of every connection is
 * checked against `egress` (deliver/egress.h); with a proxy only addresses written in the URL can be, since
 * the proxy resolves the names.
 *
 * All functions are called on the loop's thread of the process that made the client (make it after the fork).
 */
#ifndef TG_DELIVER_HTTP_CLIENT_H
#define TG_DELIVER_HTTP_CLIENT_H

#include "base/err.h"
#include "deliver/egress.h"
#include "script/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct tg_client;      /* the client */
struct tg_client_call; /* one request under way */

struct tg_client_options {
    struct event_base *base;
    struct tg_egress egress; /* the list is copied */
    const char *proxy;       /* URL, or NULL: none */
    const char *ca_file;     /* PEM bundle instead of the system's, or NULL */
    int64_t connect_ms;      /* 0: 5000 */
    size_t max_body; /* of a response, decompressed; 0: 1 MiB. What is longer is cut there and the connection
                        dropped */
    size_t max_headers;     /* of a response together; 0: 64 KiB */
    size_t max_connections; /* idle ones kept open, all hosts together; 0: 256 */
};

/* Why there is no answer. */
enum tg_client_failure {
    TG_CLIENT_ANSWERED,
    TG_CLIENT_NETWORK, /* name, connection, TLS, protocol */
    TG_CLIENT_TIMEOUT,
    TG_CLIENT_EGRESS /* the address is not allowed */
};

/* The request has ended; the response is lent during the call, in which new requests may be sent and others
 * cancelled, but the client not freed. A response whose headers had come before it hit a ceiling counts as
 * answered. */
typedef void tg_client_done(void *arg, const struct tg_response *response, enum tg_client_failure failure);

TG_MUST_CHECK int tg_client_new(const struct tg_client_options *options, struct tg_client **out,
                                struct tg_err *err);
/* Takes over egress, proxy and ca_file: for what is sent from now on, on kept connections too. On failure all
 * stays as it was. */
TG_MUST_CHECK int tg_client_set(struct tg_client *client, const struct tg_client_options *options);
/* Cancels what is under way, without callbacks. */
void tg_client_free(struct tg_client **client);

/* Sends; `request` must stay as it is until `done` or the cancel. Content-Type follows body_kind where the
 * headers do not say it. `done` is never called from within. TG_INVALID for a URL or method that cannot be
 * sent. *out (may be NULL) is valid until `done` or the cancel. */
TG_MUST_CHECK int tg_client_send(struct tg_client *client, const struct tg_request *request,
                                 int64_t timeout_ms, tg_client_done *done, void *arg,
                                 struct tg_client_call **out, struct tg_err *err);
/* Drops the request; `done` will not be called. */
void tg_client_cancel(struct tg_client_call **call);
/* Requests under way. */
size_t tg_client_active(const struct tg_client *client);

#endif
