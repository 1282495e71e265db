#include "deliver/shot_key.h"

#include "base/mem.h"
#include "deliver/engine_options.h"
#include "deliver/leases.h"

enum { MARGIN_MS = 5000, WORKERS = 64 };

static const char *key_of(const struct shot *shot, size_t i)
{
    return shot->deliveries[i]->request->key;
}

static bool same_key(const struct shot *a, const struct shot *b)
{
    for (size_t i = 0; i < a->n; i++) {
        const char *key = key_of(a, i);
        for (size_t j = 0; key && j < b->n; j++)
            if (key_of(b, j) && strcmp(key, key_of(b, j)) == 0)
                return true;
    }
    return false;
}

static size_t count_keys(const struct shot *shot)
{
    size_t n = 0;
    for (size_t i = 0; i < shot->n; i++)
        n += key_of(shot, i) != NULL;
    return n;
}

bool tg_shot_key_taken(const struct outlet *o, const struct shot *shot)
{
    if (count_keys(shot) == 0)
        return false;
    for (const struct shot *s = o->sent; s; s = s->next)
        if (same_key(s, shot))
            return true;
    for (const struct shot *s = shot->prev; s; s = s->prev)
        if (same_key(s, shot))
            return true;
    return false;
}

/* Kept with the shot, whose deliveries may leave it while it is on the wire. */
static bool note_keys(struct shot *shot, size_t n)
{
    shot->leases = tg_calloc(n, sizeof *shot->leases);
    if (!shot->leases)
        return false;
    shot->n_leases = 0;
    for (size_t i = 0; i < shot->n; i++)
        if (key_of(shot, i))
            shot->leases[shot->n_leases++] =
                tg_lease_id(tg_str_of(shot->outlet->name), tg_str_of(key_of(shot, i)));
    return true;
}

bool tg_shot_lease_keys(struct shot *shot, int64_t now)
{
    const struct outlet *o = shot->outlet;
    const struct tg_engine_options *with = &o->engine->o;
    size_t n = with->leases ? count_keys(shot) : 0;
    if (n == 0)
        return true;
    if (!note_keys(shot, n))
        return false;
    /* No two workers have the same time: so each gives back its own. */
    shot->leased_until = (now + o->timeout_ms + MARGIN_MS) / WORKERS * WORKERS + with->worker % WORKERS;
    if (tg_leases_take(with->leases, shot->leases, &shot->n_leases, now, shot->leased_until))
        return true;
    tg_free(shot->leases);
    shot->leases = NULL;
    return false;
}

void tg_shot_give_keys(struct shot *shot)
{
    if (!shot->leases)
        return;
    tg_leases_give(shot->outlet->engine->o.leases, shot->leases, shot->n_leases, shot->leased_until);
    tg_free(shot->leases);
    shot->leases = NULL;
}
