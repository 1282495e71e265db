/* A worker trims a source down to seven eighths of the ceiling whenever it has set aside its share of the
 * last eighth since; and at its first one, for what was there before. */
#include "daemon/aside.h"

#include "base/log.h"
#include "base/mem.h"

enum { EIGHTH = 8, ROW_BYTES = 1024 /* what a row costs beside its body, at least */, AT_ONCE = 500 };

struct source {
    struct tg_aside *aside;
    struct source *next;
    char *name;
    uint64_t since; /* bytes set aside since the last trim */
    bool trimming;
    tg_cell *dropped;
};

struct tg_aside {
    struct tg_state *state;
    struct tg_metrics *metrics;
    unsigned workers;
    uint64_t limit;
    bool stopped;
    struct source *sources;
};

static void trim(struct source *s);

static void on_trimmed(void *arg, int status, const char *why, int64_t dropped)
{
    struct source *s = arg;
    s->trimming = false;
    if (status) {
        s->since = UINT64_MAX / 2; /* again at the next one */
        tg_warn("what a source's bad events take cannot be bounded", TG_FS("source", s->name),
                TG_FS("reason", why ? why : tg_code_text(status)));
        return;
    }
    tg_count(s->dropped, dropped);
    if (dropped >= AT_ONCE && !s->aside->stopped)
        trim(s);
}

static void trim(struct source *s)
{
    struct tg_aside *a = s->aside;
    s->trimming = true;
    s->since = 0;
    int rc =
        tg_state_trim_dead(a->state, NULL, s->name, (int64_t)(a->limit - a->limit / EIGHTH), on_trimmed, s);
    if (rc)
        on_trimmed(s, rc, NULL, 0);
}

static struct source *source_of(struct tg_aside *a, struct tg_str name)
{
    struct tg_buf labels = TG_BUF_INIT(1024);
    struct source *s = a->sources;
    while (s && !tg_str_is(name, s->name))
        s = s->next;
    if (s)
        return s;
    s = tg_calloc(1, sizeof *s);
    const char *z = tg_metric_label(&labels, "source", name) ? NULL : tg_buf_cstr(&labels);
    if (s)
        s->name = z ? tg_strndup(name.p, name.n) : NULL;
    if (s && s->name) {
        s->aside = a;
        s->since = UINT64_MAX / 2;
        s->dropped =
            tg_metric(a->metrics, TG_COUNTER, "tidegate_setaside_dropped_total",
                      "Bad events of a source that were dropped, the oldest first, because they would "
                      "take more than their share of the disk.",
                      z);
        s->next = a->sources;
        a->sources = s;
    } else {
        tg_free(s);
        s = NULL;
    }
    tg_buf_fini(&labels);
    return s;
}

struct tg_aside *tg_aside_new(struct tg_state *state, struct tg_metrics *metrics, unsigned workers)
{
    struct tg_aside *a = tg_calloc(1, sizeof *a);
    if (a)
        *a = (struct tg_aside){
            .state = state, .metrics = metrics, .workers = workers, .limit = UINT64_MAX / 4};
    return a;
}

void tg_aside_stop(struct tg_aside *a)
{
    a->stopped = true;
}

void tg_aside_free(struct tg_aside **out)
{
    struct tg_aside *a = *out;
    *out = NULL;
    while (a && a->sources) {
        struct source *s = a->sources;
        a->sources = s->next;
        tg_free(s->name);
        tg_free(s);
    }
    tg_free(a);
}

void tg_aside_limit(struct tg_aside *a, uint64_t bytes)
{
    a->limit = bytes < INT64_MAX ? bytes : INT64_MAX;
    for (struct source *s = a->sources; s; s = s->next)
        s->since = UINT64_MAX / 2;
}

void tg_aside_note(struct tg_aside *a, struct tg_str name, size_t bytes)
{
    struct source *s = source_of(a, name);
    if (!s || a->stopped)
        return; /* without memory it is looked at with the next one */
    s->since += bytes + ROW_BYTES;
    if (!s->trimming && s->since >= a->limit / EIGHTH / a->workers)
        trim(s);
}
