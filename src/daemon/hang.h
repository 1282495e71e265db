/* Whether something that should change does: the beats of a worker's loop, the end of a script call. Time is
 * counted in the supervisor's own ticks, and a tick counts for little however late it comes: while the whole
 * machine is suspended nobody is late. */
#ifndef TG_DAEMON_HANG_H
#define TG_DAEMON_HANG_H

#include <stdbool.h>
#include <stdint.h>

struct tg_hang {
    uint64_t seen;     /* what it was last */
    int64_t silent_ms; /* since it changed, as far as we were there to see */
};

/* The milliseconds that count since *last, which becomes `now`. */
int64_t tg_hang_elapsed(int64_t *last, int64_t now);
/* For how long `value` has not changed, `elapsed` after the last look. */
int64_t tg_hang_silence(struct tg_hang *h, uint64_t value, int64_t elapsed);
/* Whether a debugger holds the process. */
bool tg_hang_is_traced(int pid);

#endif
