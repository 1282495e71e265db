#include "ingest/duplicates.h"

/* A table for the fingerprints of a batch: open addressing, indexes + 1. */
static uint32_t *new_table(struct tg_ingest *in, size_t n, size_t *mask)
{
    size_t places = 4;
    while (places < 2 * n)
        places *= 2;
    tg_buf_clear(&in->seen);
    if (tg_buf_reserve(&in->seen, places * sizeof(uint32_t)))
        return NULL;
    memset(in->seen.data, 0, places * sizeof(uint32_t));
    *mask = places - 1;
    return (uint32_t *)(void *)in->seen.data;
}

/* Whether print is among the first n of prints; enters it if not. */
static bool seen_in_batch(uint32_t *table, size_t mask, const struct tg_fingerprint *prints, size_t n,
                          struct tg_fingerprint print)
{
    size_t at = (size_t)print.a & mask;
    for (; table[at]; at = (at + 1) & mask) {
        const struct tg_fingerprint *other = &prints[table[at] - 1];
        if (other->a == print.a && other->b == print.b)
            return true;
    }
    table[at] = (uint32_t)n + 1;
    return false;
}

/* They are all of one source. */
static void read_prints(struct tg_dedup *dedup, const struct tg_items *items, struct tg_str source,
                        struct tg_fingerprint *prints)
{
    struct tg_dedup_keys keys = tg_dedup_keys(dedup, source);
    for (size_t i = 0; i < items->n_events; i++)
        prints[i] = tg_dedup_print(&keys, items->events[i].message_id);
    tg_dedup_expect(dedup, prints, items->n_events);
}

int tg_duplicates_drop(struct tg_call *c, struct tg_pending *p)
{
    struct tg_ingest *in = c->in;
    struct tg_items *items = &in->items;
    size_t kept = 0, mask = 0;
    uint32_t *table = new_table(in, items->n_events, &mask);
    if (!table || tg_pending_reserve(p, items->n_events))
        return TG_NOMEM;
    read_prints(in->dedup, items, tg_str_of(c->source->name), p->prints);
    for (size_t i = 0; i < items->n_events; i++) {
        struct tg_fingerprint print = p->prints[i];
        if (tg_dedup_has(in->dedup, print, c->received_at) ||
            seen_in_batch(table, mask, p->prints, kept, print))
            continue;
        p->prints[kept] = print;
        if (kept < i)
            items->events[kept] = items->events[i];
        kept++;
    }
    if (kept < items->n_events)
        tg_count(c->source->duplicates, (int64_t)(items->n_events - kept));
    items->n_events = p->n_prints = kept;
    return TG_OK;
}
