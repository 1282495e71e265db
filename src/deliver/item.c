#include "deliver/item.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/forgotten.h"
#include "deliver/item_fail.h"
#include "deliver/script_ref.h"
#include "deliver/shot.h"

#include <assert.h>

enum { WINDOW_EVENTS = 1024, WINDOW_BYTES = 4 << 20 };

struct item *tg_item_new(struct outlet *o, struct tg_str header, struct tg_str body)
{
    struct item *item = tg_malloc(sizeof *item + header.n + body.n);
    if (!item)
        return NULL;
    memset(item, 0, sizeof *item);
    item->magic = ITEM_MAGIC;
    item->outlet = o;
    if (header.n)
        memcpy(item->mem, header.p, header.n);
    if (body.n)
        memcpy(item->mem + header.n, body.p, body.n);
    item->header = tg_str_n(item->mem, header.n);
    item->body = tg_str_n(item->mem + header.n, body.n);
    item->bytes = header.n + body.n;
    item->taken_at = tg_mono_ms();
    tg_buf_init(&item->responses, TG_RESPONSES_MAX);
    tg_buf_init(&item->filtered, SIZE_MAX);
    item->next = o->items;
    if (item->next)
        item->next->prev = item;
    o->items = item;
    o->n_items++;
    o->item_bytes += item->bytes;
    return item;
}

static void unlink_item(struct item *item)
{
    struct outlet *o = item->outlet;
    if (item->prev)
        item->prev->next = item->next;
    else
        o->items = item->next;
    if (item->next)
        item->next->prev = item->prev;
    o->n_items--;
    o->n_rows -= item->retry_id != 0;
    o->quota.n_shedding -= item->shed;
    o->item_bytes -= item->bytes;
}

static void untouch(struct item *item)
{
    struct item **at = &item->outlet->engine->touched;
    while (item->is_touched && *at != item)
        at = &(*at)->touch_next;
    if (item->is_touched)
        *at = item->touch_next;
    item->is_touched = false;
}

/* Ends the run: its deliveries must be gone or done. */
void tg_item_end_run(struct item *item)
{
    tg_shot_drop_unsent(item);
    assert(item->n_sent == 0);
    if (item->run)
        tg_run_free(&item->run);
    if (item->script)
        tg_script_drop(&item->script);
}

void tg_item_free(struct item **p)
{
    struct item *item = *p;
    *p = NULL;
    assert(item->magic == ITEM_MAGIC);
    tg_item_end_run(item);
    untouch(item);
    unlink_item(item);
    tg_buf_fini(&item->responses);
    tg_buf_fini(&item->filtered);
    tg_buf_fini(&item->request_text);
    tg_buf_fini(&item->response_text);
    tg_free(item->message);
    item->magic = 0;
    tg_free(item);
}

/* Its user has been forgotten since. */
bool tg_item_is_forgotten(const struct item *item)
{
    return tg_forgotten_hides(&item->outlet->engine->forgotten, &item->event);
}

uint64_t tg_item_mark(const struct item *item)
{
    return tg_poison_mark(item->partition, item->seq);
}

/* An event that has brought the process down twice is not run again. */
void tg_item_refuse_poison(struct item *item)
{
    const char *reason = tg_poison_of(&item->outlet->engine->poison, item->outlet->name, tg_item_mark(item));
    if (reason)
        tg_item_fail(item, TG_OUTCOME_REJECT, reason, "the script did not survive this event, twice", 0);
}

void tg_item_wait(struct item *item)
{
    struct outlet *o = item->outlet;
    item->state = ITEM_WAITING;
    item->queue_next = NULL;
    *o->waiting_tail = item;
    o->waiting_tail = &item->queue_next;
}

struct item *tg_outlet_take_waiting(struct outlet *o)
{
    struct item *item = o->waiting;
    if (!item)
        return NULL;
    o->waiting = item->queue_next;
    if (!o->waiting)
        o->waiting_tail = &o->waiting;
    item->queue_next = NULL;
    return item;
}

/* What waits to run once more has its room already. */
bool tg_outlet_is_full(const struct outlet *o)
{
    return o->n_items >= WINDOW_EVENTS || (o->n_items && o->item_bytes >= WINDOW_BYTES);
}
