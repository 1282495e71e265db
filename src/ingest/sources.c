#include "ingest/sources.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdatomic.h>

static int no_memory(struct tg_err *err)
{
    return tg_fail(err, TG_NOMEM, "sources: out of memory");
}

static int copy_origins(struct tg_source *s, const struct tg_ingest_source *from, struct tg_err *err)
{
    s->origins = tg_calloc(from->n_allowed_origins, sizeof *s->origins);
    if (!s->origins)
        return no_memory(err);
    for (; s->n_origins < from->n_allowed_origins; s->n_origins++) {
        s->origins[s->n_origins] = tg_strdup(from->allowed_origins[s->n_origins]);
        if (!s->origins[s->n_origins])
            return no_memory(err);
    }
    return TG_OK;
}

static int parse_proxies(struct tg_source *s, const struct tg_ingest_source *from, struct tg_err *err)
{
    s->proxies = tg_calloc(from->n_trusted_proxies, sizeof *s->proxies);
    if (!s->proxies)
        return no_memory(err);
    for (; s->n_proxies < from->n_trusted_proxies; s->n_proxies++) {
        const char *text = from->trusted_proxies[s->n_proxies];
        if (tg_cidr_parse(tg_str_of(text), &s->proxies[s->n_proxies], err))
            return tg_err_prefix(err, "source %s: trusted_proxies", s->name);
    }
    return TG_OK;
}

static int add_keys(struct tg_sources *t, unsigned owner, const struct tg_ingest_source *from,
                    struct tg_err *err)
{
    for (size_t i = 0; i < from->n_write_keys; i++) {
        int rc = tg_write_keys_add(t->keys, tg_str_of(from->write_keys[i]), owner);
        if (rc == TG_EXISTS)
            return tg_fail(err, rc, "source %s: a write key belongs to another source already", from->name);
        if (rc == TG_INVALID)
            return tg_fail(err, rc, "source %s: a write key is empty", from->name);
        if (rc)
            return no_memory(err);
    }
    return TG_OK;
}

static int make_cells(struct tg_source *s, struct tg_metrics *m, struct tg_err *err)
{
    struct tg_buf labels = TG_BUF_INIT(1024);
    int rc = tg_metric_label(&labels, "source", tg_str_of(s->name));
    const char *z = rc ? NULL : tg_buf_cstr(&labels);
    if (z) {
        s->duplicates = tg_metric(m, TG_COUNTER, "tidegate_events_duplicate_total",
                                  "Events not taken because the same is on disk already.", z);
        s->bytes =
            tg_metric(m, TG_COUNTER, "tidegate_ingest_body_bytes_total", "Bytes of bodies, decompressed.", z);
        s->merges =
            tg_metric(m, TG_COUNTER, "tidegate_events_merge_total", "Merge calls, which are dropped.", z);
    }
    size_t base = labels.len;
    for (int type = 0; z && type < TG_EVENT_TYPES; type++) {
        labels.len = base;
        rc = tg_metric_label(&labels, "type", tg_str_of(tg_event_type_name((enum tg_event_type)type)));
        z = rc ? NULL : tg_buf_cstr(&labels);
        if (z)
            s->accepted[type] =
                tg_metric(m, TG_COUNTER, "tidegate_events_accepted_total", "Events safely on disk.", z);
    }
    tg_buf_fini(&labels);
    return z ? TG_OK : no_memory(err);
}

static size_t own_limit(size_t n)
{
    return n ? n : SIZE_MAX;
}

static int fill(struct tg_sources *t, unsigned i, const struct tg_ingest_source *from, struct tg_metrics *m,
                struct tg_err *err)
{
    struct tg_source *s = &t->list[i];
    t->n = i + 1;
    s->enabled = from->enabled;
    s->allow_delete = from->allow_delete;
    s->forget_on_delete = from->forget_on_delete;
    s->trusted = from->trusted;
    s->record_ip = from->record_ip;
    s->rate = from->rate;
    s->bucket = from->bucket ? from->bucket : &s->own;
    atomic_store(s->bucket, 0); /* what was taken at another rate says nothing */
    s->body_bytes = own_limit(from->body_bytes);
    s->event_bytes = own_limit(from->event_bytes);
    s->batch_events = own_limit(from->batch_events);
    s->name = tg_strdup(from->name);
    if (!s->name)
        return no_memory(err);
    int rc = copy_origins(s, from, err);
    if (!rc)
        rc = parse_proxies(s, from, err);
    if (!rc)
        rc = add_keys(t, i, from, err);
    return rc ? rc : make_cells(s, m, err);
}

int tg_sources_new(struct tg_sources **out, const struct tg_ingest_source *sources, size_t n,
                   struct tg_metrics *metrics, struct tg_err *err)
{
    *out = NULL;
    struct tg_sources *t = tg_calloc(1, sizeof *t);
    if (!t)
        return no_memory(err);
    t->refs = 1;
    t->list = tg_calloc(n, sizeof *t->list);
    int rc = t->list ? tg_write_keys_new(&t->keys, n) : TG_NOMEM;
    if (rc)
        (void)tg_fail(err, rc, "sources: %s", tg_code_text(rc));
    for (size_t i = 0; !rc && i < n; i++)
        rc = fill(t, (unsigned)i, &sources[i], metrics, err);
    if (rc)
        tg_sources_unref(&t);
    *out = t;
    return rc;
}

struct tg_sources *tg_sources_ref(struct tg_sources *s)
{
    s->refs++;
    return s;
}

void tg_sources_unref(struct tg_sources **out)
{
    struct tg_sources *t = *out;
    *out = NULL;
    if (!t || --t->refs > 0)
        return;
    for (size_t i = 0; t->list && i < t->n; i++) {
        struct tg_source *s = &t->list[i];
        for (size_t k = 0; k < s->n_origins; k++)
            tg_free(s->origins[k]);
        tg_free(s->origins);
        tg_free(s->proxies);
        tg_free(s->name);
    }
    tg_write_keys_free(&t->keys);
    tg_free(t->list);
    tg_free(t);
}

struct tg_source *tg_sources_find(struct tg_sources *t, struct tg_str key)
{
    int i = tg_write_keys_find(t->keys, key);
    return i < 0 ? NULL : &t->list[i];
}

bool tg_source_allows_origin(const struct tg_source *s, struct tg_str origin)
{
    if (s->n_origins == 0)
        return true;
    for (size_t i = 0; i < s->n_origins; i++) {
        if (strcmp(s->origins[i], "*") == 0 || tg_str_ieq(origin, s->origins[i]))
            return true;
    }
    return false;
}

/* Whole ones, for Retry-After. */
static int seconds_of(int64_t us)
{
    int64_t seconds = (us + 999999) / 1000000;
    return seconds < 1 ? 1 : seconds > 300 ? 300 : (int)seconds;
}

int tg_source_take(struct tg_source *s, size_t n, int64_t now)
{
    if (s->rate <= 0)
        return 0;
    /* A single event needs a whole token, which a bucket holds for a rate below one too. */
    int64_t now_us = now * 1000, spare = (int64_t)((s->rate > 1 ? s->rate - 1 : 0) / s->rate * 1e6);
    double cost = (double)n / s->rate * 1e6;
    int64_t full_at = atomic_load(s->bucket), next;
    do {
        if (full_at - now_us > spare)
            return seconds_of(full_at - now_us - spare);
        next = (full_at > now_us ? full_at : now_us) + (int64_t)(cost < 1e15 ? cost : 1e15);
    } while (!atomic_compare_exchange_weak(s->bucket, &full_at, next));
    return 0;
}
