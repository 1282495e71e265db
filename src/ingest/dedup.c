#include "ingest/dedup.h"

#include "base/digest.h"
#include "ingest/dedup_table.h"

#include <assert.h>

static size_t clamp_entries(size_t n)
{
    if (n < TG_DEDUP_MIN_ENTRIES)
        return TG_DEDUP_MIN_ENTRIES;
    return n > TG_DEDUP_MAX_ENTRIES ? TG_DEDUP_MAX_ENTRIES : n;
}

size_t tg_dedup_bytes(size_t max_entries)
{
    return tg_dedup_table_bytes(clamp_entries(max_entries));
}

int tg_dedup_init(struct tg_dedup **set, void *memory, size_t max_entries, int64_t window_ms)
{
    assert((uintptr_t)memory % 16 == 0);
    struct tg_dedup *s = memory;
    int rc = tg_random(s->key, sizeof s->key);
    if (rc)
        return rc;
    int64_t seconds = window_ms <= 1000 ? 1 : (window_ms - 1) / 1000 + 1;
    s->window_s = seconds > INT32_MAX ? INT32_MAX : (uint32_t)seconds;
    tg_dedup_table_init(s, clamp_entries(max_entries));
    *set = s;
    return TG_OK;
}

void tg_dedup_died(struct tg_dedup *s, int pid)
{
    if (!tg_process_lock_inherit(&s->lock, pid))
        return;
    tg_dedup_table_index(s, s->index_size);
    tg_dedup_unlock(s);
}

struct tg_dedup_keys tg_dedup_keys(const struct tg_dedup *set, struct tg_str source)
{
    /* The source's hash goes into the keys, so that "a" + "bc" and "ab" + "c" have nothing in common. */
    uint64_t of_source = tg_siphash(set->key[0], source.n ? source.p : "", source.n);
    struct tg_dedup_keys keys;
    memcpy(keys.half, set->key[1], sizeof keys.half);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 8; k++)
            keys.half[i][k] ^= (unsigned char)(of_source >> (8 * k));
    }
    return keys;
}

struct tg_fingerprint tg_dedup_print(const struct tg_dedup_keys *keys, struct tg_str message_id)
{
    const char *id = message_id.n ? message_id.p : "";
    return (struct tg_fingerprint){tg_siphash(keys->half[0], id, message_id.n),
                                   tg_siphash(keys->half[1], id, message_id.n)};
}

struct tg_fingerprint tg_dedup_fingerprint(const struct tg_dedup *set, struct tg_str source,
                                           struct tg_str message_id)
{
    struct tg_dedup_keys keys = tg_dedup_keys(set, source);
    return tg_dedup_print(&keys, message_id);
}

void tg_dedup_expect(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n)
{
    const uint32_t *slots = tg_dedup_index(set), mask = set->index_size - 1;
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(&slots[(uint32_t)prints[i].a & mask]);
    for (size_t i = 0; i < n; i++) {
        uint32_t there = __atomic_load_n(&slots[(uint32_t)prints[i].a & mask], __ATOMIC_RELAXED);
        if (there)
            __builtin_prefetch(&tg_dedup_prints(set)[there - 1]);
    }
}

bool tg_dedup_has(struct tg_dedup *set, struct tg_fingerprint print, int64_t now)
{
    tg_dedup_lock(set);
    uint32_t there = tg_dedup_index(set)[tg_dedup_table_find(set, print)];
    bool has = there && tg_dedup_table_is_live(set, tg_dedup_times(set)[there - 1], tg_dedup_seconds(now));
    tg_dedup_unlock(set);
    return has;
}

void tg_dedup_put(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n, int64_t now)
{
    uint32_t now_s = tg_dedup_seconds(now);
    tg_dedup_lock(set);
    tg_dedup_expect(set, prints, n);
    for (size_t i = 0; i < n; i++)
        tg_dedup_table_put(set, prints[i], now_s, now_s);
    tg_dedup_unlock(set);
}

void tg_dedup_put_at(struct tg_dedup *set, struct tg_fingerprint print, int64_t at, int64_t now)
{
    uint32_t at_s = tg_dedup_seconds(at), now_s = tg_dedup_seconds(now);
    tg_dedup_lock(set);
    if (tg_dedup_table_is_live(set, at_s, now_s))
        tg_dedup_table_put(set, print, at_s, now_s);
    tg_dedup_unlock(set);
}

bool tg_dedup_seen(struct tg_dedup *set, struct tg_str source, struct tg_str message_id, int64_t now)
{
    return tg_dedup_has(set, tg_dedup_fingerprint(set, source, message_id), now);
}

void tg_dedup_add(struct tg_dedup *set, struct tg_str source, struct tg_str message_id, int64_t now)
{
    struct tg_fingerprint print = tg_dedup_fingerprint(set, source, message_id);
    tg_dedup_put(set, &print, 1, now);
}

struct tg_dedup_stats tg_dedup_stats(struct tg_dedup *set, int64_t now)
{
    tg_dedup_lock(set);
    struct tg_dedup_stats stats = {
        .entries = (size_t)(set->head - set->tail),
        .evictions = set->evictions,
        .covered_ms = (int64_t)set->window_s * 1000,
        .newest =
            set->head > set->tail ? (int64_t)tg_dedup_times(set)[(set->head - 1) % set->capacity] * 1000 : 0,
        .next = set->head,
    };
    int64_t since_eviction = now - (int64_t)set->evicted_s * 1000;
    if (set->evictions && since_eviction < stats.covered_ms)
        stats.covered_ms = since_eviction > 0 ? since_eviction : 0;
    tg_dedup_unlock(set);
    return stats;
}

void tg_dedup_kept(struct tg_dedup *set, uint64_t next)
{
    atomic_store(&set->kept, next);
}

uint64_t tg_dedup_mark(struct tg_dedup *set)
{
    tg_dedup_lock(set);
    uint64_t mark = set->head;
    tg_dedup_unlock(set);
    return mark;
}

bool tg_dedup_is_kept(struct tg_dedup *set, uint64_t mark)
{
    return atomic_load(&set->kept) >= mark;
}
