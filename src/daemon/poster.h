/* Posts one body to a relay and waits for the answer: for `tidegate send` and `tidegate demo`. */
#ifndef TG_DAEMON_POSTER_H
#define TG_DAEMON_POSTER_H

#include "base/buf.h"

#include <stdint.h>

struct event_base;

/* POST url with Basic auth of the write key. Runs the loop until the answer is there or timeout_ms have
 * passed. *status is the HTTP status; `answer` gets the body. TG_NETWORK says why there was none. */
TG_MUST_CHECK int tg_post(struct event_base *base, const char *url, const char *write_key, struct tg_str body,
                          int64_t timeout_ms, int *status, struct tg_buf *answer, struct tg_err *err);

#endif
