/* A key may stand in any of the words of one set. Who wants it looks for it, writes it into a free word, and
 * looks again: of two that write at once into different words at least one sees the other and gives back its
 * own. So never do both have it; when both give it back, they come again. */
#include "deliver/leases.h"

#include "base/digest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SET_BITS = 16, WAYS = 8, TAG_BITS = 22, TIME_BITS = 64 - TAG_BITS };

typedef _Atomic uint64_t cell; /* tag and time; 0: free, as it is once its time has passed */

struct tg_leases {
    cell words[1 << SET_BITS][WAYS];
};

struct tg_leases *tg_leases_new(void)
{
    void *p = mmap(NULL, sizeof(struct tg_leases), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void tg_leases_free(struct tg_leases **l)
{
    if (*l)
        (void)munmap(*l, sizeof **l);
    *l = NULL;
}

uint64_t tg_lease_id(struct tg_str scope, struct tg_str key)
{
    static const unsigned char secret[16] = "tidegate.leases";
    return tg_siphash_pair(secret, scope, key) >> (64 - SET_BITS - TAG_BITS);
}

static cell *set_of(struct tg_leases *l, uint64_t id)
{
    return l->words[id & ((1u << SET_BITS) - 1)];
}

static uint64_t word_of(uint64_t id, int64_t until)
{
    return id >> SET_BITS << TIME_BITS | (uint64_t)until;
}

static bool is_free(uint64_t word, int64_t now)
{
    return (int64_t)(word & ((1ULL << TIME_BITS) - 1)) <= now;
}

/* Whether a word of the set but `own` holds the key. */
static bool is_held(cell *set, uint64_t id, const cell *own, int64_t now)
{
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t found = atomic_load(&set[i]);
        if (&set[i] != own && found >> TIME_BITS == id >> SET_BITS && !is_free(found, now))
            return true;
    }
    return false;
}

static bool take_one(struct tg_leases *l, uint64_t id, int64_t now, int64_t until)
{
    cell *set = set_of(l, id), *own = NULL;
    uint64_t wanted = word_of(id, until);
    if (is_held(set, id, NULL, now))
        return false;
    for (unsigned i = 0; i < WAYS && !own; i++) {
        uint64_t found = atomic_load(&set[i]);
        if (is_free(found, now) && atomic_compare_exchange_strong(&set[i], &found, wanted))
            own = &set[i];
    }
    if (!own)
        return false;
    if (!is_held(set, id, own, now))
        return true;
    (void)atomic_compare_exchange_strong(own, &wanted, 0);
    return false;
}

static void give_one(struct tg_leases *l, uint64_t id, int64_t until)
{
    cell *set = set_of(l, id);
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t own = word_of(id, until);
        if (atomic_compare_exchange_strong(&set[i], &own, 0))
            return;
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

size_t tg_lease_ids_sort(uint64_t *ids, size_t n)
{
    size_t kept = 0;
    qsort(ids, n, sizeof *ids, compare);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    return kept;
}

bool tg_leases_take(struct tg_leases *l, const uint64_t *ids, size_t n, int64_t now, int64_t until)
{
    for (size_t i = 0; i < n; i++) {
        if (!take_one(l, ids[i], now, until)) {
            tg_leases_give(l, ids, i, until);
            return false;
        }
    }
    return true;
}

void tg_leases_give(struct tg_leases *l, const uint64_t *ids, size_t n, int64_t until)
{
    for (size_t i = 0; i < n; i++)
        give_one(l, ids[i], until);
}
