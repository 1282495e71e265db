#include "base/problems.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 1000 };

void tg_problems_init(struct tg_problems *p)
{
    *p = (struct tg_problems){0};
}

static void problem_fini(struct tg_problem *item)
{
    tg_free(item->where);
    tg_free(item->path);
    tg_free(item->reason);
}

void tg_problems_fini(struct tg_problems *p)
{
    for (size_t i = 0; i < p->n; i++)
        problem_fini(&p->items[i]);
    tg_free(p->items);
    tg_problems_init(p);
}

static bool room_for_one(struct tg_problems *p)
{
    if (p->n < p->cap)
        return true;
    if (p->n >= MOST)
        return false;
    size_t cap = p->cap ? 2 * p->cap : 8;
    struct tg_problem *items = tg_realloc(p->items, cap * sizeof *items);
    if (!items)
        return false;
    p->items = items;
    p->cap = cap;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Destinations that share a script share its mistakes. */
static bool is_said(const struct tg_problems *p, const struct tg_problem *item)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct tg_problem *said = &p->items[i];
        if (same_text(said->reason, item->reason) && same_text(said->path, item->path) &&
            same_text(said->where, item->where))
            return true;
    }
    return false;
}

void tg_problem_add(struct tg_problems *p, const char *where, const char *path, const char *fmt, ...)
{
    struct tg_problem item = {0};
    struct tg_buf reason = TG_BUF_INIT(8192);
    va_list ap;
    va_start(ap, fmt);
    int rc = tg_buf_vprintf(&reason, fmt, ap);
    va_end(ap);
    item.where = where ? tg_strdup(where) : NULL;
    item.path = path ? tg_strdup(path) : NULL;
    item.reason = rc ? NULL : tg_buf_take(&reason, NULL);
    tg_buf_fini(&reason);
    if (item.reason && (!where || item.where) && (!path || item.path) && is_said(p, &item)) {
        problem_fini(&item);
        return;
    }
    if (!item.reason || (where && !item.where) || (path && !item.path) || !room_for_one(p)) {
        problem_fini(&item);
        p->lost++;
        return;
    }
    p->items[p->n++] = item;
}

void tg_problems_drop(struct tg_problems *p, size_t from,
                      bool (*is)(const struct tg_problem *problem, void *arg), void *arg)
{
    size_t n = from;
    for (size_t i = from; i < p->n; i++) {
        if (is(&p->items[i], arg))
            problem_fini(&p->items[i]);
        else
            p->items[n++] = p->items[i];
    }
    if (n < p->n)
        p->n = n;
}

int tg_problems_print(const struct tg_problems *p, struct tg_buf *out)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct tg_problem *it = &p->items[i];
        int rc = tg_buf_printf(out, "%s%s%s%s%s\n", it->where ? it->where : "", it->where ? ": " : "",
                               it->path ? it->path : "", it->path ? ": " : "", it->reason);
        if (rc)
            return rc;
    }
    return p->lost ? tg_buf_printf(out, "and %zu more\n", p->lost) : TG_OK;
}
