#include "deliver/shot_key.h"

#include "base/mem.h"
#include "deliver/engine_options.h"
#include "deliver/leases.h"

enum { MARGIN_MS = 5000, WORKERS = 64 };

static const char *key_of(const struct shot *shot, size_t i)
{
    return shot->deliveries[i]->request->key;
}

static size_t count_keys(const struct shot *shot)
{
    size_t n = 0;
    for (size_t i = 0; i < shot->n; i++)
        n += key_of(shot, i) != NULL;
    return n;
}

/* Kept with the shot: it is asked again and again while it waits, and deliveries may leave it on the wire.
 * False: out of memory. */
static bool note_keys(struct shot *shot)
{
    if (shot->keys_of == shot->n || shot->leased_until)
        return true;
    size_t n = count_keys(shot), at = 0;
    uint64_t *keys = n ? tg_calloc(n, sizeof *keys) : NULL;
    if (n && !keys)
        return false;
    for (size_t i = 0; at < n; i++)
        if (key_of(shot, i))
            keys[at++] = tg_lease_id(tg_str_of(shot->outlet->name), tg_str_of(key_of(shot, i)));
    tg_free(shot->keys);
    shot->keys = keys;
    shot->n_keys = n ? tg_lease_ids_sort(keys, n) : 0;
    shot->keys_of = shot->n;
    return true;
}

static bool same_key(const struct shot *a, const struct shot *b)
{
    for (size_t i = 0, j = 0; i < a->n_keys && j < b->n_keys;) {
        if (a->keys[i] == b->keys[j])
            return true;
        if (a->keys[i] < b->keys[j])
            i++;
        else
            j++;
    }
    return false;
}

bool tg_shot_key_taken(const struct outlet *o, struct shot *shot)
{
    if (!note_keys(shot))
        return true;
    if (shot->n_keys == 0)
        return false;
    for (const struct shot *s = o->sent; s; s = s->next)
        if (same_key(s, shot))
            return true;
    for (struct shot *s = shot->prev; s; s = s->prev)
        if (!note_keys(s) || same_key(s, shot))
            return true;
    return false;
}

bool tg_shot_lease_keys(struct shot *shot, int64_t now)
{
    const struct outlet *o = shot->outlet;
    const struct tg_engine_options *with = &o->engine->o;
    if (!note_keys(shot))
        return false;
    if (!with->leases || shot->n_keys == 0)
        return true;
    /* No two workers have the same time: so each gives back its own. */
    int64_t until = (now + o->timeout_ms + MARGIN_MS) / WORKERS * WORKERS + with->worker % WORKERS;
    if (!tg_leases_take(with->leases, shot->keys, shot->n_keys, now, until))
        return false;
    shot->leased_until = until;
    return true;
}

void tg_shot_give_keys(struct shot *shot)
{
    if (shot->leased_until)
        tg_leases_give(shot->outlet->engine->o.leases, shot->keys, shot->n_keys, shot->leased_until);
    shot->leased_until = 0;
}
