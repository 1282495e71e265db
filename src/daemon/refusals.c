#include "daemon/refusals.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/tally.h"

#include <string.h>

enum { EVERY_MS = 60000 };

struct tg_refusals {
    struct tg_metrics *metrics;
    struct tg_tally told; /* as it was when it was last told */
    int64_t at;           /* then; 0: never */
};

struct tg_refusals *tg_refusals_new(struct tg_metrics *m)
{
    struct tg_refusals *r = tg_calloc(1, sizeof *r);
    if (r)
        r->metrics = m;
    return r;
}

void tg_refusals_free(struct tg_refusals **r)
{
    if (!*r)
        return;
    tg_tally_fini(&(*r)->told);
    tg_free(*r);
    *r = NULL;
}

static int64_t told_of(const struct tg_tally *told, const struct tg_tally_row *row)
{
    for (const struct tg_tally_row *t = told->rows; t < told->rows + told->n; t++)
        if (t->is_source == row->is_source && strcmp(t->what, row->what) == 0 &&
            strcmp(t->of, row->of) == 0 && strcmp(t->why, row->why) == 0)
            return t->n;
    return 0;
}

static void tell(const struct tg_tally_row *row, int64_t n)
{
    if (strcmp(row->what, "refused") == 0)
        tg_warn("requests refused", TG_FS("code", row->why), TG_FI("count", n));
    else if (strcmp(row->what, "set_aside") == 0)
        tg_warn("events set aside: tidegate dead ls --set-aside", TG_FS("source", row->of),
                TG_FS("reason", row->why), TG_FI("count", n));
}

void tg_refusals_tick(struct tg_refusals *r, int64_t now)
{
    struct tg_tally tally = {NULL, 0};
    if ((r->at && now - r->at < EVERY_MS) || tg_tally_read(r->metrics, &tally))
        return;
    for (size_t i = 0; i < tally.n; i++) {
        int64_t more = tally.rows[i].n - told_of(&r->told, &tally.rows[i]);
        if (more > 0)
            tell(&tally.rows[i], more);
    }
    tg_tally_fini(&r->told);
    r->told = tally;
    r->at = now;
}
