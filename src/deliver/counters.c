#include "deliver/counters.h"

#include "base/mem.h"

#include <stdio.h>

static const struct {
    const char *name, *help;
} kinds[TG_COUNT_KINDS] = {
    [TG_COUNT_SKIPPED] = {"tidegate_events_skipped_total", "Events that do not concern the destination."},
    [TG_COUNT_REJECTED] = {"tidegate_events_rejected_total",
                           "Events that the script or the partner refused."},
    [TG_COUNT_RETRIED] = {"tidegate_events_retried_total", "Attempts that failed and will be repeated."},
    [TG_COUNT_DROPPED] = {"tidegate_events_dropped_total", "Events given up because a quota was used up."},
    [TG_COUNT_DEAD] = {TG_EVENTS_DEAD, TG_EVENTS_DEAD_HELP},
};

static tg_cell *cell(struct tg_counters *c, enum tg_metric_kind kind, const char *name, const char *help)
{
    return tg_metric(c->metrics, kind, name, help, c->label);
}

static tg_cell *labelled(struct tg_counters *c, const char *name, const char *help, const char *key,
                         const char *value)
{
    struct tg_buf labels = TG_BUF_INIT(1024);
    const char *text = NULL;
    if (tg_buf_adds(&labels, c->label) == TG_OK && tg_metric_label(&labels, key, tg_str_of(value)) == TG_OK)
        text = tg_buf_cstr(&labels);
    tg_cell *found = tg_metric(c->metrics, TG_COUNTER, name, help, text ? text : c->label);
    tg_buf_fini(&labels);
    return found;
}

int tg_counters_init(struct tg_counters *c, struct tg_metrics *m, const char *destination)
{
    struct tg_buf label = TG_BUF_INIT(1024);
    memset(c, 0, sizeof *c);
    c->metrics = m;
    int rc = tg_metric_label(&label, "destination", tg_str_of(destination));
    c->label = rc == TG_OK ? tg_buf_take(&label, NULL) : NULL;
    tg_buf_fini(&label);
    if (!c->label)
        return TG_NOMEM;
    c->delivered = cell(c, TG_COUNTER, "tidegate_events_delivered_total", "Events delivered.");
    c->latency_sum = cell(c, TG_COUNTER, "tidegate_delivery_latency_milliseconds_sum",
                          "Time from receipt to delivery, all delivered events together.");
    c->latency_count =
        cell(c, TG_COUNTER, "tidegate_delivery_latency_milliseconds_count", "Events in the sum.");
    c->parked =
        cell(c, TG_GAUGE_MAX, "tidegate_destination_parked", "1 while the destination waits for a person.");
    c->backlog = cell(c, TG_GAUGE, "tidegate_backlog_events",
                      "Events in the log that the destination has not settled.");
    c->oldest =
        cell(c, TG_GAUGE_MAX, "tidegate_oldest_waiting_seconds", "Age of the oldest event that waits.");
    c->retries = cell(c, TG_GAUGE, "tidegate_retries_waiting", "Events in the retry set.");
    c->retry_bytes = cell(c, TG_GAUGE, "tidegate_retry_bytes", "What its events in the retry set take.");
    c->in_flight = cell(c, TG_GAUGE, "tidegate_requests_in_flight", "Requests under way.");
    c->held =
        cell(c, TG_GAUGE_MAX, "tidegate_destination_paused", "1 while an operator holds the destination.");
    c->waiting = cell(c, TG_GAUGE_MAX, "tidegate_destination_waiting_seconds",
                      "How long the destination still keeps still because the partner asked for it.");
    c->breaker =
        cell(c, TG_GAUGE_MAX, "tidegate_destination_breaker_open", "1 while the breaker is not closed.");
    c->dead_bytes = cell(c, TG_GAUGE_MAX, "tidegate_dead_bytes", "What the destination's dead letters take.");
    c->dead_free =
        cell(c, TG_GAUGE_MAX, "tidegate_dead_free_bytes", "What they may take yet: dead.max_bytes.");
    c->backlog_bytes = cell(c, TG_GAUGE, "tidegate_backlog_bytes", "What the backlog takes in the log.");
    c->backlog_free = cell(c, TG_GAUGE, "tidegate_backlog_free_bytes",
                           "What backlog and retries may take yet: backlog.max_bytes.");
    return TG_OK;
}

void tg_counters_fini(struct tg_counters *c)
{
    tg_free(c->label);
    c->label = NULL;
}

void tg_counters_clear(struct tg_counters *c)
{
    tg_cell *const gauges[] = {c->parked,     c->backlog,       c->oldest,      c->retries, c->in_flight,
                               c->dead_bytes, c->retry_bytes,   c->held,        c->waiting, c->breaker,
                               c->dead_free,  c->backlog_bytes, c->backlog_free};
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        tg_gauge(gauges[i], 0);
}

static tg_cell *reason_cell(struct tg_counters *c, enum tg_counted kind, const char *reason)
{
    return labelled(c, kinds[kind].name, kinds[kind].help, "reason", reason);
}

void tg_counters_event(struct tg_counters *c, enum tg_counted kind, const char *reason)
{
    for (size_t i = 0; i < c->n_reasons; i++) {
        if (c->reasons[i].kind == kind &&
            strncmp(c->reasons[i].reason, reason, TG_COUNT_REASON_MAX - 1) == 0) {
            tg_count(c->reasons[i].cell, 1);
            return;
        }
    }
    if (c->n_reasons == TG_COUNT_REASONS) {
        tg_count(reason_cell(c, kind, "other"), 1);
        return;
    }
    size_t i = c->n_reasons++;
    c->reasons[i].kind = kind;
    snprintf(c->reasons[i].reason, TG_COUNT_REASON_MAX, "%s", reason);
    c->reasons[i].cell = reason_cell(c, kind, c->reasons[i].reason);
    tg_count(c->reasons[i].cell, 1);
}

void tg_counters_request(struct tg_counters *c, int status)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx", "other"};
    size_t class = status <= 0 ? 0 : status < 600 ? (size_t)status / 100 : 6;
    if (!c->requests[class])
        c->requests[class] = labelled(c, "tidegate_requests_total", "Requests by class of the answer.",
                                      "status", classes[class]);
    tg_count(c->requests[class], 1);
}

void tg_counters_delivered(struct tg_counters *c, int64_t latency_ms)
{
    tg_count(c->delivered, 1);
    tg_count(c->latency_sum, latency_ms > 0 ? latency_ms : 0);
    tg_count(c->latency_count, 1);
}
