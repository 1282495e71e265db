/* What the state still knows of the last run: who was parked, held or paused, which breaker was open.
 * Blocking: at the start. */
#ifndef TG_DELIVER_RECALL_H
#define TG_DELIVER_RECALL_H

#include "deliver/model.h"

/* Into the cells that all workers see, where nobody has said anything since the relay's start. */
TG_MUST_CHECK int tg_engine_recall(struct tg_engine *e, struct tg_err *err);
/* What is only for people is left out where it cannot be read. */
void tg_outlet_recall_why(struct outlet *o);

#endif
