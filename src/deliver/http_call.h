/* One request under way: an easy handle, what has come of its answer, and what curl calls for it. Made once
 * and used again and again; http_request.h says what to ask, http_client.h sends it. */
#ifndef TG_DELIVER_HTTP_CALL_H
#define TG_DELIVER_HTTP_CALL_H

#include "base/buf.h"
#include "base/err.h"
#include "deliver/egress.h"

#include <curl/curl.h>

enum { TG_HTTP_CALL_MAGIC = 0x7c411001 };

/* What holds for every request of a client. */
struct tg_http_rules {
    struct tg_egress egress;
    char *proxy, *ca_file;
    int64_t connect_ms;
    size_t max_body, max_headers;
};

struct tg_http_call {
    unsigned magic;
    const struct tg_http_rules *rules;
    CURL *easy;
    struct curl_slist *headers;
    struct tg_buf body, raw_headers, gzip;
    bool https, cut;
    bool head_ended; /* the blank line behind the headers has come */
    bool unwatched;  /* there was no memory to watch its socket */
    bool once, sent; /* it may go out once only; it has gone out */
    char refused[TG_EGRESS_WHY];
    char error[CURL_ERROR_SIZE];
};

/* `rules` must outlive it. It is known by CURLINFO_PRIVATE of its easy handle. TG_NOMEM: there is nothing to
 * fini. */
TG_MUST_CHECK int tg_http_call_init(struct tg_http_call *call, const struct tg_http_rules *rules);
void tg_http_call_fini(struct tg_http_call *call);
/* Ready for the next request. Large buffers are given back, so that memory stays flat. */
void tg_http_call_clear(struct tg_http_call *call);

#endif
