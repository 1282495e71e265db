#include "daemon/tally.h"

#include "base/json.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

/* Metrics of one name may be about destinations or about sources: the label says which. */
static const struct family {
    const char *metric, *of, *why, *what;
} families[] = {
    {"tidegate_events_delivered_total", "destination", NULL, "delivered"},
    {"tidegate_events_skipped_total", "destination", "reason", "skipped"},
    {"tidegate_events_rejected_total", "destination", "reason", "rejected"},
    {"tidegate_events_retried_total", "destination", "reason", "retried"},
    {"tidegate_events_dead_total", "destination", "reason", "dead"},
    {"tidegate_events_dropped_total", "destination", "reason", "dropped"},
    {"tidegate_events_accepted_total", "source", NULL, "accepted"},
    {"tidegate_events_duplicate_total", "source", NULL, "duplicates"},
    {"tidegate_events_rejected_total", "source", "reason", "set_aside"},
    {"tidegate_ingest_refused_total", NULL, "code", "refused"},
};

/* Where the label's value begins; NULL: there is none of that name. */
static const char *find_label(const char *labels, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = labels, *equals; (equals = strchr(p, '=')) && equals[1] == '"';) {
        if ((size_t)(equals - p) == n && strncmp(p, key, n) == 0)
            return equals + 2;
        for (p = equals + 2; *p && *p != '"'; p++)
            p += *p == '\\' && p[1];
        p += *p == '"';
        p += *p == ',';
    }
    return NULL;
}

/* A label's value as it was before it was escaped, "" for no label, to be freed. */
static int label_of(const char *labels, const char *key, char **out)
{
    const char *p = key ? find_label(labels, key) : "";
    char *text = p ? tg_malloc(strlen(p) + 1) : NULL, *end = text;
    if (!text)
        return p ? TG_NOMEM : TG_NOTFOUND;
    for (; *p && *p != '"'; p++) {
        bool escaped = *p == '\\' && p[1];
        p += escaped;
        *end++ = escaped && *p == 'n' ? '\n' : *p;
    }
    *end = '\0';
    *out = text;
    return TG_OK;
}

/* Takes the texts when it returns TG_OK. TG_EXISTS: it was added to a row that there is. */
static int add(struct tg_tally *t, const struct family *f, char *of, char *why, int64_t n)
{
    for (size_t i = 0; i < t->n; i++) {
        struct tg_tally_row *row = &t->rows[i];
        if (row->what == f->what && strcmp(row->of, of) == 0 && strcmp(row->why, why) == 0) {
            row->n += n;
            return TG_EXISTS;
        }
    }
    struct tg_tally_row *more = tg_realloc(t->rows, (t->n + 1) * sizeof *more);
    if (!more)
        return TG_NOMEM;
    t->rows = more;
    bool is_source = f->of && strcmp(f->of, "source") == 0;
    more[t->n++] =
        (struct tg_tally_row){.what = f->what, .of = of, .why = why, .is_source = is_source, .n = n};
    return TG_OK;
}

struct reading {
    struct tg_tally *t;
    int rc;
};

static int read_family(struct tg_tally *t, const struct family *f, const char *labels, int64_t n)
{
    char *of = NULL, *why = NULL;
    int rc = label_of(labels, f->of, &of);
    if (!rc)
        rc = label_of(labels, f->why, &why);
    if (!rc)
        rc = add(t, f, of, why, n);
    if (rc) {
        tg_free(of);
        tg_free(why);
    }
    return rc == TG_NOMEM ? rc : TG_OK;
}

static void read_series(void *arg, enum tg_metric_kind kind, const char *name, const char *help,
                        const char *labels, int64_t value)
{
    (void)kind, (void)help;
    struct reading *r = arg;
    for (size_t i = 0; value && !r->rc && i < sizeof families / sizeof *families; i++)
        if (strcmp(name, families[i].metric) == 0)
            r->rc = read_family(r->t, &families[i], labels, value);
}

int tg_tally_read(struct tg_metrics *m, struct tg_tally *out)
{
    struct reading r = {out, TG_OK};
    *out = (struct tg_tally){NULL, 0};
    int rc = tg_metrics_each(m, read_series, &r);
    rc = rc ? rc : r.rc;
    if (rc)
        tg_tally_fini(out);
    return rc;
}

void tg_tally_fini(struct tg_tally *t)
{
    for (size_t i = 0; i < t->n; i++) {
        tg_free(t->rows[i].of);
        tg_free(t->rows[i].why);
    }
    tg_free(t->rows);
    *t = (struct tg_tally){NULL, 0};
}

/* --- as JSON --- */

static int add_member(struct tg_buf *json, const char *name)
{
    int rc = json->data[json->len - 1] == '{' ? TG_OK : tg_buf_addc(json, ',');
    if (!rc)
        rc = tg_json_quote(json, tg_str_of(name));
    return rc ? rc : tg_buf_addc(json, ':');
}

static int add_count(struct tg_buf *json, const char *name, int64_t n)
{
    int rc = add_member(json, name);
    return rc ? rc : tg_buf_printf(json, "%" PRId64, n);
}

/* The rows of one kind about one destination or source: a number, or an object of reasons. */
static int add_kind(const struct tg_tally *t, const struct tg_tally_row *first, struct tg_buf *json)
{
    int rc = add_member(json, first->what);
    if (!*first->why)
        return rc ? rc : tg_buf_printf(json, "%" PRId64, first->n);
    if (!rc)
        rc = tg_buf_addc(json, '{');
    for (const struct tg_tally_row *row = first; !rc && row < t->rows + t->n; row++)
        if (row->what == first->what && strcmp(row->of, first->of) == 0)
            rc = add_count(json, row->why, row->n);
    return rc ? rc : tg_buf_addc(json, '}');
}

static bool is_first(const struct tg_tally *t, const struct tg_tally_row *row, bool of_its_kind)
{
    for (const struct tg_tally_row *r = t->rows; r < row; r++)
        if (r->is_source == row->is_source && strcmp(r->of, row->of) == 0 &&
            (!of_its_kind || r->what == row->what))
            return false;
    return true;
}

static int add_kinds(const struct tg_tally *t, const char *of, bool is_source, struct tg_buf *json)
{
    int rc = tg_buf_addc(json, '{');
    for (const struct tg_tally_row *row = t->rows; !rc && row < t->rows + t->n; row++)
        if (row->is_source == is_source && strcmp(row->of, of) == 0 && (is_source || *row->why) &&
            is_first(t, row, true))
            rc = add_kind(t, row, json);
    return rc ? rc : tg_buf_addc(json, '}');
}

int64_t tg_tally_total(const struct tg_tally *t, const char *destination, const char *what)
{
    int64_t n = 0;
    for (const struct tg_tally_row *row = t->rows; row < t->rows + t->n; row++)
        if (!row->is_source && strcmp(row->of, destination) == 0 && strcmp(row->what, what) == 0)
            n += row->n;
    return n;
}

int tg_tally_reasons(const struct tg_tally *t, const char *destination, struct tg_buf *json)
{
    return add_kinds(t, destination, false, json);
}

int tg_tally_sources(const struct tg_tally *t, struct tg_buf *json)
{
    int rc = tg_buf_addc(json, '{');
    for (const struct tg_tally_row *row = t->rows; !rc && row < t->rows + t->n; row++) {
        if (!row->is_source || !is_first(t, row, false))
            continue;
        rc = add_member(json, row->of);
        if (!rc)
            rc = add_kinds(t, row->of, true, json);
    }
    return rc ? rc : tg_buf_addc(json, '}');
}

int tg_tally_refused(const struct tg_tally *t, struct tg_buf *json)
{
    int rc = tg_buf_addc(json, '{');
    for (const struct tg_tally_row *row = t->rows; !rc && row < t->rows + t->n; row++)
        if (!row->is_source && !*row->of)
            rc = add_count(json, row->why, row->n);
    return rc ? rc : tg_buf_addc(json, '}');
}
