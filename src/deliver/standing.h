/* Whether a destination may send: parked because its partner refuses it, held by the operator, paused because
 * the partner asked for it. Known to all workers through shared cells, and after a restart through the state.
 */
#ifndef TG_DELIVER_STANDING_H
#define TG_DELIVER_STANDING_H

#include "deliver/model.h"

enum { TG_CELL_OFF = -1 }; /* somebody has said no since the relay's start; 0: nobody has said anything */

bool tg_outlet_is_parked(const struct outlet *o);
bool tg_outlet_is_held(const struct outlet *o);
bool tg_outlet_open(struct outlet *o); /* may send: enabled, not parked, held, paused */
/* What has not been sent will not be for long: the events wait in the log or the retry set instead. */
bool tg_outlet_stands_still(const struct outlet *o);

/* why: "401 from POST https://…", without secrets; NULL: it was no answer. */
void tg_outlet_park(struct outlet *o, const char *reason, const char *why);
void tg_outlet_pause(struct outlet *o, int64_t ms, const char *why);
void tg_outlet_hold(struct outlet *o, bool hold);
void tg_outlet_resume(struct outlet *o); /* ends all of these, and an open breaker */

#endif
