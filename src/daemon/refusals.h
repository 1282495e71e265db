/* What senders were refused, told in the log once a minute for each code and reason: a key that was rotated
 * too early must not go unseen, nor fill the log. Counted over all workers, from the metrics. */
#ifndef TG_DAEMON_REFUSALS_H
#define TG_DAEMON_REFUSALS_H

#include "base/metrics.h"

struct tg_refusals;

struct tg_refusals *tg_refusals_new(struct tg_metrics *m); /* NULL when out of memory */
void tg_refusals_free(struct tg_refusals **r);
/* Call it now and then; `now` in ms. */
void tg_refusals_tick(struct tg_refusals *r, int64_t now);

#endif
