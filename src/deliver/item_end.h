/* What becomes of an item when something has happened to it.
 *
 *   - a delivery fails: what is not sent yet is dropped, what is on the wire is waited for (so that its
 * answer is remembered and it is not sent twice), then the outcome decides: retry row, dead letter, or back
 * into the log;
 *   - back into the log ("given back") happens when the destination and not the event is at fault and nothing
 *     of the event has been delivered: parked, breaker open. The cursor stands still and the lane reads it
 *     again later. */
#ifndef TG_DELIVER_ITEM_END_H
#define TG_DELIVER_ITEM_END_H

#include "deliver/model.h"

void tg_engine_check(struct tg_engine *e); /* all touched items */
/* Given back, but what it has been answered already is kept in a row, so that it is not asked again. */
void tg_item_put_back(struct item *item);

#endif
