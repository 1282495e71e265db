/* Counts of durations in microseconds, exact below 64 us and within 1.6 % above. For tools of one thread. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * 40 };

struct histogram {
    uint64_t n;
    int64_t max;
    uint32_t counts[HISTOGRAM_BUCKETS];
};

/* Which bucket holds `us`: each power of two above 64 is divided into 64 steps. */
static inline int histogram_bucket(int64_t us)
{
    if (us < HISTOGRAM_STEPS)
        return us < 0 ? 0 : (int)us;
    int shift = 63 - __builtin_clzll((uint64_t)us) - 6;
    int bucket = (shift + 1) * HISTOGRAM_STEPS + (int)((us >> shift) - HISTOGRAM_STEPS);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, int64_t us)
{
    h->counts[histogram_bucket(us)]++;
    h->n++;
    if (us > h->max)
        h->max = us;
}

/* The duration that `share` of all (0 to 1) do not exceed; 0 where nothing was counted. */
static inline int64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->n * share), seen = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > wanted) {
            int shift = i / HISTOGRAM_STEPS - 1;
            return shift < 0 ? i : (int64_t)(i % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
        }
    }
    return h->max;
}

#endif
