#include "deliver/forgotten.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* upto: NOT_KNOWN, THROUGH (nothing of it is stored any more), or BEHIND more than the last number to wait
 * for. */
enum { NOT_KNOWN = 0, THROUGH = 1, BEHIND = 2 };

void tg_forgotten_init(struct tg_forgotten *f, size_t n_parts)
{
    *f = (struct tg_forgotten){.n_parts = n_parts};
}

static void free_tombstone(struct tg_tombstone *t)
{
    tg_free(t->name);
    tg_free(t->upto);
}

void tg_forgotten_fini(struct tg_forgotten *f)
{
    for (size_t i = 0; i < f->n; i++)
        free_tombstone(&f->list[i]);
    tg_free(f->list);
    tg_forgotten_init(f, f->n_parts);
}

/* By user, the latest first. */
static int by_user(const void *a, const void *b)
{
    const struct tg_tombstone *x = a, *y = b;
    int c = strcmp(x->user, y->user);
    return c ? c : (x->at < y->at) - (x->at > y->at);
}

static int add(void *arg, const char *name, struct tg_str value)
{
    struct tg_forgotten *f = arg;
    char *end;
    long long at = strtoll(name, &end, 10);
    if (end == name || *end != ' ' || !end[1])
        return TG_OK; /* not ours */
    struct tg_tombstone *more = tg_realloc(f->list, (f->n + 1) * sizeof *more);
    if (!more)
        return TG_NOMEM;
    f->list = more;
    struct tg_tombstone t = {.at = at,
                             .has_rows = tg_str_is(value, TG_FORGET_ROWS),
                             .name = tg_strdup(name),
                             .upto = tg_calloc(f->n_parts ? f->n_parts : 1, sizeof *t.upto)};
    if (!t.name || !t.upto) {
        free_tombstone(&t);
        return TG_NOMEM;
    }
    t.user = t.name + (end + 1 - name);
    f->list[f->n++] = t;
    return TG_OK;
}

static void keep_known(struct tg_forgotten *next, const struct tg_forgotten *old)
{
    for (size_t i = 0; i < next->n; i++) {
        const struct tg_tombstone *t =
            old->n ? bsearch(&next->list[i], old->list, old->n, sizeof *t, by_user) : NULL;
        if (t)
            memcpy(next->list[i].upto, t->upto, next->n_parts * sizeof *t->upto);
    }
}

int tg_forgotten_load(struct tg_forgotten *f, struct tg_state *s, int64_t now, struct tg_err *err)
{
    struct tg_forgotten next;
    tg_forgotten_init(&next, f->n_parts);
    int rc = tg_state_facts_each(s, TG_FORGET_FACT, add, &next, err);
    if (rc) {
        tg_forgotten_fini(&next);
        return rc;
    }
    if (next.n)
        qsort(next.list, next.n, sizeof *next.list, by_user);
    keep_known(&next, f);
    tg_forgotten_fini(f);
    *f = next;
    f->read_at = now;
    return TG_OK;
}

/* The user's latest tombstone. */
static const struct tg_tombstone *find(const struct tg_forgotten *f, struct tg_str user)
{
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const char *name = f->list[middle].user;
        size_t n = strlen(name);
        int c = memcmp(name, user.p, n < user.n ? n : user.n);
        if (c < 0 || (c == 0 && n < user.n))
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->n && tg_str_is(user, f->list[low].user) ? &f->list[low] : NULL;
}

bool tg_forgotten_hides(const struct tg_forgotten *f, const struct tg_event *event)
{
    if (!f->n || !event->user_id.n || event->type == TG_DELETE)
        return false;
    const struct tg_tombstone *t = find(f, event->user_id);
    return t && event->received_at <= t->at;
}

void tg_forgotten_look(struct tg_forgotten *f, size_t part, uint64_t first, uint64_t last, int64_t now)
{
    for (size_t i = 0; i < f->n; i++) {
        struct tg_tombstone *t = &f->list[i];
        if (t->upto[part] == NOT_KNOWN && now - t->at > TG_FORGET_MARGIN_MS)
            t->upto[part] = last + BEHIND;
        if (t->upto[part] >= BEHIND && first > t->upto[part] - BEHIND)
            t->upto[part] = THROUGH;
    }
}

uint64_t tg_forgotten_waits_for(const struct tg_forgotten *f, size_t part)
{
    uint64_t last = 0;
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].upto[part] >= BEHIND && f->list[i].upto[part] - BEHIND > last)
            last = f->list[i].upto[part] - BEHIND;
    return last;
}

static bool is_through(const struct tg_forgotten *f, const struct tg_tombstone *t)
{
    for (size_t i = 0; i < f->n_parts; i++)
        if (t->upto[i] != THROUGH)
            return false;
    return true;
}

int64_t tg_forgotten_clear(const struct tg_forgotten *f)
{
    int64_t clear = f->read_at - TG_FORGET_MARGIN_MS;
    for (size_t i = 0; i < f->n; i++)
        if (!is_through(f, &f->list[i]) && f->list[i].at - 1 < clear)
            clear = f->list[i].at - 1;
    return clear;
}

bool tg_forgotten_is_stale(const struct tg_forgotten *f, int64_t now)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->read_at - TG_FORGET_MARGIN_MS < f->list[i].at && now - TG_FORGET_MARGIN_MS >= f->list[i].at)
            return true;
    return false;
}

int tg_forgotten_name(struct tg_buf *name, struct tg_str user_id, int64_t at)
{
    if (!user_id.n || memchr(user_id.p, 0, user_id.n))
        return TG_INVALID;
    int rc = tg_buf_printf(name, "%013" PRId64 " ", at);
    return rc == TG_OK ? tg_buf_addstr(name, user_id) : rc;
}

bool tg_forget_cells(struct tg_shared *s, struct tg_forget_cells *cells)
{
    cells->asked = tg_shared_cell_of(s, "forget", TG_STR("asked"));
    cells->epoch = tg_shared_cell_of(s, "forget", TG_STR("epoch"));
    return cells->asked && cells->epoch;
}

tg_shared_cell *tg_forget_seen(struct tg_shared *s, uint32_t worker)
{
    char name[16];
    int n = snprintf(name, sizeof name, "%" PRIu32, worker);
    return tg_shared_cell_of(s, "forget_seen", tg_str_n(name, (size_t)n));
}
