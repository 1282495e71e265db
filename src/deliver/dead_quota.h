/* What a destination's dead letters take: asked of the state, since all workers write them. Beyond the
 * ceiling either the oldest go, or nothing more is accepted (tg_engine_dead_full) and no event of the backlog
 * is moved there either. */
#ifndef TG_DELIVER_DEAD_QUOTA_H
#define TG_DELIVER_DEAD_QUOTA_H

#include "deliver/model.h"

void tg_dead_quota_ask(struct outlet *o); /* what do its dead letters and retries take? */
void tg_dead_quota_tick(struct outlet *o);

#endif
