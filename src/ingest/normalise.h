/* Turns the JSON of one request into events: the Segment message rules (ingest contract sections 8 and 9),
 * without I/O, without a clock. The caller has found the source and checks duplicates afterwards.
 *
 * What is wrong with the request as a whole is a fault (400). What is wrong with one item of it is set aside
 * with a reason (item.h), and the others are accepted, because no sender reads per-item answers. */
#ifndef TG_INGEST_NORMALISE_H
#define TG_INGEST_NORMALISE_H

#include "ingest/items.h"
#include "ingest/request.h"

/* Clears *items and fills it. TG_INVALID: see fault; TG_NOMEM, TG_IO (no random numbers): nothing is to be
 * accepted. */
TG_MUST_CHECK int tg_normalise(const struct tg_normalise_in *in, struct tg_items *items,
                               struct tg_request_fault *fault);

#endif
