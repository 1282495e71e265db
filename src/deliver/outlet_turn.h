/* A destination's turn: takes up events from the log and the retry set, by turns, as far as its window, its
 * breaker and its share of script time allow, and sends what is ready. */
#ifndef TG_DELIVER_OUTLET_TURN_H
#define TG_DELIVER_OUTLET_TURN_H

#include "deliver/model.h"

/* At most `us` of script time. True when more could be done at once. */
bool tg_outlet_turn(struct outlet *o, int64_t us);

#endif
