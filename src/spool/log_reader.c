/* A reader stands in one segment and scans it through the log's shared cache, up to what is synced. */
#include "spool/log_reader.h"

#include "base/log.h"
#include "base/mem.h"
#include "spool/log_extent.h"
#include "spool/log_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

static int view_at(void *src, uint64_t offset, size_t n, const unsigned char **bytes)
{
    struct tg_log_reader *r = src;
    return tg_cache_at(&r->log->cache, r->seg, offset, n, bytes);
}

static bool view_verified(void *src, uint64_t offset, size_t n)
{
    struct tg_log_reader *r = src;
    return tg_cache_verified(&r->log->cache, r->seg, offset, n);
}

static void view_mark(void *src, uint64_t offset, size_t n)
{
    struct tg_log_reader *r = src;
    tg_cache_mark(&r->log->cache, r->seg, offset, n);
}

static int open_file(struct tg_log *log, struct tg_seg *seg, struct tg_err *err)
{
    char name[TG_SEGMENT_NAME + 1], path[TG_PATH_MAX];
    if (seg->fd >= 0)
        return TG_OK;
    tg_segment_name(seg->first_seq, name);
    if (!tg_spool_path(path, log->dir, name))
        return tg_fail(err, TG_INVALID, "%s: the path is too long", log->dir);
    seg->fd = log->o.io->open(log->o.io, path, O_RDONLY, 0);
    return seg->fd >= 0 ? TG_OK : tg_fail_errno(err, errno, "%s: cannot open", path);
}

static int enter(struct tg_log_reader *r, struct tg_seg *seg, struct tg_err *err)
{
    int rc = open_file(r->log, seg, err);
    if (rc)
        return rc;
    seg->readers++;
    r->seg = seg;
    if (r->want < seg->first_seq)
        r->want = seg->first_seq;
    struct tg_view view = {.src = r, .at = view_at, .verified = view_verified, .mark = view_mark};
    struct tg_place place = tg_seg_place(seg, r->want);
    tg_scan_init(&r->scan, view, seg->first_seq, seg->end);
    r->scan.at = place.offset;
    r->scan.expected = place.seq;
    return TG_OK;
}

static void leave(struct tg_log_reader *r)
{
    struct tg_seg *seg = r->seg;
    r->seg = NULL;
    if (!seg || --seg->readers > 0)
        return;
    (void)r->log->o.io->close(r->log->o.io, seg->fd);
    seg->fd = -1;
}

void tg_log_readers_leave(struct tg_log *log, struct tg_seg *seg)
{
    for (struct tg_log_reader *r = log->readers; r; r = r->next) {
        if (r->seg != seg)
            continue;
        leave(r);
        if (r->want < seg->next_seq)
            r->want = seg->next_seq;
    }
    tg_cache_drop(&log->cache, seg);
}

/* Damage met while reading; counted once. */
static void note_damage(struct tg_log *log, struct tg_seg *seg, const struct tg_scan_item *item)
{
    if (!tg_seg_note_damage(seg, item->offset))
        return;
    tg_count(log->m.damaged, item->lost ? (int64_t)item->lost : 1);
    tg_warn("spool: damaged records skipped", TG_FS("folder", log->dir), TG_FI("segment", seg->first_seq),
            TG_FI("offset", item->offset), TG_FI("bytes", item->bytes),
            TG_FI("records", item->lost ? item->lost : 1));
}

/* A segment that somebody removed beneath us: all of its records are lost, those behind it are not. */
static void skip_missing(struct tg_log_reader *r, struct tg_seg *seg)
{
    struct tg_scan_item all = {.bytes = seg->end, .lost = seg->next_seq - seg->first_seq};
    note_damage(r->log, seg, &all);
    r->want = seg->next_seq;
}

/* Into the segment where `want` is or will be. 1: there; 0: there is none yet; or a code. */
static int find_segment(struct tg_log_reader *r, struct tg_err *err)
{
    for (;;) {
        struct tg_seg *seg = tg_seglist_find(&r->log->segments, r->want);
        if (!seg)
            return 0;
        int rc = enter(r, seg, err);
        if (rc == TG_OK)
            return 1;
        if (rc != TG_NOTFOUND)
            return rc;
        if (seg->next_seq <= r->want)
            return 0;
        skip_missing(r, seg);
    }
}

int tg_log_reader_open(struct tg_log *log, uint64_t from, struct tg_log_reader **out, struct tg_err *err)
{
    struct tg_log_reader *r = tg_calloc(1, sizeof *r);
    if (!r)
        return tg_fail(err, TG_NOMEM, "spool: out of memory for a reader");
    r->log = log;
    r->want = from > tg_log_first(log) ? from : tg_log_first(log);
    r->next = log->readers;
    log->readers = r;
    *out = r;
    return TG_OK;
}

void tg_log_reader_close(struct tg_log_reader **reader)
{
    struct tg_log_reader *r = *reader, **at;
    if (!r)
        return;
    *reader = NULL;
    leave(r);
    for (at = &r->log->readers; *at != r;)
        at = &(*at)->next;
    *at = r->next;
    tg_free(r);
}

/* One step within the segment: 1 with a record that is wanted, 0 to go on, or a code; *end when it has no
 * more for now. */
static int step(struct tg_log_reader *r, struct tg_record *record, bool *end)
{
    struct tg_scan_item item;
    r->scan.end = r->seg->end;
    int what = tg_scan_next(&r->scan, &item);
    *end = what == TG_SCAN_END;
    if (what < 0 || *end)
        return what;
    if (what == TG_SCAN_DAMAGED) {
        note_damage(r->log, r->seg, &item);
        if (r->want < r->scan.expected)
            r->want = r->scan.expected;
        return 0;
    }
    if (item.record.seq < r->want)
        return 0;
    *record = item.record;
    r->want = record->seq + 1;
    return 1;
}

int tg_log_reader_next(struct tg_log_reader *r, struct tg_record *record, struct tg_err *err)
{
    for (;;) {
        int rc = r->seg ? 1 : find_segment(r, err);
        if (rc <= 0)
            return rc;
        bool end;
        assert(r->seg);
        rc = step(r, record, &end);
        if (rc < 0)
            return tg_fail(err, rc, "spool: cannot read segment %llu: %s",
                           (unsigned long long)r->seg->first_seq, tg_code_text(rc));
        if (rc)
            return rc;
        if (!end)
            continue;
        struct tg_seg *next = r->seg->next;
        if (!next)
            return 0;
        leave(r);
        if (r->want < next->first_seq)
            r->want = next->first_seq;
    }
}

uint64_t tg_log_reader_at(const struct tg_log_reader *r)
{
    return r->want;
}
