#include "ingest/dedup_table.h"

#include <assert.h>

enum { FIRST_INDEX = 1024, EXPIRE_AT_ONCE = 64 };

static_assert(sizeof(struct tg_dedup) % 16 == 0, "what follows the header is aligned");

static size_t index_for(size_t entries)
{
    size_t n = FIRST_INDEX;
    while (n < 2 * entries)
        n *= 2;
    return n;
}

size_t tg_dedup_table_bytes(size_t entries)
{
    return tg_dedup_prints_offset(index_for(entries), entries) + entries * sizeof(struct tg_fingerprint);
}

void tg_dedup_table_init(struct tg_dedup *s, size_t entries)
{
    s->capacity = (uint32_t)entries;
    s->index_max = (uint32_t)index_for(entries);
    s->index_size = FIRST_INDEX;
}

uint32_t tg_dedup_table_find(struct tg_dedup *s, struct tg_fingerprint print)
{
    const uint32_t *slots = tg_dedup_index(s), mask = s->index_size - 1;
    const struct tg_fingerprint *prints = tg_dedup_prints(s);
    uint32_t i = (uint32_t)print.a & mask;
    for (; slots[i]; i = (i + 1) & mask) {
        const struct tg_fingerprint *p = &prints[slots[i] - 1];
        if (p->a == print.a && p->b == print.b)
            break;
    }
    return i;
}

/* Frees a place and moves up those behind it that would no longer be found. */
static void free_slot(struct tg_dedup *s, uint32_t hole)
{
    uint32_t *slots = tg_dedup_index(s), mask = s->index_size - 1;
    for (uint32_t i = (hole + 1) & mask; slots[i]; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)tg_dedup_prints(s)[slots[i] - 1].a & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole] = 0;
}

void tg_dedup_table_index(struct tg_dedup *s, uint32_t size)
{
    s->index_size = size;
    memset(tg_dedup_index(s), 0, size * sizeof(uint32_t));
    for (uint64_t n = s->tail; n < s->head; n++) {
        uint32_t at = (uint32_t)(n % s->capacity);
        tg_dedup_index(s)[tg_dedup_table_find(s, tg_dedup_prints(s)[at])] = at + 1;
    }
}

void tg_dedup_lock(struct tg_dedup *s)
{
    if (tg_process_lock_take(&s->lock))
        tg_dedup_table_index(s, s->index_size);
}

void tg_dedup_unlock(struct tg_dedup *s)
{
    tg_process_lock_give(&s->lock);
}

bool tg_dedup_table_is_live(const struct tg_dedup *s, uint32_t at_s, uint32_t now_s)
{
    uint32_t age = now_s > at_s ? now_s - at_s : at_s - now_s;
    return age < s->window_s;
}

static void remove_oldest(struct tg_dedup *s)
{
    uint32_t at = (uint32_t)(s->tail % s->capacity);
    uint32_t i = tg_dedup_table_find(s, tg_dedup_prints(s)[at]);
    if (tg_dedup_index(s)[i] == at + 1)
        free_slot(s, i);
    s->tail++;
}

static void expire(struct tg_dedup *s, uint32_t now_s)
{
    for (int i = 0; i < EXPIRE_AT_ONCE && s->tail < s->head; i++) {
        if (tg_dedup_table_is_live(s, tg_dedup_times(s)[s->tail % s->capacity], now_s))
            return;
        remove_oldest(s);
    }
}

static void make_room(struct tg_dedup *s, uint32_t now_s)
{
    if (s->head - s->tail == s->capacity) {
        uint32_t oldest_s = tg_dedup_times(s)[s->tail % s->capacity];
        if (tg_dedup_table_is_live(s, oldest_s, now_s)) {
            s->evictions++;
            s->evicted_s = oldest_s;
        }
        remove_oldest(s);
    }
    if (2 * (s->head - s->tail + 1) > s->index_size)
        tg_dedup_table_index(s, s->index_size * 2);
}

void tg_dedup_table_put(struct tg_dedup *s, struct tg_fingerprint print, uint32_t at_s, uint32_t now_s)
{
    expire(s, now_s);
    uint32_t i = tg_dedup_table_find(s, print);
    uint32_t there = tg_dedup_index(s)[i];
    if (there && tg_dedup_table_is_live(s, tg_dedup_times(s)[there - 1], now_s))
        return;
    make_room(s, now_s);
    uint32_t at = (uint32_t)(s->head % s->capacity);
    tg_dedup_prints(s)[at] = print;
    tg_dedup_times(s)[at] = at_s;
    atomic_signal_fence(memory_order_release); /* a process killed here leaves the entry out, never half in */
    s->head++;
    atomic_signal_fence(memory_order_release);
    tg_dedup_index(s)[tg_dedup_table_find(s, print)] = at + 1;
}
