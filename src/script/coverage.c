#include "script/coverage.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct entry {
    char *name;
    bool touched;
};

struct set {
    struct entry *v;
    size_t n;
};

struct tg_coverage {
    bool on;
    bool short_of_memory;
    unsigned handlers; /* bits of types */
    struct set rows, settings;
    char *contract; /* JSON text */
};

int tg_coverage_new(struct tg_coverage **out)
{
    *out = tg_calloc(1, sizeof **out);
    return *out ? TG_OK : TG_NOMEM;
}

static void free_set(struct set *s)
{
    for (size_t i = 0; i < s->n; i++)
        tg_free(s->v[i].name);
    tg_free(s->v);
}

void tg_coverage_free(struct tg_coverage **coverage)
{
    if (!*coverage)
        return;
    free_set(&(*coverage)->rows);
    free_set(&(*coverage)->settings);
    tg_free((*coverage)->contract);
    tg_free(*coverage);
    *coverage = NULL;
}

void tg_coverage_on(struct tg_coverage *c, bool on)
{
    c->on = on;
}

static const struct entry *find(const struct set *s, struct tg_str name)
{
    for (size_t i = 0; i < s->n; i++)
        if (tg_str_is(name, s->v[i].name))
            return &s->v[i];
    return NULL;
}

static void note(struct tg_coverage *c, struct set *s, struct tg_str name, bool touched)
{
    struct entry *e = (struct entry *)find(s, name);
    if (!e) {
        char *copy = tg_strndup(name.p, name.n);
        struct entry *v = copy ? tg_realloc(s->v, (s->n + 1) * sizeof *v) : NULL;
        if (!v) {
            tg_free(copy);
            c->short_of_memory = true;
            return;
        }
        s->v = v;
        e = &v[s->n++];
        *e = (struct entry){copy, false};
    }
    e->touched = e->touched || touched;
}

void tg_coverage_row(struct tg_coverage *c, const char *where, unsigned row, const char *to, bool filled)
{
    char name[512];
    if (!c->on)
        return;
    (void)snprintf(name, sizeof name, "%.300srow %u (%.150s)", where, row, to);
    note(c, &c->rows, tg_str_of(name), filled);
}

void tg_coverage_handler(struct tg_coverage *c, enum tg_event_type type)
{
    c->handlers |= 1u << type;
}

void tg_coverage_settings(struct tg_coverage *c, struct tg_str settings)
{
    struct tg_json_walk w = tg_json_walk(settings);
    while (tg_json_next(&w))
        note(c, &c->settings, tg_str_n(w.key.p + 1, w.key.n - 2), true);
}

void tg_coverage_contract(struct tg_coverage *c, struct tg_str json)
{
    if (c->contract)
        return;
    c->contract = tg_strndup(json.p, json.n);
    c->short_of_memory = c->short_of_memory || !c->contract;
}

struct report {
    struct tg_buf *out;
    const char *indent;
    unsigned n;
    int rc;
};

static void line(struct report *r, const char *kind, struct tg_str name)
{
    r->n++;
    if (!r->rc)
        r->rc = tg_buf_printf(r->out, "%s%s %.*s\n", r->indent, kind, TG_STR_ARG(name));
}

int tg_coverage_report(const struct tg_coverage *c, const char *indent, struct tg_buf *out, unsigned *n)
{
    struct report r = {out, indent, 0, c->short_of_memory ? TG_NOMEM : TG_OK};
    struct tg_str contract = tg_str_of(c->contract ? c->contract : "{}");
    struct tg_json_walk w = tg_json_walk(tg_json_get(contract, "accepts"));
    enum tg_event_type type;
    struct tg_str name;
    while (tg_json_next(&w))
        if (tg_json_plain(w.value, &name) && tg_event_type_parse(name, &type) && !(c->handlers & 1u << type))
            line(&r, "handler", name);
    w = tg_json_walk(tg_json_get(contract, "settings"));
    while (tg_json_next(&w)) {
        name = tg_str_n(w.key.p + 1, w.key.n - 2);
        if (!find(&c->settings, name))
            line(&r, "setting", name);
    }
    for (size_t i = 0; i < c->rows.n; i++)
        if (!c->rows.v[i].touched)
            line(&r, "map", tg_str_of(c->rows.v[i].name));
    *n = r.n;
    return r.rc;
}
