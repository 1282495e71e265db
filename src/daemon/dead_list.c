#include "daemon/dead_list.h"

#include "base/mem.h"
#include "daemon/dead_print.h"

#include <stdlib.h>
#include <string.h>

struct tally {
    char *reason;
    int64_t count;
};

struct listing {
    const struct tg_dead_request *r;
    struct tg_buf text;
    struct tally *tallies;
    size_t n, room;
    int64_t total;
};

static int tally(struct listing *l, const char *reason)
{
    l->total++;
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->tallies[i].reason, reason) == 0) {
            l->tallies[i].count++;
            return TG_OK;
        }
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct tally *more = tg_realloc(l->tallies, room * sizeof *more);
        if (!more)
            return TG_NOMEM;
        l->tallies = more;
        l->room = room;
    }
    char *copy = tg_strdup(reason);
    if (!copy)
        return TG_NOMEM;
    l->tallies[l->n++] = (struct tally){copy, 1};
    return TG_OK;
}

static int list_row(void *arg, const struct tg_dead *d)
{
    struct listing *l = arg;
    int rc = TG_OK;
    if (!l->r->json && !l->total) {
        rc = tg_dead_print_head(&l->text);
        if (!rc)
            rc = tg_dead_print_out(l->r->out, &l->text);
    }
    if (!rc)
        rc = l->r->json ? tg_dead_print_json(&l->text, d, false) : tg_dead_print_row(&l->text, d);
    if (!rc)
        rc = tg_dead_print_out(l->r->out, &l->text);
    return rc ? rc : tally(l, d->reason);
}

static int by_count(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    return x->count == y->count ? strcmp(x->reason, y->reason)
                                : (x->count < y->count) - (x->count > y->count);
}

static void print_tallies(struct listing *l)
{
    FILE *out = l->r->out;
    if (l->n)
        qsort(l->tallies, l->n, sizeof *l->tallies, by_count);
    if (!l->total)
        fputs("no dead letters\n", out);
    else
        fprintf(out, "\n%lld dead letter%s%s\n", (long long)l->total, l->total == 1 ? "" : "s",
                l->total == l->r->filter.limit ? ", the oldest: --limit; there may be more" : "");
    for (size_t i = 0; i < l->n; i++)
        fprintf(out, "%8lld  %s\n", (long long)l->tallies[i].count, l->tallies[i].reason);
}

int tg_dead_ls(struct tg_state *s, struct tg_dead_request *r)
{
    struct listing l = {.r = r, .text = TG_BUF_INIT(TG_DEAD_ROW_MAX)};
    struct tg_err err = {0};
    int code = s ? tg_state_dead_each(s, &r->filter, list_row, &l, &err) : TG_OK;
    if (!code && !r->json)
        print_tallies(&l);
    for (size_t i = 0; i < l.n; i++)
        tg_free(l.tallies[i].reason);
    tg_free(l.tallies);
    tg_buf_fini(&l.text);
    return code ? tg_dead_failed(r, &err, code) : 0;
}

/* --- show --- */

static int show_row(void *arg, const struct tg_dead *d)
{
    struct listing *l = arg;
    l->total++;
    int rc = l->r->json ? tg_dead_print_json(&l->text, d, true) : tg_dead_print_page(&l->text, d);
    return rc ? rc : tg_dead_print_out(l->r->out, &l->text);
}

int tg_dead_show(struct tg_state *s, struct tg_dead_request *r)
{
    struct listing l = {.r = r, .text = TG_BUF_INIT(TG_DEAD_ROW_MAX)};
    struct tg_err err = {0};
    tg_dead_pick(r, 0);
    int code = s ? tg_state_dead_each(s, &r->filter, show_row, &l, &err) : TG_OK;
    tg_buf_fini(&l.text);
    if (code)
        return tg_dead_failed(r, &err, code);
    return l.total ? 0 : tg_dead_no_such(r, r->ids[0]);
}
