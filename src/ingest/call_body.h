/* The body of a request: decompressed, or made of a pixel's query, and parsed. Each step lets the call go on
 * (true) or has answered it (false). */
#ifndef TG_INGEST_CALL_BODY_H
#define TG_INGEST_CALL_BODY_H

#include "ingest/ingest_state.h"

/* c->body is then one JSON object, within the limits that are known so far. */
bool tg_call_body(struct tg_call *c);
/* Whether it is within its source's own limit; to be asked again when the key was in the body. */
bool tg_call_body_fits(const struct tg_call *c);

#endif
