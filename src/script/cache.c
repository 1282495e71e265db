/* A chained hash table whose entries also hang in one ring ordered by use. The hash is keyed, because senders
 * choose keys. The table doubles as entries come; when there is no memory for that, the chains just get
 * longer. */
#include "script/cache.h"

#include "base/digest.h"
#include "base/mem.h"

enum { FIRST_BUCKETS = 16 };

struct link {
    struct link *newer, *older;
};

struct entry {
    struct link link;    /* of the ring; first, so that a link is its entry */
    struct entry *chain; /* of the same bucket */
    uint64_t hash;
    int64_t until;
    struct tg_cache_value value;
    size_t key_len;
    char bytes[]; /* the key, then the value's text */
};

struct tg_cache {
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count, max_entries;
    size_t bytes, max_bytes;
    struct link ring; /* ring.older is the newest, ring.newer the oldest */
    unsigned char hash_key[16];
};

int tg_cache_new(size_t max_entries, size_t max_bytes, struct tg_cache **out)
{
    struct tg_cache *c = tg_calloc(1, sizeof *c);
    if (!c)
        return TG_NOMEM;
    c->buckets = tg_calloc(FIRST_BUCKETS, sizeof(*c->buckets));
    int rc = c->buckets ? tg_random(c->hash_key, sizeof c->hash_key) : TG_NOMEM;
    if (rc) {
        tg_free(c->buckets);
        tg_free(c);
        return rc;
    }
    c->bucket_count = FIRST_BUCKETS;
    c->max_entries = max_entries;
    c->max_bytes = max_bytes;
    c->ring.newer = c->ring.older = &c->ring;
    *out = c;
    return TG_OK;
}

static size_t cost_of(const struct entry *e)
{
    return sizeof *e + e->key_len + (e->value.kind == TG_CACHE_TEXT ? e->value.text.n : 0);
}

static struct entry **bucket_of(struct tg_cache *c, uint64_t hash)
{
    return &c->buckets[hash & (c->bucket_count - 1)];
}

static void ring_remove(struct link *l)
{
    l->newer->older = l->older;
    l->older->newer = l->newer;
}

static void ring_put_newest(struct tg_cache *c, struct link *l)
{
    l->newer = &c->ring;
    l->older = c->ring.older;
    c->ring.older->newer = l;
    c->ring.older = l;
}

/* The place that points to the entry of that key, or to NULL at the chain's end. */
static struct entry **find(struct tg_cache *c, struct tg_str key, uint64_t hash)
{
    struct entry **at = bucket_of(c, hash);
    while (*at && !((*at)->hash == hash && tg_str_eq(tg_str_n((*at)->bytes, (*at)->key_len), key)))
        at = &(*at)->chain;
    return at;
}

static void remove_at(struct tg_cache *c, struct entry **at)
{
    struct entry *e = *at;
    *at = e->chain;
    ring_remove(&e->link);
    c->count--;
    c->bytes -= cost_of(e);
    tg_free(e);
}

static void remove_oldest(struct tg_cache *c)
{
    struct entry *e = (struct entry *)c->ring.newer;
    struct entry **at = bucket_of(c, e->hash);
    while (*at != e)
        at = &(*at)->chain;
    remove_at(c, at);
}

void tg_cache_clear(struct tg_cache *c)
{
    while (c->count)
        remove_oldest(c);
}

void tg_cache_free(struct tg_cache **cache)
{
    struct tg_cache *c = *cache;
    if (!c)
        return;
    tg_cache_clear(c);
    tg_free(c->buckets);
    tg_free(c);
    *cache = NULL;
}

static uint64_t hash_of(const struct tg_cache *c, struct tg_str key)
{
    return tg_siphash(c->hash_key, key.p, key.n);
}

bool tg_cache_get(struct tg_cache *c, struct tg_str key, int64_t now, struct tg_cache_value *value)
{
    struct entry **at = find(c, key, hash_of(c, key));
    struct entry *e = *at;
    if (!e)
        return false;
    if (e->until <= now) {
        remove_at(c, at);
        return false;
    }
    ring_remove(&e->link);
    ring_put_newest(c, &e->link);
    *value = e->value;
    return true;
}

void tg_cache_delete(struct tg_cache *c, struct tg_str key)
{
    struct entry **at = find(c, key, hash_of(c, key));
    if (*at)
        remove_at(c, at);
}

static void grow(struct tg_cache *c)
{
    size_t count = 2 * c->bucket_count;
    struct entry **buckets = tg_calloc(count, sizeof(*buckets));
    if (!buckets)
        return;
    tg_free(c->buckets);
    c->buckets = buckets;
    c->bucket_count = count;
    for (struct link *l = c->ring.newer; l != &c->ring; l = l->newer) {
        struct entry *e = (struct entry *)l;
        struct entry **at = bucket_of(c, e->hash);
        e->chain = *at;
        *at = e;
    }
}

/* NULL when out of memory. */
static struct entry *new_entry(struct tg_str key, const struct tg_cache_value *value, uint64_t hash,
                               int64_t until)
{
    size_t text = value->kind == TG_CACHE_TEXT ? value->text.n : 0;
    struct entry *e = tg_malloc(sizeof *e + key.n + text);
    if (!e)
        return NULL;
    *e = (struct entry){.hash = hash, .until = until, .value = *value, .key_len = key.n};
    if (key.n)
        memcpy(e->bytes, key.p, key.n);
    if (text)
        memcpy(e->bytes + key.n, value->text.p, text);
    e->value.text = tg_str_n(e->bytes + key.n, text);
    return e;
}

int tg_cache_set(struct tg_cache *c, struct tg_str key, const struct tg_cache_value *value, int64_t until)
{
    uint64_t hash = hash_of(c, key);
    size_t text = value->kind == TG_CACHE_TEXT ? value->text.n : 0;
    struct entry *e = NULL;
    int rc = TG_TOOBIG;
    if (c->max_entries && key.n < c->max_bytes && text < c->max_bytes &&
        sizeof *e + key.n + text <= c->max_bytes) {
        e = new_entry(key, value, hash, until); /* before the old one goes: the text may be its own */
        rc = e ? TG_OK : TG_NOMEM;
    }
    tg_cache_delete(c, key);
    if (rc)
        return rc;
    while (c->count && (c->count >= c->max_entries || c->bytes + cost_of(e) > c->max_bytes))
        remove_oldest(c);
    if (c->count >= c->bucket_count)
        grow(c);
    struct entry **at = bucket_of(c, hash);
    e->chain = *at;
    *at = e;
    ring_put_newest(c, &e->link);
    c->count++;
    c->bytes += cost_of(e);
    return TG_OK;
}

size_t tg_cache_count(const struct tg_cache *c)
{
    return c->count;
}

size_t tg_cache_bytes(const struct tg_cache *c)
{
    return c->bytes;
}
