/* Sends what waits in a destination's queue, as the breaker, the concurrency, its rate and its key allow.
 * Those whose rate or key is taken are stepped over, a few.
 *
 * A batch is joined when it is sent, not when it enters the queue: what join signs with the time of day must
 * not grow old while the destination pauses. Other requests are made anew when they have waited for long. */
#ifndef TG_DELIVER_SHOT_SEND_H
#define TG_DELIVER_SHOT_SEND_H

#include "deliver/model.h"

void tg_shot_send(struct outlet *o, int64_t now);
void tg_shot_renew(struct outlet *o);      /* the settings are others: what waits to be sent is made anew */
void tg_shot_cancel_all(struct outlet *o); /* of queue and wire, with their deliveries */

#endif
