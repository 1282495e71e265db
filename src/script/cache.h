/* A small bounded store for one destination: text keys, scalar values, each with an end; the least recently
 * used entry goes first. Hints only, per worker: what is lost here must be learnt again. Not thread-safe. */
#ifndef TG_SCRIPT_CACHE_H
#define TG_SCRIPT_CACHE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_cache;

struct tg_cache_value {
    enum { TG_CACHE_TEXT, TG_CACHE_NUMBER, TG_CACHE_BOOLEAN } kind;
    struct tg_str text;
    double number;
    bool boolean;
};

/* max_bytes counts keys, values and what each entry costs besides. TG_NOMEM; TG_IO when the system has no
 * randomness. */
TG_MUST_CHECK int tg_cache_new(size_t max_entries, size_t max_bytes, struct tg_cache **out);
void tg_cache_free(struct tg_cache **cache);

/* `now` in ms, of a clock that does not go back. The text in *value is lent until the next call but this one.
 */
bool tg_cache_get(struct tg_cache *cache, struct tg_str key, int64_t now, struct tg_cache_value *value);
/* Copies key and value; an entry of that name is replaced. `until` in ms: from then on it is gone (INT64_MAX:
 * never). Room is made as needed; TG_TOOBIG when it would not fit alone, and then, as with TG_NOMEM, nothing
 * is stored under that key. */
TG_MUST_CHECK int tg_cache_set(struct tg_cache *cache, struct tg_str key, const struct tg_cache_value *value,
                               int64_t until);
void tg_cache_clear(struct tg_cache *cache);
void tg_cache_delete(struct tg_cache *cache, struct tg_str key);

size_t tg_cache_count(const struct tg_cache *cache);
size_t tg_cache_bytes(const struct tg_cache *cache);

#endif
