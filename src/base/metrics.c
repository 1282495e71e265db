/* One shared mapping: a header, a name table that only grows, and a matrix of cells [slot][series].
 *
 * Series are found by a linear-probing hash on name and labels. Inserting takes a spin lock in the mapping; a
 * process that dies while it holds the lock would stop the others, so the owner's pid is the lock word and a
 * dead owner's lock is taken over (an insertion becomes visible with its last store, `used`, so that a
 * half-made entry is simply made again). Names and help are copied: a worker that reloads may have other
 * literals. */
#include "base/metrics.h"

#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Enough for a thousand sources and a thousand destinations; what nobody uses of it takes no memory. */
enum { SERIES = 32768, NAME_MAX_BYTES = 64, HELP_MAX_BYTES = 128, LABELS_MAX_BYTES = 192, SPARE = SERIES };

struct series {
    atomic_int used;
    int kind;
    char name[NAME_MAX_BYTES];
    char help[HELP_MAX_BYTES];
    char labels[LABELS_MAX_BYTES];
};

struct shared {
    atomic_int lock; /* pid of the owner, 0: free */
    _Atomic int64_t overflow;
    struct series series[SERIES];
    tg_cell cells[]; /* [slots][SERIES + 1]; the last of each row is the spare cell */
};

struct tg_metrics {
    struct shared *shared;
    size_t bytes;
    unsigned slots;
    unsigned slot; /* of this process: the struct itself is private memory */
};

struct tg_metrics *tg_metrics_new(unsigned slots)
{
    struct tg_metrics *m = tg_calloc(1, sizeof *m);
    if (!m)
        return NULL;
    if (slots < 1)
        slots = 1;
    if (slots > TG_METRICS_MAX_SLOTS)
        slots = TG_METRICS_MAX_SLOTS;
    m->slots = slots;
    m->bytes = sizeof(struct shared) + (size_t)slots * (SERIES + 1) * sizeof(tg_cell);
    m->shared =
        mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->shared == MAP_FAILED) {
        tg_free(m);
        return NULL;
    }
    return m;
}

void tg_metrics_free(struct tg_metrics **m)
{
    if (!*m)
        return;
    (void)munmap((*m)->shared, (*m)->bytes);
    tg_free(*m);
    *m = NULL;
}

void tg_metrics_slot(struct tg_metrics *m, unsigned slot)
{
    m->slot = slot < m->slots ? slot : 0;
}

static void lock(struct shared *s)
{
    int me = (int)getpid();
    for (unsigned spins = 0;; spins++) {
        int owner = 0;
        if (atomic_compare_exchange_weak(&s->lock, &owner, me))
            return;
        if (owner != 0 && owner != me && kill(owner, 0) != 0 && errno == ESRCH &&
            atomic_compare_exchange_strong(&s->lock, &owner, me))
            return;
        if (spins % 64 == 63)
            sched_yield();
    }
}

static void unlock(struct shared *s)
{
    atomic_store(&s->lock, 0);
}

void tg_metrics_died(struct tg_metrics *m, int pid)
{
    (void)atomic_compare_exchange_strong(&m->shared->lock, &pid, 0);
}

static uint32_t hash_of(const char *name, const char *labels)
{
    uint32_t h = 2166136261u;
    for (const char *p = name; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    for (const char *p = labels; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    return h;
}

/* The index of the series, or of the free place where it would go, or SPARE when neither is there. */
static unsigned probe(struct shared *s, const char *name, const char *labels, int *found)
{
    unsigned at = hash_of(name, labels) % SERIES;
    *found = 0;
    for (unsigned i = 0; i < SERIES; i++, at = (at + 1) % SERIES) {
        struct series *e = &s->series[at];
        if (!atomic_load_explicit(&e->used, memory_order_acquire))
            return at;
        if (strcmp(e->name, name) == 0 && strcmp(e->labels, labels) == 0) {
            *found = 1;
            return at;
        }
    }
    return SPARE;
}

static tg_cell *cell_at(struct tg_metrics *m, unsigned slot, unsigned index)
{
    return &m->shared->cells[(size_t)slot * (SERIES + 1) + index];
}

static void insert(struct series *e, enum tg_metric_kind kind, const char *name, const char *help,
                   const char *labels)
{
    e->kind = (int)kind;
    memcpy(e->name, name, strlen(name) + 1);
    memcpy(e->labels, labels, strlen(labels) + 1);
    size_t n = strlen(help);
    if (n >= HELP_MAX_BYTES)
        n = HELP_MAX_BYTES - 1;
    memcpy(e->help, help, n);
    e->help[n] = '\0';
    atomic_store_explicit(&e->used, 1, memory_order_release);
}

tg_cell *tg_metric(struct tg_metrics *m, enum tg_metric_kind kind, const char *name, const char *help,
                   const char *labels)
{
    struct shared *s = m->shared;
    int found = 0;
    unsigned at = SPARE;
    if (strlen(name) < NAME_MAX_BYTES && strlen(labels) < LABELS_MAX_BYTES) {
        at = probe(s, name, labels, &found);
        if (!found) {
            lock(s);
            at = probe(s, name, labels, &found);
            if (!found && at != SPARE)
                insert(&s->series[at], kind, name, help, labels);
            unlock(s);
        }
    }
    if (at == SPARE)
        atomic_fetch_add(&s->overflow, 1);
    return cell_at(m, m->slot, at);
}

int tg_metric_label(struct tg_buf *labels, const char *key, struct tg_str value)
{
    int rc = tg_buf_printf(labels, "%s%s=\"", labels->len ? "," : "", key);
    for (size_t i = 0; !rc && i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"')
            rc = tg_buf_printf(labels, "\\%c", c);
        else if (c == '\n')
            rc = tg_buf_adds(labels, "\\n");
        else
            rc = tg_buf_addc(labels, c);
    }
    return rc ? rc : tg_buf_addc(labels, '"');
}

static int64_t total(struct tg_metrics *m, unsigned index)
{
    int64_t sum = 0, greatest = INT64_MIN;
    for (unsigned slot = 0; slot < m->slots; slot++) {
        int64_t v = atomic_load_explicit(cell_at(m, slot, index), memory_order_relaxed);
        sum += v;
        if (v > greatest)
            greatest = v;
    }
    return m->shared->series[index].kind == TG_GAUGE_MAX ? greatest : sum;
}

int64_t tg_metric_total(struct tg_metrics *m, const char *name, const char *labels)
{
    int found;
    unsigned at = probe(m->shared, name, labels, &found);
    return found ? total(m, at) : 0;
}

static int by_name(const void *pa, const void *pb)
{
    const struct series *a = *(const struct series *const *)pa, *b = *(const struct series *const *)pb;
    int c = strcmp(a->name, b->name);
    return c ? c : strcmp(a->labels, b->labels);
}

int tg_metrics_each(struct tg_metrics *m,
                    void (*each)(void *arg, enum tg_metric_kind kind, const char *name, const char *help,
                                 const char *labels, int64_t value),
                    void *arg)
{
    struct shared *s = m->shared;
    const struct series **list = tg_calloc(SERIES, sizeof(*list));
    if (!list)
        return TG_NOMEM;
    size_t n = 0;
    for (unsigned i = 0; i < SERIES; i++) {
        if (atomic_load_explicit(&s->series[i].used, memory_order_acquire))
            list[n++] = &s->series[i];
    }
    qsort(list, n, sizeof(*list), by_name);
    for (size_t i = 0; i < n; i++) {
        const struct series *e = list[i];
        each(arg, (enum tg_metric_kind)e->kind, e->name, e->help, e->labels,
             total(m, (unsigned)(e - s->series)));
    }
    tg_free(list);
    return TG_OK;
}

struct render {
    struct tg_buf *out;
    const char *last;
    int rc;
};

static void render_one(void *arg, enum tg_metric_kind kind, const char *name, const char *help,
                       const char *labels, int64_t value)
{
    struct render *r = arg;
    if (!r->rc && (!r->last || strcmp(r->last, name) != 0))
        r->rc = tg_buf_printf(r->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                              kind == TG_COUNTER ? "counter" : "gauge");
    if (!r->rc)
        r->rc = *labels ? tg_buf_printf(r->out, "%s{%s} %" PRId64 "\n", name, labels, value)
                        : tg_buf_printf(r->out, "%s %" PRId64 "\n", name, value);
    r->last = name;
}

int tg_metrics_render(struct tg_metrics *m, struct tg_buf *out)
{
    struct render r = {.out = out};
    render_one(&r, TG_COUNTER, "tidegate_metrics_overflow_total", "Series that found no place in the table.",
               "", atomic_load(&m->shared->overflow));
    int rc = tg_metrics_each(m, render_one, &r);
    return rc ? rc : r.rc;
}
