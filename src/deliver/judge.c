#include "deliver/judge.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAME_REASON_MAX = 20, DENIED_MAX = 2 };

void tg_judge_status(int status, enum tg_client_failure failure, struct tg_verdict *verdict)
{
    static const char *const words[] = {[TG_CLIENT_NETWORK] = "network_error",
                                        [TG_CLIENT_TIMEOUT] = "timeout",
                                        [TG_CLIENT_EGRESS] = "egress_refused"};
    tg_verdict_of_status(failure == TG_CLIENT_ANSWERED ? status : 0, verdict);
    if (failure != TG_CLIENT_ANSWERED)
        snprintf(verdict->reason, sizeof verdict->reason, "%s", words[failure]);
}

const char *tg_response_header(const struct tg_response *response, const char *name)
{
    for (size_t i = 0; i < response->n_headers; i++)
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    return NULL;
}

/* A number of seconds, fractions allowed and rounded up; negative when it is none. */
static double seconds_in(const char *text)
{
    size_t n = text ? strspn(text, "0123456789.") : 0;
    return n && n < 20 && text[n] == 0 ? strtod(text, NULL) : -1;
}

static int64_t capped(double ms)
{
    if (!(ms > 0))
        return 0;
    return ms < TG_PAUSE_MAX_MS ? (int64_t)ms : TG_PAUSE_MAX_MS;
}

static int64_t retry_after(const struct tg_response *response, int64_t now)
{
    const char *text = tg_response_header(response, "Retry-After");
    int64_t at;
    if (!text)
        return 0;
    double seconds = seconds_in(text);
    if (seconds >= 0)
        return capped(seconds * 1000);
    return tg_time_parse_http(tg_str_of(text), &at) ? capped((double)at - (double)now) : 0;
}

static int64_t reset_in(const struct tg_response *response, const struct tg_rate *rate, int64_t now)
{
    const char *left = tg_response_header(response, "X-RateLimit-Remaining");
    if (rate->reset == TG_RESET_NONE || (response->status != 429 && (!left || strcmp(left, "0") != 0)))
        return 0;
    const char *text = tg_response_header(response, "X-RateLimit-Reset");
    double seconds = seconds_in(text ? text : tg_response_header(response, "RateLimit-Reset"));
    if (seconds < 0)
        return 0;
    return capped(rate->reset == TG_RESET_SECONDS ? seconds * 1000 : seconds * 1000 - (double)now);
}

int64_t tg_judge_pause(const struct tg_response *response, const struct tg_rate *rate, int64_t now)
{
    int64_t wait = response->status >= 300 ? retry_after(response, now) : 0;
    int64_t reset = rate ? reset_in(response, rate, now) : 0;
    return wait > reset ? wait : reset;
}

/* One number for all workers: the reason's hash, how many events were denied, how many in a row had this
 * reason. */
enum { SAME_BITS = 5, DENIED_BITS = 2, COUNT_BITS = SAME_BITS + DENIED_BITS };

static unsigned same_of(uint64_t strikes)
{
    return strikes & ((1u << SAME_BITS) - 1);
}

static unsigned denied_of(uint64_t strikes)
{
    return (strikes >> SAME_BITS) & ((1u << DENIED_BITS) - 1);
}

static uint64_t hash_of(const char *reason)
{
    static const unsigned char key[16] = "tidegate.judge";
    return tg_siphash(key, reason, strlen(reason)) >> COUNT_BITS;
}

static uint64_t one_more(uint64_t strikes, uint64_t hash, bool denied)
{
    uint64_t same = strikes >> COUNT_BITS == hash ? same_of(strikes) + 1 : 1, n = denied_of(strikes) + denied;
    same = same < SAME_REASON_MAX ? same : SAME_REASON_MAX;
    n = n < DENIED_MAX ? n : DENIED_MAX;
    return hash << COUNT_BITS | n << SAME_BITS | same;
}

void tg_strikes_success(tg_shared_cell *strikes)
{
    if (atomic_load(strikes)) /* each success asks, few have to write */
        atomic_store(strikes, 0);
}

bool tg_strikes_reject(tg_shared_cell *strikes, int status, const struct tg_verdict *verdict)
{
    /* A script that says what a 403 means has said that it is this event's. */
    bool denied = !verdict->by_script && (status == 402 || status == 403);
    uint64_t hash = hash_of(verdict->reason), now;
    int64_t before = atomic_load(strikes);
    do
        now = one_more((uint64_t)before, hash, denied);
    while (!atomic_compare_exchange_weak(strikes, &before, (int64_t)now));
    return denied_of(now) >= DENIED_MAX || same_of(now) >= SAME_REASON_MAX;
}
