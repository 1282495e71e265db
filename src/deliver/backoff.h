/* When a failed event is tried again: full jitter, doubling, until a deadline. Pure.
 *
 * The deadline is a budget of planned waiting: only the delays that the schedule itself asks for are counted,
 * so the clock stands still while the destination is parked, paused, rate-limited, its breaker open, or the
 * daemon down. */
#ifndef TG_DELIVER_BACKOFF_H
#define TG_DELIVER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct tg_backoff {
    int64_t first_ms, max_ms, deadline_ms;
};

/* After the attempts-th failure (from 1): a delay from 1 ms to min(max, first * 2^(attempts-1)), evenly
 * spread by `random`. */
int64_t tg_backoff_delay(const struct tg_backoff *b, uint32_t attempts, uint64_t random);
/* Plans the next attempt. False when the budget is used up: a dead letter then. Else *delay is how long to
 * wait, at least `least` (0: the schedule alone), and *budget_used has grown by it; the last attempt comes at
 * the deadline itself. With `stand_still` the budget stays as it is. */
bool tg_backoff_next(const struct tg_backoff *b, uint32_t attempts, uint64_t random, int64_t least,
                     bool stand_still, int64_t *budget_used, int64_t *delay);

/* The next number of a cheap generator, for `random` here and in breaker.h. `state` must not be 0. */
uint64_t tg_backoff_random(uint64_t *state);

#endif
