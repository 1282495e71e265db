/* What the log says of a destination in trouble: each kind once a minute at most, for a million events fail
 * as one does. Metrics count them all, dead letters keep them. */
#ifndef TG_DELIVER_TELL_H
#define TG_DELIVER_TELL_H

#include "deliver/breaker.h"

#include <stdbool.h>
#include <stdint.h>

struct item;
struct outlet;

enum { TG_TELL_EVERY_MS = 60000 };

/* Mono ms of the last line of each kind; 0: none yet. */
struct tg_tell {
    int64_t retry_at, dead_at, away_at, slow_at;
    bool away; /* said, and not yet that it is over */
};

/* Whether a line is due; then the next one is not for a minute. */
bool tg_tell_due(int64_t *at, int64_t now);

/* An event has failed: it is tried `again`, or becomes a dead letter. */
void tg_tell_failed(const struct item *item, bool again);
/* The breaker may have opened or closed. `error`: what the last answer was, for the person; may be NULL. */
void tg_tell_breaker(struct outlet *o, enum tg_breaker_state before, const char *error, int status);
/* Its script took call_ms, and it rests. */
void tg_tell_slow(struct outlet *o, int64_t call_ms, int64_t rest_ms);
/* The wall clock and the one that never jumps have come apart by more than a minute. `apart`: where the last
 * difference is kept, 0: none yet. */
void tg_tell_clock(int64_t *apart, int64_t wall_ms, int64_t mono_ms);

#endif
