/* "Equal key: one in flight." In this worker the queue keeps the order; over all workers a shot holds leases
 * of its keys while it is on the wire (leases.h). */
#ifndef TG_DELIVER_SHOT_KEY_H
#define TG_DELIVER_SHOT_KEY_H

#include "deliver/model.h"

/* Whether a request of the same key is under way in this worker, or waits before this one; also when there is
 * no memory to find out. */
bool tg_shot_key_taken(const struct outlet *o, struct shot *shot);
/* False: another worker has one of them under way, or there is no memory: come again. */
TG_MUST_CHECK bool tg_shot_lease_keys(struct shot *shot, int64_t now);
void tg_shot_give_keys(struct shot *shot); /* nothing happens when none are held */

#endif
