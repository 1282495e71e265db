/* Events on their way to the disk: body -> (key in the body) -> items -> room -> rate -> duplicates -> sink
 * -> answer when it is durable. */
#ifndef TG_INGEST_INTAKE_H
#define TG_INGEST_INTAKE_H

#include "ingest/ingest_state.h"

/* A single event, a batch, a pixel. The call is answered, now or when the sink has called back. */
void tg_intake_events(struct tg_call *c);
/* Merge calls are counted and dropped. */
void tg_intake_merge(struct tg_call *c);

#endif
