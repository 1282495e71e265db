/* Cross-origin headers (Fetch standard; ingest contract section 4): every answer carries them, errors too, or
 * a browser SDK sees a network failure and repeats what it should drop. */
#ifndef TG_INGEST_CORS_H
#define TG_INGEST_CORS_H

#include "base/buf.h"
#include "ingest/http_parser.h"

/* Adds header lines for an answer to a request with this Origin; nothing when origin is empty or unfit for a
 * header. */
TG_MUST_CHECK int tg_cors_answer(struct tg_buf *lines, struct tg_str origin);
/* Adds the lines of a preflight's answer: those above, and the methods, the requested headers mirrored, the
 * age. */
TG_MUST_CHECK int tg_cors_preflight(struct tg_buf *lines, const struct tg_http_msg *msg);

#endif
