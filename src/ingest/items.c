#include "ingest/items.h"

#include "base/mem.h"

enum { KEEP_EVENTS = 1024, KEEP_SCRATCH = 64 * 1024 };

void tg_items_init(struct tg_items *items)
{
    *items = (struct tg_items){.scratch = TG_BUF_INIT(SIZE_MAX)};
}

void tg_items_forget(struct tg_items *items)
{
    items->n_events = items->n_bad = items->merges = items->total = 0;
}

void tg_items_clear(struct tg_items *items)
{
    if (items->cap_events > KEEP_EVENTS) {
        tg_free(items->events);
        items->events = NULL;
        items->cap_events = 0;
    }
    if (items->cap_bad > KEEP_EVENTS) {
        tg_free(items->bad);
        items->bad = NULL;
        items->cap_bad = 0;
    }
    if (items->scratch.cap > KEEP_SCRATCH)
        tg_buf_fini(&items->scratch);
    tg_items_forget(items);
    tg_arena_clear(&items->arena);
}

void tg_items_fini(struct tg_items *items)
{
    tg_free(items->events);
    tg_free(items->bad);
    tg_buf_fini(&items->scratch);
    tg_arena_fini(&items->arena);
    *items = (struct tg_items){0};
}

/* Room for one more of n things of that size; the array may move. */
static int grow(void **array, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return TG_OK;
    size_t more = *cap ? *cap * 2 : 16;
    void *moved = more > SIZE_MAX / size ? NULL : tg_realloc(*array, more * size);
    if (!moved)
        return TG_NOMEM;
    *array = moved;
    *cap = more;
    return TG_OK;
}

int tg_items_add(struct tg_items *items, const struct tg_event *ev)
{
    void *array = items->events;
    int rc = grow(&array, &items->cap_events, items->n_events, sizeof *ev);
    items->events = array;
    if (!rc)
        items->events[items->n_events++] = *ev;
    return rc;
}

int tg_items_add_bad(struct tg_items *items, const struct tg_setaside *bad)
{
    void *array = items->bad;
    int rc = grow(&array, &items->cap_bad, items->n_bad, sizeof *bad);
    items->bad = array;
    if (!rc)
        items->bad[items->n_bad++] = *bad;
    return rc;
}

int tg_items_keep_scratch(struct tg_items *items, struct tg_str *copy)
{
    *copy = tg_arena_copy(&items->arena, tg_buf_str(&items->scratch));
    return copy->p ? TG_OK : TG_NOMEM;
}
