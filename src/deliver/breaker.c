#include "deliver/breaker.h"

enum { FAILURES_TO_OPEN = 5, OPEN_FIRST_MS = 1000 };

unsigned tg_breaker_window(struct tg_breaker *b, unsigned full, int64_t now)
{
    if (b->state == TG_BREAKER_OPEN && now >= b->until) {
        b->state = TG_BREAKER_HALF_OPEN;
        b->probing = false;
    }
    if (b->state == TG_BREAKER_OPEN)
        return 0;
    if (b->state == TG_BREAKER_HALF_OPEN)
        return b->probing ? 0 : 1;
    return b->ramp && b->ramp < full ? b->ramp : full;
}

void tg_breaker_sent(struct tg_breaker *b)
{
    if (b->state == TG_BREAKER_HALF_OPEN)
        b->probing = true;
}

void tg_breaker_success(struct tg_breaker *b, unsigned full)
{
    bool was_closed = b->state == TG_BREAKER_CLOSED;
    b->state = TG_BREAKER_CLOSED;
    b->failures = b->openings = 0;
    b->probing = false;
    if (!was_closed)
        b->ramp = 1;
    else if (b->ramp)
        b->ramp = b->ramp + 1 >= full ? 0 : b->ramp + 1;
}

static void open_it(struct tg_breaker *b, int64_t now, uint64_t random)
{
    int64_t most = OPEN_FIRST_MS;
    for (unsigned i = 0; i < b->openings && most < TG_BREAKER_MAX_MS; i++)
        most *= 2;
    if (most > TG_BREAKER_MAX_MS)
        most = TG_BREAKER_MAX_MS;
    b->state = TG_BREAKER_OPEN;
    b->openings++;
    b->probing = false;
    b->until = now + most / 2 + (int64_t)(random % (uint64_t)(most / 2));
}

void tg_breaker_open_until(struct tg_breaker *b, int64_t until, unsigned openings)
{
    b->state = TG_BREAKER_OPEN;
    b->openings = openings;
    b->until = until;
    b->probing = false;
}

void tg_breaker_failure(struct tg_breaker *b, int64_t now, uint64_t random)
{
    b->failures++;
    if (b->state == TG_BREAKER_HALF_OPEN ||
        (b->state == TG_BREAKER_CLOSED && b->failures >= FAILURES_TO_OPEN))
        open_it(b, now, random);
}

void tg_breaker_forget_probe(struct tg_breaker *b)
{
    b->probing = false;
}

const char *tg_breaker_name(const struct tg_breaker *b)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return names[b->state];
}
