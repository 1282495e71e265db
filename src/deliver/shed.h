/* Makes room when more waits for a destination than may (quota.h): the oldest events leave, of the retry set
 * first, then of the log; as dead letters, or dropped and counted. */
#ifndef TG_DELIVER_SHED_H
#define TG_DELIVER_SHED_H

#include "deliver/model.h"

/* Of the log, whether the destination may send or not. True when more could go at once. */
bool tg_shed_lane(struct outlet *o, struct lane *lane, int64_t now);
void tg_shed_rows(struct outlet *o, int64_t now); /* of the retry set */

#endif
