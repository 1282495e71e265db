/* Token buckets as one number each (the "generic cell rate algorithm"): the time at which the bucket would be
 * full again. A single atomic number can be shared by all workers (deliver/shared.h) without a lock. Pure:
 * `now` is an argument, in microseconds on the monotonic clock, which is one for all processes. */
#ifndef TG_DELIVER_RATE_H
#define TG_DELIVER_RATE_H

#include <stdint.h>

/* Takes one token. 0 when there was one, else the microseconds until there may be. A time that is too late
 * for this rate is put right. */
int64_t tg_rate_take(_Atomic int64_t *bucket, double per_second, double burst, int64_t now_us);
/* What tg_rate_take would say, without taking. */
int64_t tg_rate_wait(const _Atomic int64_t *bucket, double per_second, double burst, int64_t now_us);

#endif
