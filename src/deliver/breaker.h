/* A destination's circuit breaker. Pure; times are ms on the monotonic clock.
 *
 *     closed --(5 failures in a row)--> open --(time is up)--> half-open: one probe --success--> closed,
 * ramping up
 *                                        ^-----------------------------------failure (twice as long, at most
 * 60 s)
 *
 * One failure does not open it. While it is open nothing new is sent and the cursor stands still. After an
 * outage the number of requests at once grows by one with each success, so that a partner that has just come
 * back is not run over. */
#ifndef TG_DELIVER_BREAKER_H
#define TG_DELIVER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum { TG_BREAKER_MAX_MS = 60 * 1000 };
enum tg_breaker_state { TG_BREAKER_CLOSED, TG_BREAKER_OPEN, TG_BREAKER_HALF_OPEN };

struct tg_breaker {
    enum tg_breaker_state state;
    unsigned failures; /* in a row */
    unsigned openings; /* in a row, for the doubling */
    unsigned ramp;     /* most requests at once; 0: as many as there may be */
    bool probing;      /* half-open, and the probe is under way */
    int64_t until;     /* open until then */
};

/* How many requests may be under way now, of at most `full`. Moves from open to half-open when the time is
 * up. */
unsigned tg_breaker_window(struct tg_breaker *b, unsigned full, int64_t now);
/* A request leaves. */
void tg_breaker_sent(struct tg_breaker *b);
void tg_breaker_success(struct tg_breaker *b, unsigned full);
/* `random` spreads the opening time. */
void tg_breaker_failure(struct tg_breaker *b, int64_t now, uint64_t random);
/* As another worker has seen it. */
void tg_breaker_open_until(struct tg_breaker *b, int64_t until, unsigned openings);
/* The probe ended without saying anything about the partner (cancelled). */
void tg_breaker_forget_probe(struct tg_breaker *b);
const char *tg_breaker_name(const struct tg_breaker *b);

#endif
