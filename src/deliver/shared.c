/* Open addressing on a 64-bit hash of kind and name. A slot is claimed by exchanging its hash in atomically,
 * so two workers that look for the same name at once find the same cell. Different names of one hash would
 * share a cell; at 64 bits and a few thousand names nobody will see that. */
#include "deliver/shared.h"

#include "base/digest.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 8192, PROBES = 64, BOOT_ID_SIZE = 40 };

struct slot {
    _Atomic uint64_t hash; /* 0: free */
    tg_shared_cell value;
};
struct tg_shared {
    char magic[24];
    char boot_id[BOOT_ID_SIZE]; /* of the machine's start that the clock counts from */
    struct slot slots[SLOTS];
};

static const char magic[24] = "tidegate rates 1\n";

struct tg_shared *tg_shared_new(void)
{
    void *p = mmap(NULL, sizeof(struct tg_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void read_boot_id(char id[BOOT_ID_SIZE])
{
    memset(id, 0, BOOT_ID_SIZE);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (read(fd, id, BOOT_ID_SIZE - 1) < 0)
        memset(id, 0, BOOT_ID_SIZE);
    (void)close(fd);
}

static struct slot *slot_of(struct slot *slots, uint64_t hash)
{
    for (unsigned i = 0; i < PROBES; i++) {
        struct slot *slot = &slots[(hash + i) % SLOTS];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&slot->hash, &found, hash) || found == hash)
            return slot;
    }
    return NULL;
}

/* Puts what still counts into a table that was emptied: names that are not used any more must not fill it. */
static void keep_later(struct tg_shared *s, const struct slot *old, int64_t now)
{
    memset(s->slots, 0, sizeof s->slots);
    for (size_t i = 0; i < SLOTS; i++) {
        uint64_t hash = atomic_load(&old[i].hash);
        int64_t value = atomic_load(&old[i].value);
        struct slot *slot = hash && value > now ? slot_of(s->slots, hash) : NULL;
        if (slot)
            atomic_store(&slot->value, value);
    }
}

static int take_over(struct tg_shared *s, int64_t now)
{
    char boot_id[BOOT_ID_SIZE];
    read_boot_id(boot_id);
    if (!*boot_id || memcmp(s->magic, magic, sizeof magic) != 0 ||
        memcmp(s->boot_id, boot_id, sizeof boot_id) != 0) {
        memset(s, 0, sizeof *s);
    } else {
        struct slot *old = tg_malloc(sizeof s->slots);
        if (!old)
            return TG_NOMEM;
        memcpy(old, s->slots, sizeof s->slots);
        keep_later(s, old, now);
        tg_free(old);
    }
    memcpy(s->magic, magic, sizeof magic);
    memcpy(s->boot_id, boot_id, sizeof boot_id);
    return TG_OK;
}

/* The blocks are there before they are written to through memory: a full disk would be SIGBUS then. */
static void *map_file(int fd)
{
    const off_t size = sizeof(struct tg_shared);
    if (ftruncate(fd, size) != 0)
        return MAP_FAILED;
    errno = posix_fallocate(fd, 0, size);
    return errno ? MAP_FAILED : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

struct tg_shared *tg_shared_open(const char *path, int64_t now, struct tg_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *p = fd < 0 ? MAP_FAILED : map_file(fd);
    int number = errno;
    if (fd >= 0)
        (void)close(fd);
    if (p == MAP_FAILED) {
        (void)tg_fail_errno(err, number, "%s", path);
        return NULL;
    }
    struct tg_shared *s = p;
    if (take_over(s, now)) {
        (void)tg_fail(err, TG_NOMEM, "%s: out of memory", path);
        tg_shared_free(&s);
    }
    return s;
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
    uint64_t h = tg_siphash_pair(key, tg_str_of(kind), name);
    return h ? h : 1;
}

tg_shared_cell *tg_shared_cell_of(struct tg_shared *s, const char *kind, struct tg_str name)
{
    struct slot *slot = slot_of(s->slots, hash_of(kind, name));
    return slot ? &slot->value : NULL;
}
