#include "deliver/batcher.h"

#include "base/mem.h"
#include "script/same_request.h"

#include <assert.h>

static size_t bytes_of(const struct tg_request *r)
{
    return r->item ? r->item_bytes : r->body_len;
}

static void append(struct tg_batch **list, struct tg_batch *batch)
{
    while (*list)
        list = &(*list)->next;
    batch->next = NULL;
    *list = batch;
}

/* Moves the group at *at from the open ones to the ready ones. */
static void make_ready(struct tg_batcher *b, struct tg_batch **at)
{
    struct tg_batch *batch = *at;
    assert(batch);
    *at = batch->next;
    b->n_open--;
    append(&b->ready, batch);
}

/* The open groups are few, mostly one: comparing is cheaper than hashing. */
static struct tg_batch **find_group(struct tg_batcher *b, const struct tg_batch_spec *spec,
                                    const struct tg_request *r)
{
    struct tg_batch **at = &b->open;
    while (*at && ((*at)->spec != spec || !tg_same_group((*at)->requests[0], r)))
        at = &(*at)->next;
    return at;
}

static struct tg_batch *new_group(struct tg_batcher *b, const struct tg_batch_spec *spec, int64_t now)
{
    struct tg_batch *batch = tg_calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->spec = spec;
    batch->due = now + spec->max_wait_ms;
    append(&b->open, batch);
    b->n_open++;
    return batch;
}

static int grow(struct tg_batch *batch)
{
    if (batch->n < batch->cap)
        return TG_OK;
    size_t cap = batch->cap ? batch->cap * 2 : 8;
    struct tg_request **requests = tg_realloc(batch->requests, cap * sizeof *requests);
    if (!requests)
        return TG_NOMEM;
    batch->requests = requests;
    void **owners = tg_realloc(batch->owners, cap * sizeof *owners);
    if (!owners)
        return TG_NOMEM;
    batch->owners = owners;
    batch->cap = cap;
    return TG_OK;
}

/* No group is left without members. */
static void drop_empty(struct tg_batch **list, struct tg_batch *batch)
{
    while (*list != batch)
        list = &(*list)->next;
    *list = batch->next;
    tg_batch_free(&batch);
}

static bool full(const struct tg_batch *batch)
{
    const struct tg_batch_spec *spec = batch->spec;
    return (spec->max_items && batch->n >= spec->max_items) ||
           (spec->max_bytes && batch->bytes >= spec->max_bytes);
}

/* The open group that can take so many more bytes, or a new one. */
static struct tg_batch *group_for(struct tg_batcher *b, const struct tg_batch_spec *spec,
                                  const struct tg_request *r, int64_t now)
{
    struct tg_batch **at = find_group(b, spec, r);
    if (*at && (!spec->max_bytes || (*at)->bytes + bytes_of(r) <= spec->max_bytes))
        return *at;
    if (*at)
        make_ready(b, at);
    if (b->n_open >= TG_BATCH_GROUPS)
        make_ready(b, &b->open);
    return new_group(b, spec, now);
}

int tg_batcher_add(struct tg_batcher *b, const struct tg_batch_spec *spec, struct tg_request *request,
                   void *owner, int64_t now)
{
    struct tg_batch *batch = group_for(b, spec, request, now);
    if (!batch)
        return TG_NOMEM;
    if (grow(batch) != TG_OK) {
        if (batch->n == 0) {
            b->n_open--;
            drop_empty(&b->open, batch);
        }
        return TG_NOMEM;
    }
    batch->requests[batch->n] = request;
    batch->owners[batch->n++] = owner;
    batch->bytes += bytes_of(request);
    if (full(batch)) {
        struct tg_batch **at = &b->open;
        while (*at != batch)
            at = &(*at)->next;
        make_ready(b, at);
    }
    return TG_OK;
}

struct tg_batch *tg_batcher_take(struct tg_batcher *b, int64_t now, bool all)
{
    struct tg_batch *batch = b->ready;
    if (batch) {
        b->ready = batch->next;
        batch->next = NULL;
        return batch;
    }
    for (struct tg_batch **at = &b->open; *at; at = &(*at)->next) {
        batch = *at;
        if (!all && batch->due > now)
            continue;
        *at = batch->next;
        b->n_open--;
        batch->next = NULL;
        return batch;
    }
    return NULL;
}

int64_t tg_batcher_due(const struct tg_batcher *b)
{
    int64_t due = b->ready ? INT64_MIN : INT64_MAX;
    for (const struct tg_batch *batch = b->open; batch; batch = batch->next)
        if (batch->due < due)
            due = batch->due;
    return due;
}

static bool remove_from(struct tg_batch **list, const void *owner)
{
    for (; *list; list = &(*list)->next) {
        struct tg_batch *batch = *list;
        for (size_t i = 0; i < batch->n; i++) {
            if (batch->owners[i] != owner)
                continue;
            batch->bytes -= bytes_of(batch->requests[i]);
            batch->n--;
            memmove(&batch->requests[i], &batch->requests[i + 1], (batch->n - i) * sizeof *batch->requests);
            memmove(&batch->owners[i], &batch->owners[i + 1], (batch->n - i) * sizeof *batch->owners);
            if (batch->n == 0)
                drop_empty(list, batch);
            return true;
        }
    }
    return false;
}

bool tg_batcher_remove(struct tg_batcher *b, const void *owner)
{
    size_t groups = 0;
    bool found = remove_from(&b->open, owner) || remove_from(&b->ready, owner);
    for (const struct tg_batch *batch = b->open; batch; batch = batch->next)
        groups++;
    b->n_open = groups;
    return found;
}

void tg_batch_free(struct tg_batch **p)
{
    if (!*p)
        return;
    tg_free((*p)->requests);
    tg_free((*p)->owners);
    tg_free(*p);
    *p = NULL;
}

void tg_batcher_fini(struct tg_batcher *b)
{
    struct tg_batch *batch;
    while ((batch = tg_batcher_take(b, 0, true)))
        tg_batch_free(&batch);
}
