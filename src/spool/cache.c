#include "spool/cache.h"

#include "base/mem.h"

#include <string.h>

enum { KEEP_SCRATCH = 64 << 10, AHEAD = 4 * TG_CACHE_BLOCK };

void tg_cache_init(struct tg_cache *c, struct tg_io *io)
{
    *c = (struct tg_cache){.io = io, .scratch = TG_BUF_INIT(TG_RECORD_MAX)};
}

void tg_cache_fini(struct tg_cache *c)
{
    for (int i = 0; i < TG_CACHE_BLOCKS; i++)
        tg_free(c->blocks[i].data);
    tg_buf_fini(&c->scratch);
    *c = (struct tg_cache){.io = c->io};
}

void tg_cache_drop(struct tg_cache *c, const struct tg_seg *seg)
{
    for (int i = 0; i < TG_CACHE_BLOCKS; i++)
        if (c->blocks[i].seg == seg)
            c->blocks[i].seg = NULL;
}

static struct tg_block *find(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset)
{
    uint64_t from = offset / TG_CACHE_BLOCK * TG_CACHE_BLOCK;
    for (int i = 0; i < TG_CACHE_BLOCKS; i++)
        if (c->blocks[i].seg == seg && c->blocks[i].from == from)
            return &c->blocks[i];
    return NULL;
}

/* A free block, or the one that was not used for longest. NULL when out of memory. */
static struct tg_block *take_block(struct tg_cache *c)
{
    struct tg_block *b = &c->blocks[0];
    for (int i = 0; i < TG_CACHE_BLOCKS && b->seg; i++)
        if (!c->blocks[i].seg || c->blocks[i].used < b->used)
            b = &c->blocks[i];
    if (!b->data)
        b->data = tg_malloc(TG_CACHE_BLOCK);
    return b->data ? b : NULL;
}

/* A reader of a backlog goes on to the blocks behind this one: they are fetched while it works, so that the
 * loop waits for the disk at most when a reader begins in a segment that is not in memory. */
static void fetch_ahead(struct tg_cache *c, const struct tg_seg *seg, const struct tg_block *b)
{
    uint64_t next = b->from + TG_CACHE_BLOCK;
    if (c->io->will_need && next < seg->end)
        c->io->will_need(c->io, seg->fd, (off_t)next, (off_t)AHEAD);
}

/* The block with `offset`, with everything in it that the segment has by now. */
static int load(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, struct tg_block **out)
{
    struct tg_block *b = find(c, seg, offset);
    if (!b) {
        b = take_block(c);
        if (!b)
            return TG_NOMEM;
        *b = (struct tg_block){.seg = seg, .from = offset / TG_CACHE_BLOCK * TG_CACHE_BLOCK, .data = b->data};
        fetch_ahead(c, seg, b);
    }
    b->used = ++c->clock;
    uint64_t there = seg->end - b->from;
    size_t len = there < TG_CACHE_BLOCK ? (size_t)there : TG_CACHE_BLOCK;
    uint64_t unreadable = 0;
    if (b->len < len)
        tg_read_salvaging(c->io, seg->fd, b->data + b->len, len - b->len, b->from + b->len, &unreadable);
    b->len = len;
    *out = b;
    return TG_OK;
}

/* Bytes over a border are put together in the scratch buffer. */
static int gather(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n,
                  const unsigned char **bytes)
{
    tg_buf_clear(&c->scratch);
    if (c->scratch.cap > KEEP_SCRATCH && n <= KEEP_SCRATCH)
        tg_buf_fini(&c->scratch);
    while (n) {
        struct tg_block *b;
        int rc = load(c, seg, offset, &b);
        if (rc)
            return rc;
        size_t skip = (size_t)(offset - b->from), part = b->len - skip < n ? b->len - skip : n;
        rc = tg_buf_add(&c->scratch, b->data + skip, part);
        if (rc)
            return rc;
        offset += part;
        n -= part;
    }
    *bytes = (const unsigned char *)c->scratch.data;
    return TG_OK;
}

int tg_cache_at(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n,
                const unsigned char **bytes)
{
    if (offset / TG_CACHE_BLOCK != (offset + n - 1) / TG_CACHE_BLOCK)
        return gather(c, seg, offset, n, bytes);
    struct tg_block *b;
    int rc = load(c, seg, offset, &b);
    if (rc == TG_OK)
        *bytes = b->data + (offset - b->from);
    return rc;
}

/* Only where somebody reads at the tail: else it would cost others their blocks. */
void tg_cache_extend(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, const void *bytes,
                     size_t n)
{
    const unsigned char *p = bytes;
    struct tg_block *b = find(c, seg, offset - 1);
    while (n && b && b->from + b->len == offset) {
        size_t room = TG_CACHE_BLOCK - b->len, part = n < room ? n : room;
        memcpy(b->data + b->len, p, part);
        b->len += part;
        offset += part;
        p += part;
        n -= part;
        if (n && (b = take_block(c)))
            *b = (struct tg_block){.seg = seg, .from = offset, .used = ++c->clock, .data = b->data};
    }
}

bool tg_cache_verified(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n)
{
    const struct tg_block *b = find(c, seg, offset);
    return b && offset >= b->good_from && offset + n <= b->good_to;
}

void tg_cache_mark(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n)
{
    struct tg_block *b = find(c, seg, offset);
    if (!b || offset + n > b->from + TG_CACHE_BLOCK)
        return; /* it crosses the border: checked each time */
    if (offset != b->good_to)
        b->good_from = offset;
    b->good_to = offset + n;
}
