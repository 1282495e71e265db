#include "deliver/rate.h"

#include <stdatomic.h>

/* How much later than now the bucket may be full at most, for a token to be there. */
static int64_t tolerance(double per_second, double burst)
{
    return (int64_t)(((burst > 1 ? burst : 1) - 1) * 1e6 / per_second);
}

/* An empty bucket is full after so long, so a later time is not of this rate: it has been raised since, or
 * the time is from before a restart and the clock has been set. */
static int64_t at_most(int64_t full_at, double per_second, double burst, int64_t now_us)
{
    int64_t latest = now_us + (int64_t)((burst > 1 ? burst : 1) * 1e6 / per_second);
    return full_at < latest ? full_at : latest;
}

static int64_t wait_of(int64_t full_at, double per_second, double burst, int64_t now_us)
{
    int64_t wait = full_at - now_us - tolerance(per_second, burst);
    return wait > 0 ? wait : 0;
}

int64_t tg_rate_wait(const _Atomic int64_t *bucket, double per_second, double burst, int64_t now_us)
{
    return per_second > 0
               ? wait_of(at_most(atomic_load(bucket), per_second, burst, now_us), per_second, burst, now_us)
               : 0;
}

int64_t tg_rate_take(_Atomic int64_t *bucket, double per_second, double burst, int64_t now_us)
{
    if (!(per_second > 0))
        return 0;
    int64_t full_at = atomic_load(bucket), next;
    do {
        int64_t known = at_most(full_at, per_second, burst, now_us);
        int64_t wait = wait_of(known, per_second, burst, now_us);
        if (wait > 0) {
            /* Noted, or it would be too late by as much at every later time too. */
            if (known < full_at)
                (void)atomic_compare_exchange_strong(bucket, &full_at, known);
            return wait;
        }
        next = (known > now_us ? known : now_us) + (int64_t)(1e6 / per_second);
    } while (!atomic_compare_exchange_weak(bucket, &full_at, next));
    return 0;
}
