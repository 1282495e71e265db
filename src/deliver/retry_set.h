/* A destination's part of the retry set. Rows are fetched when they are due, a few at a time, and wait as
 * items for their turn. How many there are, how large and how old is kept here without asking the state. */
#ifndef TG_DELIVER_RETRY_SET_H
#define TG_DELIVER_RETRY_SET_H

#include "deliver/model.h"

void tg_outlet_ask_for_due(struct outlet *o, int64_t now);                        /* now: wall ms */
struct item *tg_outlet_item_of_row(struct outlet *o, const struct tg_retry *row); /* NULL: no memory */
/* Rows more (or fewer) in the set, bytes that they count for, one that was received at that time. The age is
 * that of the oldest row since the set was last empty. */
void tg_outlet_saw_retry(struct outlet *o, int64_t received_at, int64_t more, int64_t bytes);

#endif
