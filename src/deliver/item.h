/* One event on its way through one destination.
 *
 *     WAITING --start--> RUNNING --all deliveries done--> settled, or WRITING (a row in or out of the state)
 *             item_run            item_end                         item_write --> settled
 *
 * The happy path: the handler asks for deliveries, each succeeds, the handler ends, the cursor moves on. */
#ifndef TG_DELIVER_ITEM_H
#define TG_DELIVER_ITEM_H

#include "deliver/model.h"

/* With a copy of its bytes, in the outlet's list. NULL: no memory. */
struct item *tg_item_new(struct outlet *o, struct tg_str header, struct tg_str body);
void tg_item_free(struct item **item);
void tg_item_end_run(struct item *item); /* its deliveries must be gone, done or not sent */

bool tg_item_is_forgotten(const struct item *item); /* its user has been since */
/* An event that has brought the process down twice is not run again: it fails. */
uint64_t tg_item_mark(const struct item *item); /* see poison.h */
void tg_item_refuse_poison(struct item *item);

/* The outlet's window has no room for one more. */
bool tg_outlet_is_full(const struct outlet *o);
void tg_item_wait(struct item *item);                  /* for its turn, at the end of the outlet's queue */
struct item *tg_outlet_take_waiting(struct outlet *o); /* NULL: none waits. It has its room already */

#endif
