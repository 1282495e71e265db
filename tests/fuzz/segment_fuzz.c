/* The reader of segments. The first byte chooses:
 *
 * Even: the rest is what stands behind a segment's header. With bit 1 set, checksums of headers and payloads
 * are put right first, so that lengths and numbers are tried and not only checksums. Whatever it is, the scan
 * ends, goes forward, and lends only bytes of the file.
 *
 * Odd: the rest are edits (offset, operation, value: 4 bytes each) of a good segment: every record that they
 * have not touched is returned, in order, and none that they have. */
#include "base/digest.h"
#include "spool/bytes.h"
#include "spool/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 12, SEGMENT_MAX = 4096 };

struct bytes {
    const unsigned char *data;
    size_t size;
};

static void check(bool good)
{
    if (!good)
        abort();
}

/* Lends a copy of exactly n bytes, so that a read beyond them is seen. */
static unsigned char *lent;

static int view_at(void *src, uint64_t offset, size_t n, const unsigned char **bytes)
{
    const struct bytes *b = src;
    check(offset <= b->size && n <= b->size - offset);
    free(lent);
    lent = malloc(n ? n : 1);
    check(lent != NULL);
    memcpy(lent, b->data + offset, n);
    *bytes = lent;
    return TG_OK;
}

static void scan_anything(const unsigned char *data, size_t size)
{
    struct bytes b = {data, size};
    struct tg_scan s;
    struct tg_scan_item item;
    uint64_t at = TG_SEGMENT_HEADER, seq = 0;
    int what;
    tg_scan_init(&s, (struct tg_view){.src = &b, .at = view_at}, 1, size);
    while ((what = tg_scan_next(&s, &item)) > 0) {
        check(item.offset == at && s.at == at + item.bytes && s.at <= size);
        check(item.bytes > 0 || item.lost > 0);
        at = s.at;
        if (what != TG_SCAN_RECORD)
            continue;
        check(item.record.seq > seq);
        seq = item.record.seq;
        check(item.record.header.n + item.record.body.n + TG_RECORD_HEADER == item.bytes);
    }
    check(what == TG_SCAN_END);
}

/* Puts the checksums of everything right that begins like a record. */
static void mend(unsigned char *p, size_t size)
{
    for (size_t at = 0; at + TG_RECORD_HEADER <= size; at++) {
        if (p[at] != TG_RECORD_MAGIC_0)
            continue;
        uint32_t len = tg_get32(p + at + 8);
        if (len <= size - at - TG_RECORD_HEADER)
            tg_put32(p + at + 12, tg_crc32c(0, p + at + TG_RECORD_HEADER, len));
        tg_put32(p + at + 4, tg_crc32c(0, p + at + 8, TG_RECORD_HEADER - 8));
    }
}

static void raw(const uint8_t *data, size_t size, bool mended)
{
    unsigned char *p = calloc(1, TG_SEGMENT_HEADER + size);
    check(p != NULL);
    if (size)
        memcpy(p + TG_SEGMENT_HEADER, data, size);
    if (mended)
        mend(p + TG_SEGMENT_HEADER, size);
    scan_anything(p, TG_SEGMENT_HEADER + size);
    free(p);
}

static size_t make_segment(unsigned char out[SEGMENT_MAX], size_t border[RECORDS + 1])
{
    size_t at = TG_SEGMENT_HEADER;
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct tg_record_header h = {
            .len = i * 17 % 90, .seq = i + 1, .received_at = i, .header_len = i * 17 % 90 / 3};
        memset(out + at + TG_RECORD_HEADER, (int)('a' + i), h.len);
        h.crc = tg_crc32c(0, out + at + TG_RECORD_HEADER, h.len);
        tg_record_header_put(&h, out + at);
        border[i] = at;
        at += TG_RECORD_HEADER + h.len;
    }
    border[RECORDS] = at;
    return at;
}

static size_t edit(unsigned char *p, size_t size, const uint8_t *e)
{
    size_t at = ((size_t)e[0] | (size_t)e[1] << 8) % size;
    if (e[2] % 4 == 3)
        return at + 1; /* cut */
    size_t n = e[2] % 4 == 0 ? 1 : e[3] < size - at ? e[3] : size - at;
    for (size_t i = 0; i < n; i++)
        p[at + i] = e[2] % 4 == 0 ? p[at + i] ^ e[3] : e[2] % 4 == 1 ? 0 : p[at + i] + e[2];
    return size;
}

static void edited(const uint8_t *edits, size_t n)
{
    unsigned char good[SEGMENT_MAX] = {0}, bad[SEGMENT_MAX];
    size_t border[RECORDS + 1], size = make_segment(good, border);
    memcpy(bad, good, sizeof bad);
    for (; n >= 4; n -= 4, edits += 4)
        size = edit(bad, size, edits);
    struct bytes b = {bad, size};
    struct tg_scan s;
    struct tg_scan_item item;
    tg_scan_init(&s, (struct tg_view){.src = &b, .at = view_at}, 1, size);
    if (size < TG_SEGMENT_HEADER)
        s.end = TG_SEGMENT_HEADER;
    for (size_t i = 0; i < RECORDS; i++) {
        if (border[i + 1] > size || memcmp(bad + border[i], good + border[i], border[i + 1] - border[i]) != 0)
            continue;
        int what;
        do
            what = tg_scan_next(&s, &item);
        while (what == TG_SCAN_DAMAGED);
        check(what == TG_SCAN_RECORD && item.record.seq == i + 1 && item.offset == border[i]);
    }
    while (tg_scan_next(&s, &item) == TG_SCAN_DAMAGED)
        ;
    check(tg_scan_next(&s, &item) == TG_SCAN_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        edited(data + 1, size - 1);
    else
        raw(data + 1, size - 1, data[0] & 2);
    free(lent);
    lent = NULL;
    return 0;
}
