/* Counters and gauges in memory shared by all processes, so that totals never go back when a worker dies.
 *
 * Create it before the first fork. Every series has one cell per worker slot; a process writes only the slot
 * that it chose with tg_metrics_slot, and rendering adds the slots (gauges that are facts about the whole
 * daemon are written by one slot only, or with tg_metric_max). Finding a series takes a lock and a hash: keep
 * the pointer. */
#ifndef TG_BASE_METRICS_H
#define TG_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdint.h>

enum tg_metric_kind {
    TG_COUNTER,
    TG_GAUGE,    /* slots are added */
    TG_GAUGE_MAX /* the greatest slot counts: ages, generations, yes/no */
};

struct tg_metrics; /* opaque, in shared memory */
typedef _Atomic int64_t tg_cell;

enum { TG_METRICS_MAX_SLOTS = 65 }; /* 64 workers, and slot 0 of the supervisor */

/* NULL when out of memory. */
struct tg_metrics *tg_metrics_new(unsigned slots);
void tg_metrics_free(struct tg_metrics **m);
/* The slot that this process writes from now on. */
void tg_metrics_slot(struct tg_metrics *m, unsigned slot);

/* A child of this process has ended and been waited for: it holds no lock any more, whoever gets its pid now.
 */
void tg_metrics_died(struct tg_metrics *m, int pid);

/* This process' cell of a series, made when missing. `name` and `help` are string literals (or outlive m in
 * every process); `labels` is what stands between the braces, already escaped (tg_metric_label), or "". Never
 * NULL: when the table is full a spare cell is returned and tidegate_metrics_overflow_total counts it. */
tg_cell *tg_metric(struct tg_metrics *m, enum tg_metric_kind kind, const char *name, const char *help,
                   const char *labels);

/* Adds `key="value"` (escaped as Prometheus wants, with a comma before it when buf is not empty). */
TG_MUST_CHECK int tg_metric_label(struct tg_buf *labels, const char *key, struct tg_str value);

static inline void tg_count(tg_cell *c, int64_t by)
{
    atomic_fetch_add_explicit(c, by, memory_order_relaxed);
}

static inline void tg_gauge(tg_cell *c, int64_t value)
{
    atomic_store_explicit(c, value, memory_order_relaxed);
}

/* The sum (or greatest) over slots of a series, 0 when there is none. For tests and /status. */
int64_t tg_metric_total(struct tg_metrics *m, const char *name, const char *labels);

/* Calls `each` for every series, sorted by name then labels. TG_NOMEM: for none. */
TG_MUST_CHECK int tg_metrics_each(struct tg_metrics *m,
                                  void (*each)(void *arg, enum tg_metric_kind kind, const char *name,
                                               const char *help, const char *labels, int64_t value),
                                  void *arg);

/* Prometheus text format 0.0.4. */
TG_MUST_CHECK int tg_metrics_render(struct tg_metrics *m, struct tg_buf *out);

#endif
