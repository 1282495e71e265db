/* Who goes next: the outlets that have work, in the order in which they said so, and the items that something
 * has happened to. Woken, the engine's pump runs with the next turn of the loop. */
#ifndef TG_DELIVER_TURNS_H
#define TG_DELIVER_TURNS_H

#include "deliver/model.h"

void tg_engine_wake(struct tg_engine *e);
void tg_engine_wake_all(struct tg_engine *e);
void tg_outlet_wake(struct outlet *o);
/* The one that has waited longest, which no longer waits then; NULL: none. */
struct outlet *tg_engine_next_ready(struct tg_engine *e);
void tg_outlet_unready(struct outlet *o); /* it goes away */
/* Something failed that has nothing to do with the event (memory, the disk): its next turn comes in a while.
 */
void tg_outlet_try_again_soon(struct outlet *o);

/* To be looked at by tg_engine_check. */
void tg_engine_touch(struct tg_engine *e, struct item *item);
/* Every item is looked at again: may what it has not sent still go out? */
void tg_outlet_touch_all(struct outlet *o);

int64_t tg_outlet_clock_us(const struct outlet *o); /* what script time is measured by */

#endif
