/* The metrics of one destination. */
#ifndef TG_DELIVER_COUNTERS_H
#define TG_DELIVER_COUNTERS_H

#include "base/err.h"
#include "base/metrics.h"

enum tg_counted {
    TG_COUNT_SKIPPED,
    TG_COUNT_REJECTED,
    TG_COUNT_RETRIED,
    TG_COUNT_DEAD,
    TG_COUNT_DROPPED,
    TG_COUNT_KINDS
};
enum { TG_COUNT_REASONS = 64, TG_COUNT_REASON_MAX = 64 };

#define TG_EVENTS_DEAD      "tidegate_events_dead_total"
#define TG_EVENTS_DEAD_HELP "Events that became dead letters."

struct tg_counters {
    struct tg_metrics *metrics;
    char *label; /* destination="…" */
    tg_cell *delivered, *latency_sum, *latency_count, *parked, *backlog, *oldest, *retries, *in_flight,
        *dead_bytes, *dead_free, *backlog_bytes, *backlog_free, *retry_bytes, *held, *waiting, *breaker;
    tg_cell *requests[7]; /* by class; 0: no answer */
    /* Reasons are the script's words, so there is a ceiling: the rest is counted as "other". */
    struct {
        enum tg_counted kind;
        char reason[TG_COUNT_REASON_MAX];
        tg_cell *cell;
    } reasons[TG_COUNT_REASONS];
    size_t n_reasons;
};

TG_MUST_CHECK int tg_counters_init(struct tg_counters *c, struct tg_metrics *m, const char *destination);
void tg_counters_fini(struct tg_counters *c);
/* The destination is gone: its gauges show nothing any more. What was counted stays. */
void tg_counters_clear(struct tg_counters *c);
void tg_counters_event(struct tg_counters *c, enum tg_counted kind, const char *reason);
void tg_counters_request(struct tg_counters *c, int status);
/* Delivered, and how long after the relay had received it. */
void tg_counters_delivered(struct tg_counters *c, int64_t latency_ms);

#endif
