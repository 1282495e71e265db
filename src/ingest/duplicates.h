/* Events of a request that are on disk already, or twice in it, are left out.
 *
 * Only what is on disk suppresses a copy. A copy of an event that is still on its way to the disk is appended
 * too, so that neither answer depends on the other's fate. Within one batch the first copy of an id stands
 * for all, because they share one answer. */
#ifndef TG_INGEST_DUPLICATES_H
#define TG_INGEST_DUPLICATES_H

#include "ingest/pending.h"

/* Removes them from the items' events and puts the fingerprints of the rest into p. TG_NOMEM. */
TG_MUST_CHECK int tg_duplicates_drop(struct tg_call *c, struct tg_pending *p);

#endif
