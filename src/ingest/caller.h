/* Who is calling: the write key, its source, and what that source may (ingest contract sections 2 and 9).
 * Each step lets the call go on (true) or has answered it (false). */
#ifndef TG_INGEST_CALLER_H
#define TG_INGEST_CALLER_H

#include "ingest/ingest_state.h"

/* By a key in headers or query. Without one there the body's is still to come: true, and c->source is NULL.
 */
bool tg_caller_find(struct tg_call *c);
/* By the body's key, when the source is not known yet; c->body is one JSON object. */
bool tg_caller_find_in_body(struct tg_call *c);
/* For requests without a body. */
bool tg_caller_need(struct tg_call *c);

#endif
