/* The block:
 *
 *     struct tg_dedup | index: uint32 [index_max] | seconds: uint32 [capacity] | prints: 16 bytes [capacity]
 *
 * The ring (seconds and prints; entry number n stands at n % capacity) is the truth: tail <= n < head. The
 * index finds a print in it: open addressing with linear probing over the first index_size places, each 0 or
 * a ring position + 1, removed by shifting back. It starts small and doubles as entries come, always at least
 * twice their number, so that a quiet relay touches few pages. An entry is written to the ring first and
 * counts from the store of `head`; whatever a dying process leaves undone is therefore only in the index, and
 * who takes over its lock makes the index anew from the ring.
 *
 * Two entries may have the same print when the older one is past its time but not removed yet: the index then
 * knows the younger, and removal looks for the position, not for the print.
 *
 * An exported block, version 1, little endian:
 *
 *     0   4   "TGDD"
 *     4   4   version: 1
 *     8   48  key
 *     56  4   number of entries n
 *     60  20n entries, oldest first: print 16, seconds since 1970 4
 *     end 4   CRC-32C of all bytes before */
#include "ingest/dedup.h"

#include "base/digest.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KEY_BYTES = 16,
    KEYS = 3, /* source, and two for the halves of a print */
    FIRST_INDEX = 1024,
    EXPIRE_AT_ONCE = 64,
    BLOCK_HEAD = 60,
    BLOCK_ENTRY = 20,
    BLOCK_TAIL = 4,
    BLOCK_VERSION = 1
};

static const char block_magic[4] = {'T', 'G', 'D', 'D'};

struct tg_dedup {
    atomic_int lock; /* pid of the owner, 0: free */
    uint32_t capacity;
    uint32_t index_size, index_max; /* powers of two */
    uint32_t window_s;
    uint32_t evicted_s; /* time of the youngest entry that went before its time */
    uint64_t head, tail;
    uint64_t evictions;
    unsigned char key[KEYS][KEY_BYTES];
};

static_assert(sizeof(struct tg_dedup) % 16 == 0, "what follows the header is aligned");

/* --- layout --- */

static size_t clamp_entries(size_t n)
{
    if (n < TG_DEDUP_MIN_ENTRIES)
        return TG_DEDUP_MIN_ENTRIES;
    return n > TG_DEDUP_MAX_ENTRIES ? TG_DEDUP_MAX_ENTRIES : n;
}

static size_t index_for(size_t entries)
{
    size_t n = FIRST_INDEX;
    while (n < 2 * entries)
        n *= 2;
    return n;
}

static size_t prints_offset(size_t index_max, size_t capacity)
{
    size_t words = sizeof(struct tg_dedup) + (index_max + capacity) * sizeof(uint32_t);
    return (words + 15) / 16 * 16;
}

size_t tg_dedup_bytes(size_t max_entries)
{
    size_t n = clamp_entries(max_entries);
    return prints_offset(index_for(n), n) + n * sizeof(struct tg_fingerprint);
}

static uint32_t *index_of(struct tg_dedup *s)
{
    return (uint32_t *)(void *)(s + 1);
}

static uint32_t *seconds_of(struct tg_dedup *s)
{
    return index_of(s) + s->index_max;
}

static struct tg_fingerprint *prints_of(struct tg_dedup *s)
{
    return (struct tg_fingerprint *)(void *)((char *)s + prints_offset(s->index_max, s->capacity));
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
    s->capacity = (uint32_t)clamp_entries(max_entries);
    s->index_max = (uint32_t)index_for(s->capacity);
    s->index_size = FIRST_INDEX;
    *set = s;
    return TG_OK;
}

/* --- the index --- */

/* The place of the print, or the free place where it would go. */
static uint32_t find(struct tg_dedup *s, struct tg_fingerprint print)
{
    const uint32_t *slots = index_of(s), mask = s->index_size - 1;
    const struct tg_fingerprint *prints = prints_of(s);
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
    uint32_t *slots = index_of(s), mask = s->index_size - 1;
    for (uint32_t i = (hole + 1) & mask; slots[i]; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)prints_of(s)[slots[i] - 1].a & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole] = 0;
}

static void make_index(struct tg_dedup *s, uint32_t size)
{
    s->index_size = size;
    memset(index_of(s), 0, size * sizeof(uint32_t));
    for (uint64_t n = s->tail; n < s->head; n++) {
        uint32_t at = (uint32_t)(n % s->capacity);
        index_of(s)[find(s, prints_of(s)[at])] = at + 1;
    }
}

/* --- the lock --- */

/* getpid is a system call, and would be a third of the cost of a look. */
static atomic_int cached_pid;
static pthread_once_t fork_watched = PTHREAD_ONCE_INIT;

static void forget_pid(void)
{
    atomic_store(&cached_pid, 0);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forget_pid);
}

static int my_pid(void)
{
    int pid = atomic_load_explicit(&cached_pid, memory_order_relaxed);
    if (!pid) {
        (void)pthread_once(&fork_watched, watch_forks);
        pid = (int)getpid();
        atomic_store(&cached_pid, pid);
    }
    return pid;
}

/* A child of this process that is dead and not waited for still has its pid: the supervisor, which is to wait
 * for the workers, would otherwise wait here for itself. */
static bool is_dead(int pid)
{
    siginfo_t info = {0};
    if (kill(pid, 0) != 0)
        return errno == ESRCH;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void lock(struct tg_dedup *s)
{
    int me = my_pid();
    for (unsigned spins = 0;; spins++) {
        int owner = 0;
        if (atomic_compare_exchange_weak(&s->lock, &owner, me))
            return;
        if (owner != 0 && owner != me && spins % 64 == 63 && is_dead(owner) &&
            atomic_compare_exchange_strong(&s->lock, &owner, me)) {
            make_index(s, s->index_size);
            return;
        }
        if (spins % 64 == 63)
            sched_yield();
    }
}

static void unlock(struct tg_dedup *s)
{
    atomic_store(&s->lock, 0);
}

void tg_dedup_died(struct tg_dedup *s, int pid)
{
    if (!atomic_compare_exchange_strong(&s->lock, &pid, my_pid()))
        return;
    make_index(s, s->index_size);
    unlock(s);
}

/* --- the ring --- */

static uint32_t to_seconds(int64_t ms)
{
    int64_t s = ms / 1000;
    return s < 0 ? 0 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

/* Neither too old nor, after the clock jumped back, too far ahead. */
static bool is_live(const struct tg_dedup *s, uint32_t at_s, uint32_t now_s)
{
    uint32_t age = now_s > at_s ? now_s - at_s : at_s - now_s;
    return age < s->window_s;
}

static void remove_oldest(struct tg_dedup *s)
{
    uint32_t at = (uint32_t)(s->tail % s->capacity);
    uint32_t i = find(s, prints_of(s)[at]);
    if (index_of(s)[i] == at + 1)
        free_slot(s, i);
    s->tail++;
}

static void expire(struct tg_dedup *s, uint32_t now_s)
{
    for (int i = 0; i < EXPIRE_AT_ONCE && s->tail < s->head; i++) {
        if (is_live(s, seconds_of(s)[s->tail % s->capacity], now_s))
            return;
        remove_oldest(s);
    }
}

static void make_room(struct tg_dedup *s, uint32_t now_s)
{
    if (s->head - s->tail == s->capacity) {
        uint32_t oldest_s = seconds_of(s)[s->tail % s->capacity];
        if (is_live(s, oldest_s, now_s)) {
            s->evictions++;
            s->evicted_s = oldest_s;
        }
        remove_oldest(s);
    }
    if (2 * (s->head - s->tail + 1) > s->index_size)
        make_index(s, s->index_size * 2);
}

static void put_one(struct tg_dedup *s, struct tg_fingerprint print, uint32_t at_s, uint32_t now_s)
{
    expire(s, now_s);
    uint32_t i = find(s, print);
    uint32_t there = index_of(s)[i];
    if (there && is_live(s, seconds_of(s)[there - 1], now_s))
        return;
    make_room(s, now_s);
    uint32_t at = (uint32_t)(s->head % s->capacity);
    prints_of(s)[at] = print;
    seconds_of(s)[at] = at_s;
    atomic_signal_fence(memory_order_release); /* a process killed here leaves the entry out, never half in */
    s->head++;
    atomic_signal_fence(memory_order_release);
    index_of(s)[find(s, print)] = at + 1;
}

/* --- the public side --- */

struct tg_fingerprint tg_dedup_fingerprint(const struct tg_dedup *set, struct tg_str source,
                                           struct tg_str message_id)
{
    /* The source's hash goes into the keys, so that "a" + "bc" and "ab" + "c" have nothing in common. */
    uint64_t of_source = tg_siphash(set->key[0], source.n ? source.p : "", source.n);
    uint64_t half[2];
    for (int i = 0; i < 2; i++) {
        unsigned char key[KEY_BYTES];
        memcpy(key, set->key[1 + i], KEY_BYTES);
        for (int k = 0; k < 8; k++)
            key[k] ^= (unsigned char)(of_source >> (8 * k));
        half[i] = tg_siphash(key, message_id.n ? message_id.p : "", message_id.n);
    }
    return (struct tg_fingerprint){half[0], half[1]};
}

void tg_dedup_expect(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n)
{
    const uint32_t *slots = index_of(set), mask = set->index_size - 1;
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(&slots[(uint32_t)prints[i].a & mask]);
    for (size_t i = 0; i < n; i++) {
        uint32_t there = __atomic_load_n(&slots[(uint32_t)prints[i].a & mask], __ATOMIC_RELAXED);
        if (there)
            __builtin_prefetch(&prints_of(set)[there - 1]);
    }
}

bool tg_dedup_has(struct tg_dedup *set, struct tg_fingerprint print, int64_t now)
{
    lock(set);
    uint32_t there = index_of(set)[find(set, print)];
    bool has = there && is_live(set, seconds_of(set)[there - 1], to_seconds(now));
    unlock(set);
    return has;
}

void tg_dedup_put(struct tg_dedup *set, const struct tg_fingerprint *prints, size_t n, int64_t now)
{
    uint32_t now_s = to_seconds(now);
    lock(set);
    tg_dedup_expect(set, prints, n);
    for (size_t i = 0; i < n; i++)
        put_one(set, prints[i], now_s, now_s);
    unlock(set);
}

void tg_dedup_put_at(struct tg_dedup *set, struct tg_fingerprint print, int64_t at, int64_t now)
{
    uint32_t at_s = to_seconds(at), now_s = to_seconds(now);
    lock(set);
    if (is_live(set, at_s, now_s))
        put_one(set, print, at_s, now_s);
    unlock(set);
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
    lock(set);
    struct tg_dedup_stats stats = {
        .entries = (size_t)(set->head - set->tail),
        .evictions = set->evictions,
        .covered_ms = (int64_t)set->window_s * 1000,
        .newest =
            set->head > set->tail ? (int64_t)seconds_of(set)[(set->head - 1) % set->capacity] * 1000 : 0,
        .next = set->head,
    };
    int64_t since_eviction = now - (int64_t)set->evicted_s * 1000;
    if (set->evictions && since_eviction < stats.covered_ms)
        stats.covered_ms = since_eviction > 0 ? since_eviction : 0;
    unlock(set);
    return stats;
}

/* --- snapshots --- */

static void put_le(char *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (char)(value >> (8 * i));
}

static uint64_t get_le(const char *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)from[i] << (8 * i);
    return value;
}

/* Entries from *from on, at most `most`, under the lock; how many. */
static size_t copy_entries(struct tg_dedup *set, uint64_t *from, size_t most, char *to)
{
    if (*from < set->tail)
        *from = set->tail;
    size_t n = 0;
    for (; n < most && *from < set->head; n++, ++*from, to += BLOCK_ENTRY) {
        uint32_t at = (uint32_t)(*from % set->capacity);
        put_le(to, prints_of(set)[at].a, 8);
        put_le(to + 8, prints_of(set)[at].b, 8);
        put_le(to + 16, seconds_of(set)[at], 4);
    }
    return n;
}

int tg_dedup_export(struct tg_dedup *set, uint64_t *from, size_t max_entries, struct tg_buf *out)
{
    size_t most = max_entries < set->capacity ? max_entries : set->capacity;
    int rc = tg_buf_reserve(out, BLOCK_HEAD + most * BLOCK_ENTRY + BLOCK_TAIL);
    if (rc)
        return rc;
    char *block = out->data + out->len;
    lock(set);
    memcpy(block + 8, set->key, sizeof set->key);
    size_t n = copy_entries(set, from, most, block + BLOCK_HEAD);
    unlock(set);
    if (!n)
        return TG_OK;
    memcpy(block, block_magic, sizeof block_magic);
    put_le(block + 4, BLOCK_VERSION, 4);
    put_le(block + 56, n, 4);
    size_t size = BLOCK_HEAD + n * BLOCK_ENTRY;
    put_le(block + size, tg_crc32c(0, block, size), 4);
    out->len += size + BLOCK_TAIL;
    return TG_OK;
}

static int check_block(struct tg_str block, struct tg_err *err)
{
    if (block.n < BLOCK_HEAD + BLOCK_TAIL || memcmp(block.p, block_magic, sizeof block_magic) != 0)
        return tg_fail(err, TG_CORRUPT, "duplicate snapshot: this is none");
    uint64_t version = get_le(block.p + 4, 4), n = get_le(block.p + 56, 4);
    if (version != BLOCK_VERSION)
        return tg_fail(err, TG_BADVERSION, "duplicate snapshot: version %llu, this build reads version %d",
                       (unsigned long long)version, BLOCK_VERSION);
    if (block.n != BLOCK_HEAD + n * BLOCK_ENTRY + BLOCK_TAIL)
        return tg_fail(err, TG_CORRUPT, "duplicate snapshot: %zu bytes are not the size of %llu entries",
                       block.n, (unsigned long long)n);
    if (tg_crc32c(0, block.p, block.n - BLOCK_TAIL) != get_le(block.p + block.n - BLOCK_TAIL, 4))
        return tg_fail(err, TG_CORRUPT, "duplicate snapshot: its checksum is wrong");
    return TG_OK;
}

int tg_dedup_import(struct tg_dedup *set, struct tg_str block, int64_t now, struct tg_err *err)
{
    int rc = check_block(block, err);
    if (rc)
        return rc;
    uint32_t now_s = to_seconds(now);
    lock(set);
    if (set->head == set->tail)
        memcpy(set->key, block.p + 8, sizeof set->key);
    bool same_key = memcmp(set->key, block.p + 8, sizeof set->key) == 0;
    const char *end = block.p + block.n - BLOCK_TAIL;
    for (const char *p = block.p + BLOCK_HEAD; same_key && p < end; p += BLOCK_ENTRY) {
        uint32_t at_s = (uint32_t)get_le(p + 16, 4);
        struct tg_fingerprint print = {get_le(p, 8), get_le(p + 8, 8)};
        if (is_live(set, at_s, now_s))
            put_one(set, print, at_s, now_s);
    }
    unlock(set);
    return same_key ? TG_OK : tg_fail(err, TG_INVALID, "duplicate snapshot: made with another key");
}
