/* A whole head as llhttp reads it. */
#ifndef TG_INGEST_HTTP_HEAD_READ_H
#define TG_INGEST_HTTP_HEAD_READ_H

#include "ingest/http_fault.h"
#include "ingest/http_msg.h"

/* Fills msg (cleared before) from n bytes of head, all but its body. What could be read stays in msg also on
 * failure. TG_HTTP_DONE or TG_HTTP_BAD. */
enum tg_http_parse tg_http_head_read(const char *data, size_t n, struct tg_http_msg *msg,
                                     struct tg_http_refusal *why);

#endif
