#include "deliver/backoff.h"

int64_t tg_backoff_delay(const struct tg_backoff *b, uint32_t attempts, uint64_t random)
{
    int64_t ceiling = b->first_ms;
    for (uint32_t i = 1; i < attempts && ceiling < b->max_ms; i++)
        ceiling = ceiling > b->max_ms / 2 ? b->max_ms : ceiling * 2;
    if (ceiling > b->max_ms)
        ceiling = b->max_ms;
    return ceiling < 1 ? 1 : 1 + (int64_t)(random % (uint64_t)ceiling);
}

bool tg_backoff_next(const struct tg_backoff *b, uint32_t attempts, uint64_t random, int64_t least,
                     bool stand_still, int64_t *budget_used, int64_t *delay)
{
    *delay = tg_backoff_delay(b, attempts, random);
    if (*delay < least)
        *delay = least;
    if (stand_still)
        return true;
    int64_t left = b->deadline_ms - *budget_used;
    if (left <= 0)
        return false;
    if (*delay > left)
        *delay = left;
    *budget_used += *delay;
    return true;
}

uint64_t tg_backoff_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
