/* Lines of the log that are written once a minute at most, for a million events fail as one does. The next
 * line says how many were left out; metrics count them all, dead letters keep them. */
#ifndef TG_DELIVER_TOLD_H
#define TG_DELIVER_TOLD_H

#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum { TG_TOLD_EVERY_MS = 60000 };

/* The lines of a kind. */
struct tg_told {
    int64_t at;         /* mono ms of the last one; 0: none yet */
    int64_t suppressed; /* since then */
};

/* Whether a line is due; then the next one is not for a minute. One that is not counts as suppressed. */
bool tg_told_due(struct tg_told *told, int64_t now);
/* Lines of a kind, one a minute for each reason, so that a common one does not hide a rare one. Reasons
 * beyond the first few of a minute share a place. */
enum { TG_TOLD_REASONS = 8 };
struct tg_told_reasons {
    struct {
        uint64_t hash; /* of the reason */
        struct tg_told told;
    } v[TG_TOLD_REASONS];
};
struct tg_told *tg_told_of(struct tg_told_reasons *reasons, const char *reason, int64_t now);

/* The line that is due, as a warning, with suppressed= when some were. Empty texts are left out. The list of
 * fields ends with a NULL key; of more than TG_TOLD_FIELDS the rest is left out. */
void tg_told_line(struct tg_told *told, const char *msg, const struct tg_field *fields);
enum { TG_TOLD_FIELDS = 8 };
#define tg_told_warn(told, msg, ...) tg_told_line((told), (msg), (struct tg_field[]){__VA_ARGS__, {.key = 0}})

/* The wall clock and the one that never jumps have come apart by more than a minute. `apart`: where the last
 * difference is kept, 0: none yet. */
void tg_told_clock(int64_t *apart, int64_t wall_ms, int64_t mono_ms);

#endif
