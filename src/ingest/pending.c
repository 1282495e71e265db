#include "ingest/pending.h"

#include "base/mem.h"

enum { KEEP_PENDING = 1024 };

struct tg_pending *tg_pending_new(const struct tg_call *c)
{
    struct tg_ingest *in = c->in;
    struct tg_pending *p = in->spare;
    if (p) {
        in->spare = p->next;
        in->n_spare--;
    } else {
        p = tg_malloc(sizeof *p);
        if (!p)
            return NULL;
    }
    in->n_pending++;
    p->magic = TG_PENDING_MAGIC;
    p->in = in;
    p->req = c->req;
    p->sources = tg_sources_ref(in->sources);
    p->source = c->source;
    p->pixel = c->route.kind == TG_ROUTE_PIXEL;
    memset(p->counts, 0, sizeof p->counts);
    p->n_prints = 0;
    p->prints = p->few;
    p->origin_len = c->origin.n < sizeof p->origin ? c->origin.n : 0;
    if (p->origin_len)
        memcpy(p->origin, c->origin.p, p->origin_len);
    return p;
}

int tg_pending_reserve(struct tg_pending *p, size_t n)
{
    p->prints = p->few;
    if (n <= TG_PENDING_FEW_PRINTS)
        return TG_OK;
    p->prints = tg_malloc(n * sizeof *p->prints);
    return p->prints ? TG_OK : TG_NOMEM;
}

static void free_front(struct tg_ingest *in)
{
    while (in->spare) {
        struct tg_pending *p = in->spare;
        in->spare = p->next;
        tg_free(p);
    }
    tg_free(in);
}

static void recycle(struct tg_pending *p)
{
    struct tg_ingest *in = p->in;
    p->magic = 0;
    tg_sources_unref(&p->sources);
    if (p->prints != p->few)
        tg_free(p->prints);
    if (in->n_spare >= KEEP_PENDING) {
        tg_free(p);
        return;
    }
    p->next = in->spare;
    in->spare = p;
    in->n_spare++;
}

void tg_pending_free(struct tg_pending *p)
{
    struct tg_ingest *in = p->in;
    recycle(p);
    in->n_pending--;
    if (in->gone && in->n_pending == 0)
        free_front(in);
}

void tg_pending_abandon(struct tg_ingest *in)
{
    in->gone = true;
    if (in->n_pending == 0)
        free_front(in);
}
