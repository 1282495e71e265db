/* What the log says of a destination in trouble: each kind once a minute at most, for a million events fail
 * as one does. The next line says how many were left out; metrics count them all, dead letters keep them. */
#ifndef TG_DELIVER_TELL_H
#define TG_DELIVER_TELL_H

#include "base/log.h"
#include "deliver/breaker.h"

#include <stdbool.h>
#include <stdint.h>

struct item;
struct outlet;

enum { TG_TELL_EVERY_MS = 60000 };

/* The lines of a kind. */
struct tg_told {
    int64_t at;         /* mono ms of the last one; 0: none yet */
    int64_t suppressed; /* since then */
};

struct tg_tell {
    struct tg_told retry, dead, breaker, slow;
    bool away; /* said, and not yet that it is over */
};

/* Whether a line is due; then the next one is not for a minute. One that is not counts as suppressed. */
bool tg_tell_due(struct tg_told *told, int64_t now);
/* The line that is due, as a warning, with suppressed= when some were. Empty texts are left out. The list of
 * fields ends with a NULL key; of more than TG_TELL_FIELDS the rest is left out. */
void tg_tell_line(struct tg_told *told, const char *msg, const struct tg_field *fields);
enum { TG_TELL_FIELDS = 8 };
#define tg_tell_warn(told, msg, ...) tg_tell_line((told), (msg), (struct tg_field[]){__VA_ARGS__, {.key = 0}})

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
