#include "spool/segment.h"

#include "base/digest.h"
#include "spool/bytes.h"

#include <stdio.h>
#include <string.h>

static const unsigned char segment_magic[8] = {'T', 'G', 'S', 'E', 'G', '\r', '\n', 0xff};
static const unsigned char record_magic[4] = {TG_RECORD_MAGIC_0, 'T', 'G', 0xff};

void tg_segment_header_put(const struct tg_segment_header *h, unsigned char out[TG_SEGMENT_HEADER])
{
    memset(out, 0, TG_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof segment_magic);
    tg_put32(out + 8, h->version);
    tg_put32(out + 12, h->partition);
    tg_put64(out + 16, h->epoch);
    tg_put64(out + 24, h->first_seq);
    tg_put64(out + 32, h->prev.first_seq);
    tg_put64(out + 40, h->prev.end);
    tg_put64(out + 48, h->prev.next_seq);
    tg_put32(out + 60, tg_crc32c(0, out, 60));
}

int tg_segment_header_get(const unsigned char in[TG_SEGMENT_HEADER], struct tg_segment_header *h)
{
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0 || tg_get32(in + 60) != tg_crc32c(0, in, 60))
        return TG_CORRUPT;
    h->version = tg_get32(in + 8);
    h->partition = tg_get32(in + 12);
    h->epoch = tg_get64(in + 16);
    h->first_seq = tg_get64(in + 24);
    h->prev.first_seq = tg_get64(in + 32);
    h->prev.end = tg_get64(in + 40);
    h->prev.next_seq = tg_get64(in + 48);
    return h->version > TG_SEGMENT_VERSION ? TG_BADVERSION : TG_OK;
}

void tg_record_header_put(const struct tg_record_header *h, unsigned char out[TG_RECORD_HEADER])
{
    memcpy(out, record_magic, sizeof record_magic);
    tg_put32(out + 8, h->len);
    tg_put32(out + 12, h->crc);
    tg_put64(out + 16, h->seq);
    tg_put64(out + 24, (uint64_t)h->received_at);
    tg_put32(out + 32, h->flags);
    tg_put32(out + 36, h->header_len);
    tg_put32(out + 4, tg_crc32c(0, out + 8, TG_RECORD_HEADER - 8));
}

bool tg_record_header_get(const unsigned char in[TG_RECORD_HEADER], struct tg_record_header *h)
{
    if (memcmp(in, record_magic, sizeof record_magic) != 0 ||
        tg_get32(in + 4) != tg_crc32c(0, in + 8, TG_RECORD_HEADER - 8))
        return false;
    h->len = tg_get32(in + 8);
    h->crc = tg_get32(in + 12);
    h->seq = tg_get64(in + 16);
    h->received_at = (int64_t)tg_get64(in + 24);
    h->flags = tg_get32(in + 32);
    h->header_len = tg_get32(in + 36);
    return h->len <= TG_RECORD_MAX && h->header_len <= h->len;
}

void tg_segment_name(uint64_t first_seq, char out[TG_SEGMENT_NAME + 1])
{
    (void)snprintf(out, TG_SEGMENT_NAME + 1, "%016llx.seg", (unsigned long long)first_seq);
}

bool tg_segment_name_parse(const char *name, uint64_t *first_seq)
{
    if (strlen(name) != TG_SEGMENT_NAME || strcmp(name + 16, ".seg") != 0)
        return false;
    uint64_t seq = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, name[i]);
        if (!d)
            return false;
        seq = seq << 4 | (uint64_t)(d - digits);
    }
    *first_seq = seq;
    return seq > 0;
}
