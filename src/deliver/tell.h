/* What the log says of a destination in trouble, each kind once a minute at most (told.h). */
#ifndef TG_DELIVER_TELL_H
#define TG_DELIVER_TELL_H

#include "deliver/model.h"

/* An event has failed: it is tried `again`, or becomes a dead letter. */
void tg_tell_failed(const struct item *item, bool again);
/* The breaker may have opened or closed. `error`: what the last answer was, for the person; may be NULL. */
void tg_tell_breaker(struct outlet *o, enum tg_breaker_state before, const char *error, int status);
/* The partner has asked for a pause. */
void tg_tell_wait(struct outlet *o, const char *until, const char *answer);
/* An event was given up for a quota. */
void tg_tell_dropped(struct outlet *o, const char *reason);
/* Its script took call_ms, and it rests. */
void tg_tell_slow(struct outlet *o, int64_t call_ms, int64_t rest_ms);

#endif
