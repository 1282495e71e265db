/* Recovery: which records were acknowledged, and which of them are intact.
 *
 * Segments say where their predecessor ended (struct tg_segment_prev), so that for all but the last one it is
 * known what was acknowledged: bytes behind that end, and whole segments that no successor names, never were,
 * and are dropped; whatever is missing before it is damage. Only in the last segment it is not known. There,
 * a bad stretch with intact records behind it is damage, for records are written in order and acknowledged
 * after a sync; a bad stretch with nothing behind it is what a crash leaves of a write under way (a torn
 * tail) and is cut.
 *
 * Every file is read once from front to back, so recovery ends. It may be interrupted anywhere and run again:
 * it cuts and removes only what it would not return the next time either. */
#include "spool/recovery.h"

#include "base/log.h"
#include "base/mem.h"
#include "spool/scan.h"
#include "spool/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
    uint64_t first_seq; /* by its name */
    bool header_good;
    struct tg_segment_prev prev;
    bool drop;  /* nothing in it was acknowledged */
    bool known; /* its successor said where it ends: */
    uint64_t end, next_seq;
};

struct recovery {
    const struct tg_log_options *o;
    struct tg_recovered *out;
    struct file *files;
    size_t n;
    bool failed;                /* out of memory while listing */
    uint64_t quarantine_budget; /* bytes that may still be copied */
    bool changed;               /* names went from the folder */
    bool keep;                  /* the present file may hold what nobody has a copy of */
};

/* The walk through one segment. */
struct walk {
    struct recovery *r;
    const struct file *file;
    struct tg_seg *seg;
    struct tg_scan scan;
    struct tg_file_view view;
    uint64_t records;
    uint64_t last_end;  /* offset behind the last intact record */
    uint64_t after;     /* number behind the last intact record */
    uint64_t bad_from;  /* offset of the stretch since then; 0: none */
    uint64_t bad_until; /* its last byte that is not zero, and one */
    uint64_t bad_lost;  /* records known to be lost in it */
    bool keep_tail;     /* what stands behind the last intact record is damage, not a torn tail */
};

static void collect(void *arg, const char *name)
{
    struct recovery *r = arg;
    uint64_t first_seq;
    if (!tg_segment_name_parse(name, &first_seq))
        return;
    struct file *files =
        r->n & (r->n - 1) ? r->files : tg_realloc(r->files, (r->n ? 2 * r->n : 1) * sizeof *files);
    if (!files) {
        r->failed = true;
        return;
    }
    r->files = files;
    r->files[r->n++] = (struct file){.first_seq = first_seq};
}

static int by_first_seq(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

static void segment_path(const struct recovery *r, uint64_t first_seq, char path[TG_PATH_MAX])
{
    char name[TG_SEGMENT_NAME + 1];
    tg_segment_name(first_seq, name);
    (void)snprintf(path, TG_PATH_MAX, "%s/%s", r->o->dir, name);
}

static int open_segment(const struct recovery *r, const struct file *f, int *fd, uint64_t *size,
                        struct tg_err *err)
{
    char path[TG_PATH_MAX];
    segment_path(r, f->first_seq, path);
    *fd = r->o->io->open(r->o->io, path, O_RDWR, 0);
    if (*fd < 0)
        return tg_fail_errno(err, errno, "%s: cannot open", path);
    if (r->o->io->size(r->o->io, *fd, size) == 0)
        return TG_OK;
    int saved = errno;
    (void)r->o->io->close(r->o->io, *fd);
    return tg_fail_errno(err, saved, "%s: cannot find its size", path);
}

static int read_header(struct recovery *r, struct file *f, struct tg_err *err)
{
    int fd;
    uint64_t size, unreadable = 0;
    unsigned char bytes[TG_SEGMENT_HEADER];
    int rc = open_segment(r, f, &fd, &size, err);
    if (rc)
        return rc;
    tg_read_salvaging(r->o->io, fd, bytes, sizeof bytes, 0, &unreadable);
    (void)r->o->io->close(r->o->io, fd);
    struct tg_segment_header h;
    rc = tg_segment_header_get(bytes, &h);
    if (rc == TG_BADVERSION)
        return tg_fail(err, rc,
                       "%s/%016" PRIx64 ".seg: written by a newer program (format %u, this one knows %d): "
                       "run that version, or move the file away",
                       r->o->dir, f->first_seq, h.version, TG_SEGMENT_VERSION);
    f->header_good = rc == TG_OK && h.first_seq == f->first_seq;
    f->prev = f->header_good ? h.prev : (struct tg_segment_prev){0, 0, 0};
    return TG_OK;
}

/* Lets file i say what was acknowledged before it. */
static void apply_prev(struct recovery *r, size_t i)
{
    const struct tg_segment_prev *prev = &r->files[i].prev;
    if (!prev->first_seq)
        return;
    for (size_t j = i; j-- > 0 && r->files[j].first_seq >= prev->first_seq;) {
        if (r->files[j].first_seq > prev->first_seq) {
            r->files[j].drop = true;
        } else if (prev->end >= TG_SEGMENT_HEADER && prev->next_seq > prev->first_seq) {
            r->files[j].known = true;
            r->files[j].end = prev->end;
            r->files[j].next_seq = prev->next_seq;
        }
    }
}

static void note_seq(struct recovery *r, uint64_t next_seq)
{
    if (next_seq > r->out->next_seq)
        r->out->next_seq = next_seq;
}

static int find_files(struct recovery *r, struct tg_err *err)
{
    struct tg_io *io = r->o->io;
    char path[TG_PATH_MAX];
    if (!tg_spool_path(path, r->o->dir, "spare.tmp"))
        return tg_fail(err, TG_INVALID, "%s: the path is too long", r->o->dir);
    if (io->mkdir(io, r->o->dir, 0700) != 0 && errno != EEXIST)
        return tg_fail_errno(err, errno, "%s: cannot make the folder", r->o->dir);
    (void)io->unlink(io, path);
    if (io->list(io, r->o->dir, collect, r) != 0)
        return tg_fail_errno(err, errno, "%s: cannot list", r->o->dir);
    if (r->failed)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", r->o->dir);
    if (r->n)
        qsort(r->files, r->n, sizeof *r->files, by_first_seq);
    for (size_t i = 0; i < r->n; i++) {
        int rc = read_header(r, &r->files[i], err);
        if (rc)
            return rc;
        note_seq(r, r->files[i].first_seq);
        note_seq(r, r->files[i].prev.next_seq);
    }
    for (size_t i = r->n; i-- > 0;)
        if (!r->files[i].drop)
            apply_prev(r, i);
    return TG_OK;
}

/* --- quarantine --- */

static int copy_bytes(struct walk *w, int to, uint64_t from, uint64_t n)
{
    enum { STEP = 16 << 10 };
    unsigned char buf[STEP];
    uint64_t unreadable = 0;
    for (uint64_t done = 0; done < n; done += STEP) {
        size_t part = n - done < STEP ? (size_t)(n - done) : STEP;
        tg_read_salvaging(w->r->o->io, w->view.fd, buf, part, from + done, &unreadable);
        if (tg_io_write_all(w->r->o->io, to, buf, part, (off_t)done) != 0)
            return -1;
    }
    return w->r->o->io->fdatasync(w->r->o->io, to);
}

/* Copies a stretch to quarantine/<segment>-<offset>.bad. True when it is there now and was not before. What
 * cannot be copied is logged: the records behind it matter more. */
static bool quarantine(struct walk *w, uint64_t from, uint64_t n)
{
    struct tg_io *io = w->r->o->io;
    char dir[TG_PATH_MAX], path[TG_PATH_MAX], name[64];
    (void)snprintf(name, sizeof name, "quarantine/%016" PRIx64 "-%08" PRIx64 ".bad", w->file->first_seq,
                   from);
    if (!tg_spool_path(dir, w->r->o->dir, "quarantine") || !tg_spool_path(path, w->r->o->dir, name))
        return true;
    (void)io->mkdir(io, dir, 0700);
    int fd = io->open(io, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EEXIST)
        return false;
    if (n > w->r->quarantine_budget)
        n = w->r->quarantine_budget;
    w->r->quarantine_budget -= n;
    int rc = fd < 0 ? -1 : copy_bytes(w, fd, from, n);
    int saved = errno;
    if (fd >= 0)
        (void)io->close(io, fd);
    if (rc != 0) {
        w->r->keep = true;
        (void)io->unlink(io, path);
        tg_warn("spool: cannot copy damaged bytes to quarantine", TG_FS("path", path),
                TG_FS("error", strerror(saved)));
    }
    return true;
}

static void count_damage(struct walk *w, uint64_t from, uint64_t until, uint64_t lost)
{
    if (lost == 0)
        lost = 1;
    bool fresh = quarantine(w, from, until > from ? until - from : 0);
    w->r->out->found.damaged += lost;
    if (fresh)
        w->r->out->new_damage += lost;
    tg_warn("spool: damaged records skipped", TG_FS("folder", w->r->o->dir),
            TG_FI("segment", w->file->first_seq), TG_FI("offset", from),
            TG_FI("bytes", until > from ? until - from : 0), TG_FI("records", lost));
}

/* --- one segment --- */

static void take_item(struct walk *w, int what, const struct tg_scan_item *item)
{
    if (what == TG_SCAN_DAMAGED) {
        (void)tg_seg_note_damage(w->seg, item->offset); /* a reader that meets it must not count it again */
        if (!w->bad_from)
            w->bad_from = item->offset;
        w->bad_until = item->offset + item->used;
        w->bad_lost += item->lost;
        return;
    }
    if (w->bad_from)
        count_damage(w, w->bad_from, w->bad_until, w->bad_lost);
    w->bad_from = w->bad_until = w->bad_lost = 0;
    w->records++;
    w->last_end = item->offset + item->bytes;
    w->after = item->record.seq + 1;
    tg_seg_note_place(w->seg, item->record.seq, item->offset);
}

/* Decides on what stands behind the last intact record. */
static void take_tail(struct walk *w, bool last)
{
    bool missing = w->file->known && w->after < w->file->next_seq;
    w->keep_tail = w->file->known ? missing : w->bad_from && (!last || w->view.unreadable);
    if (w->keep_tail) {
        uint64_t from = w->bad_from ? w->bad_from : w->last_end;
        count_damage(w, from, w->bad_until, missing ? w->file->next_seq - w->after : w->bad_lost);
        if (missing)
            w->after = w->file->next_seq;
        /* Numbers that records in there may have are not given again. */
        note_seq(w->r, w->after + (w->scan.end - w->last_end) / TG_RECORD_HEADER);
    } else if (w->bad_from) {
        w->r->out->found.torn_bytes += w->bad_until - w->bad_from;
    }
}

static int walk_records(struct walk *w)
{
    struct tg_scan_item item;
    int what;
    while ((what = tg_scan_next(&w->scan, &item)) > 0)
        take_item(w, what, &item);
    return what;
}

/* Cuts what stands behind the last intact record: preallocated zeros, a torn tail, what was never
 * acknowledged. The last segment is synced: what is read here may so far stand in the page cache alone. If
 * that fails, it is found again. */
static void cut(struct walk *w, uint64_t size, bool last)
{
    struct tg_io *io = w->r->o->io;
    bool more = size > w->last_end && !w->keep_tail && !w->view.unreadable;
    if (more && io->ftruncate(io, w->view.fd, (off_t)w->last_end) != 0) {
        w->r->out->found.unsynced |= last;
        return;
    }
    if ((!more && !last) || io->fdatasync(io, w->view.fd) == 0)
        return;
    w->r->out->found.unsynced |= last;
    tg_warn("spool: cannot sync the last segment", TG_FS("folder", w->r->o->dir),
            TG_FS("error", strerror(errno)));
}

static int walk_segment(struct recovery *r, const struct file *f, bool last, struct tg_seg *seg,
                        uint64_t *records, struct tg_err *err)
{
    struct walk w = {.r = r, .file = f, .seg = seg, .last_end = TG_SEGMENT_HEADER, .after = f->first_seq};
    uint64_t size = 0;
    int fd = -1, rc = open_segment(r, f, &fd, &size, err);
    if (rc)
        return rc;
    uint64_t end = f->known && f->end < size ? f->end : size;
    tg_file_view_init(&w.view, r->o->io, fd, end);
    tg_scan_init(&w.scan, tg_file_view_of(&w.view), f->first_seq, end);
    rc = walk_records(&w);
    if (rc == TG_OK) {
        if (!f->header_good && w.records)
            count_damage(&w, 0, TG_SEGMENT_HEADER, 1);
        take_tail(&w, last);
        note_seq(r, w.scan.expected);
        cut(&w, size, last);
        r->keep |= w.view.unreadable > 0;
        seg->end = w.keep_tail ? end : w.last_end;
        seg->disk = seg->end;
        seg->next_seq = w.after;
        *records = w.records;
    } else {
        rc = tg_fail(err, rc, "%s/%016" PRIx64 ".seg: %s", r->o->dir, f->first_seq, tg_code_text(rc));
    }
    tg_file_view_fini(&w.view);
    (void)r->o->io->close(r->o->io, fd);
    return rc;
}

static void remove_file(struct recovery *r, const struct file *f)
{
    char path[TG_PATH_MAX];
    segment_path(r, f->first_seq, path);
    if (r->o->io->unlink(r->o->io, path) != 0)
        tg_warn("spool: cannot remove an empty segment", TG_FS("path", path),
                TG_FS("error", strerror(errno)));
    r->changed = true;
}

static int take_file(struct recovery *r, const struct file *f, bool last, struct tg_err *err)
{
    uint64_t records = 0;
    r->keep = false;
    struct tg_seg *seg = tg_seg_new(f->first_seq);
    if (!seg)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", r->o->dir);
    int rc = walk_segment(r, f, last, seg, &records, err);
    note_seq(r, seg->next_seq);
    struct tg_segment_prev prev = {seg->first_seq, seg->end, seg->next_seq};
    if (rc || !records) {
        tg_seg_free(seg);
        if (rc == TG_OK && r->keep)
            r->out->prev = prev; /* or the next segment would disown it */
        else if (rc == TG_OK && !r->keep)
            remove_file(r, f);
        return rc;
    }
    struct tg_log_found *found = &r->out->found;
    found->segments++;
    found->records += records;
    if (!found->first_seq)
        found->first_seq = seg->first_seq;
    found->last_seq = seg->next_seq - 1;
    r->out->prev = prev;
    tg_seglist_add(&r->out->segments, seg);
    return TG_OK;
}

static int take_files(struct recovery *r, struct tg_err *err)
{
    size_t last = r->n;
    while (last > 0 && r->files[last - 1].drop)
        last--;
    for (size_t i = 0; i < r->n; i++) {
        int rc = r->files[i].drop ? TG_OK : take_file(r, &r->files[i], i + 1 == last, err);
        if (rc)
            return rc;
        if (r->files[i].drop)
            remove_file(r, &r->files[i]);
    }
    if (r->changed && r->o->io->fsync_dir(r->o->io, r->o->dir) != 0)
        return tg_fail_errno(err, errno, "%s: cannot sync the folder", r->o->dir);
    return TG_OK;
}

int tg_recover(const struct tg_log_options *o, struct tg_recovered *out, struct tg_err *err)
{
    *out = (struct tg_recovered){.next_seq = o->least_next_seq ? o->least_next_seq : 1};
    struct recovery r = {.o = o, .out = out, .quarantine_budget = o->segment_bytes};
    int rc = find_files(&r, err);
    if (rc == TG_OK)
        rc = take_files(&r, err);
    tg_free(r.files);
    if (rc)
        tg_seglist_free(&out->segments);
    return rc;
}
