#include "spool/scan.h"

#include "base/digest.h"
#include "base/mem.h"

#include <string.h>

enum { WINDOW = 256 << 10, SEARCH = 64 << 10, PAGE = 4096, UNREADABLE = 0xee };

void tg_scan_init(struct tg_scan *s, struct tg_view view, uint64_t first_seq, uint64_t end)
{
    *s = (struct tg_scan){
        .view = view, .first_seq = first_seq, .at = TG_SEGMENT_HEADER, .end = end, .expected = first_seq};
}

/* Whether a header at `offset` can be the next record's: its payload fits, and its number is neither used up
 * nor higher than the records that there was room for. */
static bool plausible(const struct tg_scan *s, uint64_t offset, const struct tg_record_header *h)
{
    return h->len <= s->end - offset - TG_RECORD_HEADER && h->seq >= s->expected &&
           h->seq - s->first_seq <= (offset - TG_SEGMENT_HEADER) / TG_RECORD_HEADER;
}

/* Looks for a plausible header in n bytes at `offset`. */
static bool search_chunk(const struct tg_scan *s, const unsigned char *p, size_t n, uint64_t offset,
                         uint64_t *found, struct tg_record_header *h)
{
    for (size_t i = 0; i + TG_RECORD_HEADER <= n; i++) {
        const unsigned char *m = memchr(p + i, TG_RECORD_MAGIC_0, n - i - TG_RECORD_HEADER + 1);
        if (!m)
            return false;
        i = (size_t)(m - p);
        if (tg_record_header_get(m, h) && plausible(s, offset + i, h)) {
            *found = offset + i;
            return true;
        }
    }
    return false;
}

static size_t used_bytes(const unsigned char *p, size_t n)
{
    if (n && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0)
        return 0;
    while (n && p[n - 1] == 0)
        n--;
    return n;
}

/* A stretch that begins at s->at with something that is no header: up to the next header, or to the end. */
static int skip_damage(struct tg_scan *s, struct tg_scan_item *item)
{
    struct tg_record_header h;
    uint64_t used = 0, found = s->end;
    bool hit = false;
    for (uint64_t at = s->at; at < s->end && !hit; at += SEARCH) {
        /* Chunks overlap by a header less one byte, so that none hides on the seam. */
        size_t n = (size_t)(s->end - at < SEARCH + TG_RECORD_HEADER - 1 ? s->end - at
                                                                        : SEARCH + TG_RECORD_HEADER - 1);
        const unsigned char *p;
        int rc = s->view.at(s->view.src, at, n, &p);
        if (rc)
            return rc;
        hit = search_chunk(s, p, n, at, &found, &h);
        size_t in_chunk = used_bytes(p, hit ? (size_t)(found - at) : n);
        if (in_chunk)
            used = at + in_chunk - s->at;
    }
    item->bytes = found - s->at;
    item->used = used;
    item->at_end = !hit;
    item->lost = hit ? h.seq - s->expected : 0;
    if (hit)
        s->expected = h.seq;
    s->at = found;
    return item->at_end && used == 0 ? TG_SCAN_END : TG_SCAN_DAMAGED;
}

static int lost_numbers(struct tg_scan *s, uint64_t seq, struct tg_scan_item *item)
{
    item->lost = seq - s->expected;
    s->expected = seq;
    return TG_SCAN_DAMAGED;
}

/* The header holds: its payload decides. */
static int take_record(struct tg_scan *s, const struct tg_record_header *h, struct tg_scan_item *item)
{
    const unsigned char *p = NULL;
    uint64_t payload = s->at + TG_RECORD_HEADER;
    int rc = h->len ? s->view.at(s->view.src, payload, h->len, &p) : TG_OK;
    if (rc)
        return rc;
    size_t whole = TG_RECORD_HEADER + (size_t)h->len;
    bool known = s->view.verified && s->view.verified(s->view.src, s->at, whole);
    bool good = known || tg_crc32c(0, p, h->len) == h->crc;
    if (good && !known && s->view.mark)
        s->view.mark(s->view.src, s->at, whole);
    item->bytes = item->used = whole;
    item->lost = good ? 0 : 1;
    item->record = (struct tg_record){
        .seq = h->seq,
        .received_at = h->received_at,
        .flags = h->flags,
        .header = {(const char *)p, h->header_len},
        .body = {h->len > h->header_len ? (const char *)p + h->header_len : NULL, h->len - h->header_len},
    };
    s->at += whole;
    s->expected = h->seq + 1;
    return good ? TG_SCAN_RECORD : TG_SCAN_DAMAGED;
}

int tg_scan_next(struct tg_scan *s, struct tg_scan_item *item)
{
    *item = (struct tg_scan_item){.offset = s->at};
    if (s->at >= s->end)
        return TG_SCAN_END;
    if (s->end - s->at < TG_RECORD_HEADER)
        return skip_damage(s, item);
    const unsigned char *p;
    int rc = s->view.at(s->view.src, s->at, TG_RECORD_HEADER, &p);
    if (rc)
        return rc;
    struct tg_record_header h;
    if (!tg_record_header_get(p, &h) || !plausible(s, s->at, &h))
        return skip_damage(s, item);
    return h.seq > s->expected ? lost_numbers(s, h.seq, item) : take_record(s, &h, item);
}

void tg_read_salvaging(struct tg_io *io, int fd, unsigned char *buf, size_t n, uint64_t at,
                       uint64_t *unreadable)
{
    ssize_t got = tg_io_read_full(io, fd, buf, n, (off_t)at);
    if (got == (ssize_t)n)
        return;
    for (size_t i = 0; i < n; i += PAGE) {
        size_t part = n - i < PAGE ? n - i : PAGE;
        got = tg_io_read_full(io, fd, buf + i, part, (off_t)(at + i));
        if (got == (ssize_t)part)
            continue;
        size_t ok = got > 0 ? (size_t)got : 0;
        memset(buf + i + ok, UNREADABLE, part - ok);
        *unreadable += part - ok;
    }
}

void tg_file_view_init(struct tg_file_view *v, struct tg_io *io, int fd, uint64_t size)
{
    *v = (struct tg_file_view){.io = io, .fd = fd, .size = size};
}

void tg_file_view_fini(struct tg_file_view *v)
{
    tg_free(v->data);
    v->data = NULL;
}

static int file_view_at(void *src, uint64_t offset, size_t n, const unsigned char **bytes)
{
    struct tg_file_view *v = src;
    if (offset < v->from || offset - v->from > v->len || v->len - (offset - v->from) < n) {
        size_t want = n > WINDOW ? n : WINDOW;
        if (want > v->size - offset)
            want = (size_t)(v->size - offset);
        if (want > v->cap) {
            unsigned char *data = tg_realloc(v->data, want);
            if (!data)
                return TG_NOMEM;
            v->data = data;
            v->cap = want;
        }
        tg_read_salvaging(v->io, v->fd, v->data, want, offset, &v->unreadable);
        v->from = offset;
        v->len = want;
    }
    *bytes = v->data + (offset - v->from);
    return TG_OK;
}

struct tg_view tg_file_view_of(struct tg_file_view *v)
{
    return (struct tg_view){.src = v, .at = file_view_at};
}
