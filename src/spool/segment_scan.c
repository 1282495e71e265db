/* The relay may be writing the file meanwhile, or cutting it to its length: what looks damaged is read once
 * more before it is told. */
#include "spool/segment_scan.h"

#include "spool/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

enum { WRITING_NS = 20 * 1000 * 1000 }; /* a group that was not there whole is by then */

struct report {
    struct tg_segment_info *info;
    int (*each)(void *arg, const struct tg_record *record, uint64_t offset);
    void (*damaged)(void *arg, uint64_t offset, uint64_t bytes, const char *why);
    void *arg;
    struct tg_scan_item bad; /* stretch behind the last intact record; bytes 0 and lost 0: none */
    struct tg_scan before;   /* where it was met */
    bool is_sure;            /* it was read twice */
};

static bool has_bad(const struct report *r)
{
    return r->bad.used || r->bad.lost;
}

static void tell_damage(struct report *r, uint64_t offset, uint64_t bytes, uint64_t lost, const char *why)
{
    r->info->damaged += lost ? lost : 1;
    if (r->damaged)
        r->damaged(r->arg, offset, bytes, why);
}

static void flush_bad(struct report *r)
{
    if (has_bad(r))
        tell_damage(r, r->bad.offset, r->bad.used, r->bad.lost, "not an intact record");
    r->bad = (struct tg_scan_item){.offset = 0};
    r->is_sure = false;
}

/* Non-zero: stop. */
static int report_item(struct report *r, int what, const struct tg_scan_item *item)
{
    if (what == TG_SCAN_DAMAGED) {
        if (!has_bad(r))
            r->bad.offset = item->offset;
        r->bad.lost += item->lost;
        r->bad.used = item->offset + item->used - r->bad.offset;
        return 0;
    }
    flush_bad(r);
    r->info->records++;
    r->info->last_seq = item->record.seq;
    r->info->bytes = item->offset + item->bytes;
    return r->each ? r->each(r->arg, &item->record, item->offset) : 0;
}

/* The number that the file's name gives, for a file whose header is damaged. */
static uint64_t named_seq(const char *path)
{
    const char *slash = strrchr(path, '/');
    uint64_t seq;
    return tg_segment_name_parse(slash ? slash + 1 : path, &seq) ? seq : 1;
}

static int read_head(struct report *r, struct tg_io *io, int fd, uint64_t size, const char *path,
                     struct tg_err *err)
{
    unsigned char bytes[TG_SEGMENT_HEADER] = {0};
    uint64_t unreadable = 0;
    struct tg_segment_header h = {0};
    if (size)
        tg_read_salvaging(io, fd, bytes, size < sizeof bytes ? (size_t)size : sizeof bytes, 0, &unreadable);
    int rc = tg_segment_header_get(bytes, &h);
    if (rc == TG_BADVERSION)
        return tg_fail(err, rc, "%s: written by a newer program (format %u, this one knows %d)", path,
                       h.version, TG_SEGMENT_VERSION);
    *r->info = (struct tg_segment_info){
        .version = h.version, .partition = h.partition, .epoch = h.epoch, .first_seq = h.first_seq};
    if (rc)
        *r->info = (struct tg_segment_info){.first_seq = named_seq(path)};
    if (rc && size >= sizeof bytes)
        tell_damage(r, 0, sizeof bytes, 1, "the segment's header");
    r->info->torn = size < sizeof bytes;
    r->info->bytes = size < sizeof bytes ? size : sizeof bytes;
    return TG_OK;
}

/* What a stretch was followed by has been read after it: a record in it that was being written then is whole
 * now. Only at the end of the file the writing may still be under way. */
static bool look_again(struct report *r, int what, struct tg_scan *scan, struct tg_file_view *view)
{
    uint64_t size;
    if (what == TG_SCAN_DAMAGED || what < 0 || !has_bad(r) || r->is_sure ||
        view->io->size(view->io, view->fd, &size) != 0)
        return false;
    if (what == TG_SCAN_END)
        (void)nanosleep(&(struct timespec){.tv_nsec = WRITING_NS}, NULL);
    *scan = r->before;
    scan->end = view->size = size;
    view->len = 0;
    r->bad = (struct tg_scan_item){.offset = 0};
    r->is_sure = true;
    return true;
}

/* The next item, damage only when it was met twice. */
static int next_item(struct report *r, struct tg_scan *scan, struct tg_file_view *view,
                     struct tg_scan_item *item)
{
    int what;
    do {
        if (!has_bad(r))
            r->before = *scan;
        what = tg_scan_next(scan, item);
    } while (look_again(r, what, scan, view));
    return what;
}

static int scan_open_file(struct report *r, struct tg_io *io, int fd, const char *path, struct tg_err *err)
{
    uint64_t size;
    if (io->size(io, fd, &size) != 0)
        return tg_fail_errno(err, errno, "%s: cannot find its size", path);
    int what = read_head(r, io, fd, size, path, err);
    if (what)
        return what;
    struct tg_file_view view;
    struct tg_scan scan;
    struct tg_scan_item item;
    tg_file_view_init(&view, io, fd, size);
    tg_scan_init(&scan, tg_file_view_of(&view), r->info->first_seq, size);
    while ((what = next_item(r, &scan, &view, &item)) > 0 && report_item(r, what, &item) == 0)
        ;
    tg_file_view_fini(&view);
    if (what == TG_SCAN_END && has_bad(r)) {
        r->info->torn = true;
        if (r->damaged)
            r->damaged(r->arg, r->bad.offset, r->bad.used, "torn tail");
    }
    return what < 0 ? tg_fail(err, what, "%s: %s", path, tg_code_text(what)) : TG_OK;
}

int tg_segment_scan(struct tg_io *io, const char *path, struct tg_segment_info *info,
                    int (*each)(void *arg, const struct tg_record *record, uint64_t offset),
                    void (*damaged)(void *arg, uint64_t offset, uint64_t bytes, const char *why), void *arg,
                    struct tg_err *err)
{
    struct report r = {.info = info, .each = each, .damaged = damaged, .arg = arg};
    int fd = io->open(io, path, O_RDONLY, 0);
    if (fd < 0)
        return tg_fail_errno(err, errno, "%s: cannot open", path);
    int rc = scan_open_file(&r, io, fd, path, err);
    (void)io->close(io, fd);
    return rc;
}
