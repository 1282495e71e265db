/* How long a request's body is, by its headers. What servers in a chain could read differently (request
 * smuggling) is refused: more than one Content-Length, Content-Length beside Transfer-Encoding, any transfer
 * coding but "chunked". */
#ifndef TG_INGEST_HTTP_FRAMING_H
#define TG_INGEST_HTTP_FRAMING_H

#include "ingest/http_fault.h"
#include "ingest/http_msg.h"

#include <stdint.h>

struct tg_http_framing {
    bool chunked;
    uint64_t length;       /* not chunked: of the body */
    bool expects_continue; /* a body is to come, and "100 Continue" is wanted */
};

/* TG_HTTP_DONE or TG_HTTP_BAD. */
enum tg_http_parse tg_http_framing(const struct tg_http_msg *msg, size_t body_limit,
                                   struct tg_http_framing *out, struct tg_http_refusal *why);

#endif
