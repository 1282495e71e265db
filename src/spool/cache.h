/* Blocks of segments in memory, shared by all readers of a log, so that readers at the same place read and
 * check the same bytes once. Bounded: 8 blocks of 256 KiB and one buffer for a record that crosses their
 * border, whatever the number of readers. The tail's block grows with the segment: only what is new is read,
 * from the page cache. Loop thread. */
#ifndef TG_SPOOL_CACHE_H
#define TG_SPOOL_CACHE_H

#include "base/buf.h"
#include "spool/scan.h"
#include "spool/seglist.h"

enum { TG_CACHE_BLOCKS = 8, TG_CACHE_BLOCK = 256 << 10 };

struct tg_block {
    const struct tg_seg *seg;    /* NULL: free */
    uint64_t from;               /* offset of data[0], a multiple of the block size */
    size_t len;                  /* bytes that are there */
    uint64_t good_from, good_to; /* offsets between which records were verified since they were read */
    uint64_t used;               /* when last, by count */
    unsigned char *data;
};

struct tg_cache {
    struct tg_io *io;
    struct tg_block blocks[TG_CACHE_BLOCKS];
    uint64_t clock;
    struct tg_buf scratch;
};

void tg_cache_init(struct tg_cache *c, struct tg_io *io);
void tg_cache_fini(struct tg_cache *c);
/* Forgets what it has of a segment, which is going. */
void tg_cache_drop(struct tg_cache *c, const struct tg_seg *seg);
/* Lends bytes of a segment whose seg->fd is open, below seg->end. Valid until the next call. */
TG_MUST_CHECK int tg_cache_at(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n,
                              const unsigned char **bytes);
/* Bytes that have just been written behind what was there, for readers at the tail: they need not read the
 * file. */
void tg_cache_extend(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, const void *bytes,
                     size_t n);
bool tg_cache_verified(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n);
void tg_cache_mark(struct tg_cache *c, const struct tg_seg *seg, uint64_t offset, size_t n);

#endif
