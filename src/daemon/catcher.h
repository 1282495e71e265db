/* A stand-in partner: hands every request that it gets to a callback and answers as told. For `tidegate
 * catch` and `tidegate demo`. */
#ifndef TG_DAEMON_CATCHER_H
#define TG_DAEMON_CATCHER_H

#include "base/buf.h"
#include "ingest/http_server.h"
#include "script/host.h"

#include <stdint.h>

struct event_base;
struct tg_catcher;

struct tg_caught {
    unsigned number; /* from 1 */
    int64_t at;      /* ms UTC */
    const struct tg_http_msg *msg;
    struct tg_str body; /* decompressed when it came gzipped */
    int status;         /* what it was answered */
};
typedef void tg_caught_fn(void *arg, const struct tg_caught *caught);

struct tg_catcher_options {
    const char *address; /* host:port, port 0: the kernel's choice */
    const int *statuses; /* answered in turn, the last for ever; none: 200 */
    size_t n_statuses;
    const char *body;                /* answer body; NULL: "{}" */
    const struct tg_header *headers; /* further answer headers */
    size_t n_headers;
    int delay_ms; /* before each answer */
    tg_caught_fn *caught;
    void *arg;
};
TG_MUST_CHECK int tg_catcher_new(struct event_base *base, const struct tg_catcher_options *options,
                                 struct tg_catcher **out, struct tg_err *err);
void tg_catcher_free(struct tg_catcher **catcher);
/* Where it listens. */
const char *tg_catcher_address(const struct tg_catcher *catcher);

/* The request for a person: request line, headers, a blank line, the body (JSON indented, forms a line for
 * each field). */
TG_MUST_CHECK int tg_caught_print(const struct tg_caught *caught, struct tg_buf *out);
/* One line of JSON: {number, at, method, host, target, headers: {name: value}, body, status}. */
TG_MUST_CHECK int tg_caught_json(const struct tg_caught *caught, struct tg_buf *out);

#endif
