/* The bytes of a segment file: its header, its records' headers, its name. Layout in src/spool/README.md.
 *
 *     +-----------------+----------------------------+----------------------------+------------------+
 *     | segment header  | record header 40 | payload | record header 40 | payload | preallocated     |
 *     | 64              |                  |         |                  |         | zeros            |
 *     +-----------------+----------------------------+----------------------------+------------------+
 *
 * A record header has its own checksum, so that its length can be believed when its payload cannot, and
 * begins with a magic of two bytes that no UTF-8 text contains, so that a body can never pass for a record
 * while a damaged stretch is searched. */
#ifndef TG_SPOOL_SEGMENT_H
#define TG_SPOOL_SEGMENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TG_SEGMENT_VERSION = 1,
    TG_SEGMENT_HEADER = 64,
    TG_RECORD_HEADER = 40,
    TG_RECORD_MAX = 16 << 20, /* most payload bytes of a record */
    TG_SEGMENT_NAME = 20,     /* 16 hex digits and ".seg" */
};

/* What was acknowledged of the segment before this one: what stands behind `end` there never was. */
struct tg_segment_prev {
    uint64_t first_seq; /* 0: there was none */
    uint64_t end;       /* offset behind its last acknowledged record */
    uint64_t next_seq;  /* one above its last acknowledged record */
};

struct tg_segment_header {
    uint32_t version, partition;
    uint64_t epoch, first_seq;
    struct tg_segment_prev prev;
};

struct tg_record_header {
    uint32_t len; /* of the payload: header and body */
    uint32_t crc; /* of the payload */
    uint64_t seq;
    int64_t received_at;
    uint32_t flags, header_len;
};

void tg_segment_header_put(const struct tg_segment_header *h, unsigned char out[TG_SEGMENT_HEADER]);
/* TG_CORRUPT: not a header, or a damaged one; TG_BADVERSION: an intact one of a newer program. */
TG_MUST_CHECK int tg_segment_header_get(const unsigned char in[TG_SEGMENT_HEADER],
                                        struct tg_segment_header *h);

void tg_record_header_put(const struct tg_record_header *h, unsigned char out[TG_RECORD_HEADER]);
/* Whether magic, checksum and lengths are right. */
bool tg_record_header_get(const unsigned char in[TG_RECORD_HEADER], struct tg_record_header *h);
/* First byte of every record header, for memchr. */
enum { TG_RECORD_MAGIC_0 = 0xfe };

/* "<16 hex digits>.seg" */
void tg_segment_name(uint64_t first_seq, char out[TG_SEGMENT_NAME + 1]);
bool tg_segment_name_parse(const char *name, uint64_t *first_seq);

#endif
