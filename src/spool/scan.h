/* Walks the records of a segment through a view of its bytes, and finds its way again behind damage.
 *
 * The one reader of the format: recovery, the log's readers and the offline tools all use it. It believes
 * nothing: a record counts when magic, both checksums, lengths and sequence are right. Behind anything else
 * it looks for the next record header whose own checksum holds and whose sequence can follow, so a damaged
 * length costs that record alone. */
#ifndef TG_SPOOL_SCAN_H
#define TG_SPOOL_SCAN_H

#include "spool/io.h"
#include "spool/record.h"
#include "spool/segment.h"

struct tg_view {
    void *src;
    /* Lends n bytes at `offset` (both within what the scan was told) until the next call. TG_OK or a code. */
    int (*at)(void *src, uint64_t offset, size_t n, const unsigned char **bytes);
    /* Whether these bytes were verified since they were read, and that they have been now. May be NULL. */
    bool (*verified)(void *src, uint64_t offset, size_t n);
    void (*mark)(void *src, uint64_t offset, size_t n);
};

struct tg_scan {
    struct tg_view view;
    uint64_t first_seq; /* of the segment */
    uint64_t at, end;   /* offsets; `end` may be raised between calls */
    uint64_t expected;  /* sequence of the record at `at`, if nothing is lost */
};

enum tg_scan_what { TG_SCAN_END, TG_SCAN_RECORD, TG_SCAN_DAMAGED };

struct tg_scan_item {
    uint64_t offset,
        bytes; /* of the record with its header, or of the damaged stretch (0: only a gap in the numbers) */
    struct tg_record record; /* TG_SCAN_RECORD: lent by the view */
    uint64_t lost;           /* TG_SCAN_DAMAGED: records known to be lost with it; 0: cannot be told */
    uint64_t used;           /* TG_SCAN_DAMAGED: bytes of it up to the last one that is not zero */
    bool at_end;             /* TG_SCAN_DAMAGED: no record header stands behind it */
};

/* Begins behind the segment's header. */
void tg_scan_init(struct tg_scan *s, struct tg_view view, uint64_t first_seq, uint64_t end);
/* One of tg_scan_what and *item, or what the view failed with; then the next call tries the same place again.
 * Always comes to an end: every call that succeeds moves on. */
TG_MUST_CHECK int tg_scan_next(struct tg_scan *s, struct tg_scan_item *item);

/* A view of a file through a growing window of its own. What the device cannot read comes as bytes that are
 * no record. */
struct tg_file_view {
    struct tg_io *io;
    int fd;
    uint64_t size; /* of the file */
    unsigned char *data;
    size_t cap, len;
    uint64_t from;       /* offset of data[0] */
    uint64_t unreadable; /* bytes that could not be read */
};
void tg_file_view_init(struct tg_file_view *v, struct tg_io *io, int fd, uint64_t size);
void tg_file_view_fini(struct tg_file_view *v);
struct tg_view tg_file_view_of(struct tg_file_view *v);

/* Reads n bytes, page by page where the device fails; unreadable pages are filled with 0xee and counted.
 * Never fails but for a file that is shorter: the rest is filled likewise. */
void tg_read_salvaging(struct tg_io *io, int fd, unsigned char *buf, size_t n, uint64_t at,
                       uint64_t *unreadable);

#endif
