#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t wall_shift;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t tg_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000 + atomic_load_explicit(&wall_shift, memory_order_relaxed);
}

int64_t tg_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t tg_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t tg_thread_cpu_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

void tg_wall_shift_ms(int64_t by)
{
    atomic_store(&wall_shift, by);
}
