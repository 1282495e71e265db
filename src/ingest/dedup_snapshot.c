/* An exported block, version 1, little endian:
 *
 *     0   4   "TGDD"
 *     4   4   version: 1
 *     8   48  key
 *     56  4   number of entries n
 *     60  20n entries, oldest first: print 16, seconds since 1970 4
 *     end 4   CRC-32C of all bytes before */
#include "ingest/dedup.h"

#include "base/digest.h"
#include "ingest/dedup_table.h"

enum { BLOCK_HEAD = 60, BLOCK_ENTRY = 20, BLOCK_TAIL = 4, BLOCK_VERSION = 1 };

static const char block_magic[4] = {'T', 'G', 'D', 'D'};

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
        put_le(to, tg_dedup_prints(set)[at].a, 8);
        put_le(to + 8, tg_dedup_prints(set)[at].b, 8);
        put_le(to + 16, tg_dedup_times(set)[at], 4);
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
    tg_dedup_lock(set);
    memcpy(block + 8, set->key, sizeof set->key);
    size_t n = copy_entries(set, from, most, block + BLOCK_HEAD);
    tg_dedup_unlock(set);
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
    uint32_t now_s = tg_dedup_seconds(now);
    tg_dedup_lock(set);
    if (set->head == set->tail)
        memcpy(set->key, block.p + 8, sizeof set->key);
    bool same_key = memcmp(set->key, block.p + 8, sizeof set->key) == 0;
    const char *end = block.p + block.n - BLOCK_TAIL;
    for (const char *p = block.p + BLOCK_HEAD; same_key && p < end; p += BLOCK_ENTRY) {
        uint32_t at_s = (uint32_t)get_le(p + 16, 4);
        struct tg_fingerprint print = {get_le(p, 8), get_le(p + 8, 8)};
        if (tg_dedup_table_is_live(set, at_s, now_s))
            tg_dedup_table_put(set, print, at_s, now_s);
    }
    tg_dedup_unlock(set);
    return same_key ? TG_OK : tg_fail(err, TG_INVALID, "duplicate snapshot: made with another key");
}
