/* Open addressing on a 64-bit hash of kind and name. A slot is claimed by exchanging its hash in atomically,
 * so two workers that look for the same name at once find the same cell. Different names of one hash would
 * share a cell; at 64 bits and a few thousand names nobody will see that. */
#include "deliver/shared.h"

#include "base/digest.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { SLOTS = 8192, PROBES = 64 };

struct slot {
    _Atomic uint64_t hash; /* 0: free */
    tg_shared_cell value;
};
struct tg_shared {
    struct slot slots[SLOTS];
};

struct tg_shared *tg_shared_new(void)
{
    void *p = mmap(NULL, sizeof(struct tg_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void tg_shared_free(struct tg_shared **s)
{
    if (*s)
        munmap(*s, sizeof **s);
    *s = NULL;
}

static uint64_t hash_of(const char *kind, struct tg_str name)
{
    static const unsigned char key[16] = "tidegate.shared";
    uint64_t a = tg_siphash(key, kind, strlen(kind)), b = tg_siphash(key, name.n ? name.p : "", name.n);
    uint64_t h = (a * 0x9e3779b97f4a7c15u) ^ b;
    return h ? h : 1;
}

tg_shared_cell *tg_shared_cell_of(struct tg_shared *s, const char *kind, struct tg_str name)
{
    uint64_t hash = hash_of(kind, name);
    for (unsigned i = 0; i < PROBES; i++) {
        struct slot *slot = &s->slots[(hash + i) % SLOTS];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&slot->hash, &found, hash) || found == hash)
            return &slot->value;
    }
    return NULL;
}
