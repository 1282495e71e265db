#include "deliver/buckets.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* A bucket that is full sooner is not worth a write; nor is a change that is smaller. */
enum { LONG_MS = 3000, CHANGE_MS = 500 };

static uint64_t hash_of(struct tg_str name)
{
    static const unsigned char key[16] = "tidegate.bucket";
    return tg_siphash(key, name.n ? name.p : "", name.n);
}

void tg_buckets_fini(struct tg_buckets *b)
{
    tg_free(b->list);
    *b = (struct tg_buckets){0};
}

static struct tg_bucket *add(struct tg_buckets *b, uint64_t hash)
{
    struct tg_bucket *more = tg_realloc(b->list, (b->n + 1) * sizeof *more);
    if (!more)
        return NULL;
    b->list = more;
    more[b->n] = (struct tg_bucket){.hash = hash};
    return &more[b->n++];
}

static struct tg_bucket *find(struct tg_buckets *b, uint64_t hash)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->list[i].hash == hash)
            return &b->list[i];
    return NULL;
}

static int recall(void *arg, const char *name, struct tg_str value)
{
    struct tg_buckets *b = arg;
    char text[32] = "", *end;
    uint64_t hash = strtoull(name, &end, 16);
    memcpy(text, value.n ? value.p : "", value.n < sizeof text ? value.n : 0);
    int64_t full_at = strtoll(text, NULL, 10);
    if (end == name || *end || full_at <= 0)
        return TG_OK; /* not ours */
    struct tg_bucket *bucket = add(b, hash);
    if (!bucket)
        return TG_NOMEM;
    bucket->full_at = full_at;
    return TG_OK;
}

int tg_buckets_recall(struct tg_buckets *b, struct tg_state *s, struct tg_err *err)
{
    return tg_state_facts_each(s, "rate", recall, b, err);
}

/* A time in the far future, after the clock has gone back, is brought down to an empty bucket when a token is
 * taken (tg_rate_take). */
static void refill(const struct tg_bucket *bucket)
{
    int64_t left = bucket->full_at - tg_wall_ms(), unknown = 0;
    if (left > 0) /* unless a sibling has taken from it in this run */
        (void)atomic_compare_exchange_strong(bucket->cell, &unknown, (tg_mono_ms() + left) * 1000);
}

tg_shared_cell *tg_buckets_find(struct tg_buckets *b, struct tg_shared *s, struct tg_str name)
{
    uint64_t hash = hash_of(name);
    struct tg_bucket *bucket = find(b, hash);
    if (bucket && bucket->cell)
        return bucket->cell;
    tg_shared_cell *cell = tg_shared_cell_of(s, "rate", name);
    if (!bucket && cell)
        bucket = add(b, hash);
    if (bucket && cell) {
        bucket->cell = cell;
        refill(bucket);
    }
    return cell;
}

static int put(struct tg_state *s, uint64_t hash, int64_t full_at)
{
    char name[24], text[24];
    int n = snprintf(text, sizeof text, "%" PRId64, full_at);
    (void)snprintf(name, sizeof name, "%016" PRIx64, hash);
    return tg_state_put_fact(s, "rate", name, full_at ? tg_str_n(text, (size_t)n) : (struct tg_str){0}, NULL,
                             NULL);
}

static void save(struct tg_bucket *bucket, struct tg_state *s)
{
    int64_t now = tg_wall_ms();
    int64_t left = bucket->cell ? atomic_load(bucket->cell) / 1000 - tg_mono_ms() : bucket->full_at - now;
    int64_t full_at = left > LONG_MS ? now + left : 0;
    if (!full_at && left > 0)
        return; /* what is noted goes when it is full */
    if (llabs(full_at - bucket->full_at) >= CHANGE_MS && put(s, bucket->hash, full_at) == TG_OK)
        bucket->full_at = full_at;
}

void tg_buckets_save(struct tg_buckets *b, struct tg_state *s)
{
    for (size_t i = 0; i < b->n; i++)
        save(&b->list[i], s);
}
