#include "ingest/write_key.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/url.h"

/* --- where the key is --- */

static bool starts_ignoring_case(struct tg_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && strncasecmp(s.p, z, n) == 0;
}

/* Basic credentials without a closing colon (an empty password). TG_INVALID: there are none. */
static int basic_key(struct tg_str authorization, struct tg_buf *scratch, struct tg_str *key)
{
    if (!starts_ignoring_case(authorization, "Basic "))
        return TG_INVALID;
    struct tg_str coded = tg_str_trim(tg_str_n(authorization.p + 6, authorization.n - 6));
    int rc = tg_unbase64(scratch, coded);
    if (rc)
        return rc;
    *key = tg_buf_str(scratch);
    if (key->n && key->p[key->n - 1] == ':')
        key->n--;
    return key->n ? TG_OK : TG_INVALID;
}

static int query_key(struct tg_str query, struct tg_buf *scratch, struct tg_str *key)
{
    struct tg_form_walk w = tg_form_walk(query);
    while (tg_form_next(&w)) {
        if (!tg_str_is(w.name, "writeKey"))
            continue;
        int rc = tg_url_decode(scratch, w.value, true);
        *key = tg_buf_str(scratch);
        return rc;
    }
    return TG_OK;
}

int tg_write_key_of(const struct tg_http_msg *msg, struct tg_buf *scratch, struct tg_str *key)
{
    *key = tg_str_n(NULL, 0);
    tg_buf_clear(scratch);
    struct tg_str authorization = tg_http_header(msg, "Authorization");
    if (authorization.n) {
        int rc = basic_key(authorization, scratch, key);
        if (rc != TG_INVALID)
            return rc;
        *key = tg_str_n(NULL, 0);
        tg_buf_clear(scratch);
    }
    struct tg_str own = tg_http_header(msg, "X-Write-Key");
    if (own.n) {
        *key = own;
        return TG_OK;
    }
    return msg->query.n ? query_key(msg->query, scratch, key) : TG_OK;
}

/* --- who may --- */

struct entry {
    char *key; /* NULL: free place */
    size_t n;
    unsigned owner;
};

struct tg_write_keys {
    unsigned char secret[16];
    size_t used, places; /* places: a power of two, at least twice `used` */
    struct entry *entries;
};

static size_t place_of(const struct tg_write_keys *keys, struct tg_str key)
{
    size_t at = (size_t)tg_siphash(keys->secret, key.p, key.n) & (keys->places - 1);
    while (keys->entries[at].key &&
           !tg_equal_secret(tg_str_n(keys->entries[at].key, keys->entries[at].n), key))
        at = (at + 1) & (keys->places - 1);
    return at;
}

static int make_places(struct tg_write_keys *keys, size_t places)
{
    struct tg_write_keys next = *keys;
    next.places = places;
    next.entries = tg_calloc(places, sizeof *next.entries);
    if (!next.entries)
        return TG_NOMEM;
    for (size_t i = 0; i < keys->places; i++) {
        struct entry *e = &keys->entries[i];
        if (e->key)
            next.entries[place_of(&next, tg_str_n(e->key, e->n))] = *e;
    }
    tg_free(keys->entries);
    *keys = next;
    return TG_OK;
}

int tg_write_keys_new(struct tg_write_keys **out, size_t expected)
{
    struct tg_write_keys *keys = tg_calloc(1, sizeof *keys);
    *out = keys;
    if (!keys)
        return TG_NOMEM;
    size_t places = 16;
    while (places / 2 < expected)
        places *= 2;
    int rc = tg_random(keys->secret, sizeof keys->secret);
    if (!rc)
        rc = make_places(keys, places);
    if (rc)
        tg_write_keys_free(out);
    return rc;
}

void tg_write_keys_free(struct tg_write_keys **out)
{
    struct tg_write_keys *keys = *out;
    if (!keys)
        return;
    for (size_t i = 0; i < keys->places; i++)
        tg_free(keys->entries[i].key);
    tg_free(keys->entries);
    tg_free(keys);
    *out = NULL;
}

int tg_write_keys_add(struct tg_write_keys *keys, struct tg_str key, unsigned owner)
{
    if (key.n == 0)
        return TG_INVALID;
    size_t at = place_of(keys, key);
    if (keys->entries[at].key)
        return keys->entries[at].owner == owner ? TG_OK : TG_EXISTS;
    if ((keys->used + 1) * 2 > keys->places) {
        int rc = make_places(keys, keys->places * 2);
        if (rc)
            return rc;
        at = place_of(keys, key);
    }
    char *copy = tg_strndup(key.p, key.n);
    if (!copy)
        return TG_NOMEM;
    keys->entries[at] = (struct entry){copy, key.n, owner};
    keys->used++;
    return TG_OK;
}

static int find_exact(const struct tg_write_keys *keys, struct tg_str key)
{
    if (key.n == 0)
        return -1;
    const struct entry *e = &keys->entries[place_of(keys, key)];
    return e->key ? (int)e->owner : -1;
}

int tg_write_keys_find(const struct tg_write_keys *keys, struct tg_str key)
{
    int owner = find_exact(keys, key);
    const char *first = owner < 0 && key.n ? memchr(key.p, ':', key.n) : NULL;
    if (!first)
        return owner;
    const char *last = memrchr(key.p, ':', key.n);
    owner = find_exact(keys, tg_str_n(key.p, (size_t)(last - key.p)));
    return owner >= 0 || last == first ? owner : find_exact(keys, tg_str_n(key.p, (size_t)(first - key.p)));
}
