#include "spool/writer.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char spare_name[] = "spare.tmp", reserve_name[] = "reserve";

bool tg_spool_path(char out[TG_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, TG_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < TG_PATH_MAX;
}

int tg_writer_init(struct tg_writer *w, const struct tg_log_options *o, struct tg_err *err)
{
    if (strlen(o->dir) + 64 > TG_PATH_MAX)
        return tg_fail(err, TG_INVALID, "%s: the path is too long", o->dir);
    *w = (struct tg_writer){
        .io = o->io,
        .dir = tg_strdup(o->dir),
        .partition = o->partition,
        .epoch = o->epoch,
        .segment_bytes = o->segment_bytes,
        .reserve_bytes = o->reserve_bytes,
        .sync = o->sync,
        .fd = -1,
        .spare_fd = -1,
    };
    return w->dir ? TG_OK : tg_fail(err, TG_NOMEM, "%s: out of memory", o->dir);
}

/* Paths below fit: tg_writer_init has checked the folder's length. */
static void path_of(const struct tg_writer *w, const char *name, char out[TG_PATH_MAX])
{
    (void)snprintf(out, TG_PATH_MAX, "%s/%s", w->dir, name);
}

static void segment_path(const struct tg_writer *w, uint64_t first_seq, char out[TG_PATH_MAX])
{
    char name[TG_SEGMENT_NAME + 1];
    tg_segment_name(first_seq, name);
    path_of(w, name, out);
}

static void forget_open(struct tg_writer *w)
{
    (void)w->io->close(w->io, w->fd);
    w->fd = -1;
    w->at = w->size = 0;
    w->dirty = false;
}

/* Ends the open segment behind its last acknowledged record. Cutting is a courtesy (it gives space back, and
 * hides what was refused from a person who looks): the next segment's header says where this one ends. */
static void end_segment(struct tg_writer *w)
{
    char path[TG_PATH_MAX];
    segment_path(w, w->first_seq, path);
    if (w->next_seq == w->first_seq) {
        (void)w->io->unlink(w->io, path);
    } else {
        (void)w->io->ftruncate(w->io, w->fd, (off_t)w->at);
        w->prev = (struct tg_segment_prev){w->first_seq, w->at, w->next_seq};
    }
    forget_open(w);
}

void tg_writer_seal(struct tg_writer *w)
{
    if (w->fd < 0)
        return;
    struct tg_err err;
    if (w->dirty && tg_writer_sync(w, &err) != TG_OK) {
        tg_error("spool: sync of a finished segment failed", TG_FS("error", err.msg));
        return; /* it has been ended */
    }
    end_segment(w);
}

static void drop_spare(struct tg_writer *w)
{
    if (w->spare_fd < 0)
        return;
    char path[TG_PATH_MAX];
    path_of(w, spare_name, path);
    (void)w->io->close(w->io, w->spare_fd);
    (void)w->io->unlink(w->io, path);
    w->spare_fd = -1;
    w->spare_size = 0;
}

void tg_writer_fini(struct tg_writer *w)
{
    tg_writer_seal(w);
    drop_spare(w);
    tg_free(w->dir);
    w->dir = NULL;
}

/* A file of that name with that many bytes set aside for it on disk. A file system that cannot set aside will
 * do without. The first bytes are written: a disk that sets aside and takes no data would else look well, and
 * the log open and shut for ever. */
static int make_file(struct tg_writer *w, const char *name, uint64_t bytes, int *fd, struct tg_err *err)
{
    static const char zeros[TG_SEGMENT_HEADER];
    char path[TG_PATH_MAX];
    path_of(w, name, path);
    *fd = w->io->open(w->io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (*fd < 0)
        return tg_fail_errno(err, errno, "%s: cannot create", path);
    if (w->io->fallocate(w->io, *fd, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        goto failed;
    if (tg_io_write_all(w->io, *fd, zeros, sizeof zeros, 0) != 0)
        goto failed;
    if (w->io->fdatasync(w->io, *fd) != 0)
        goto failed;
    return TG_OK;

failed:;
    int saved = errno;
    (void)w->io->close(w->io, *fd);
    (void)w->io->unlink(w->io, path);
    *fd = -1;
    return tg_fail_errno(err, saved, "%s: cannot set aside %llu bytes", path, (unsigned long long)bytes);
}

int tg_writer_prepare(struct tg_writer *w, uint64_t bytes, struct tg_err *err)
{
    if (bytes < w->segment_bytes)
        bytes = w->segment_bytes;
    if (w->spare_fd >= 0 && w->spare_size >= bytes)
        return TG_OK;
    drop_spare(w);
    int rc = make_file(w, spare_name, bytes, &w->spare_fd, err);
    if (rc == TG_OK)
        w->spare_size = bytes;
    return rc;
}

/* The spare becomes the segment of first_seq. Header first, then the name: a file with a segment's name has a
 * header. */
static int begin_segment(struct tg_writer *w, uint64_t first_seq, struct tg_err *err)
{
    char from[TG_PATH_MAX], to[TG_PATH_MAX];
    unsigned char header[TG_SEGMENT_HEADER];
    struct tg_segment_header h = {TG_SEGMENT_VERSION, w->partition, w->epoch, first_seq, w->prev};
    path_of(w, spare_name, from);
    segment_path(w, first_seq, to);
    tg_segment_header_put(&h, header);
    if (tg_io_write_all(w->io, w->spare_fd, header, sizeof header, 0) != 0 ||
        w->io->fdatasync(w->io, w->spare_fd) != 0 || w->io->rename(w->io, from, to) != 0) {
        int saved = errno;
        drop_spare(w);
        return tg_fail_errno(err, saved, "%s: cannot begin", to);
    }
    w->fd = w->spare_fd;
    w->size = w->spare_size;
    w->at = TG_SEGMENT_HEADER;
    w->first_seq = w->next_seq = first_seq;
    w->spare_fd = -1;
    w->spare_size = 0;
    if (w->io->fsync_dir(w->io, w->dir) != 0) {
        int saved = errno;
        end_segment(w);
        return tg_fail_errno(err, saved, "%s: cannot sync the folder", w->dir);
    }
    return TG_OK;
}

static int make_room(struct tg_writer *w, size_t n, uint64_t first_seq, bool may_create, struct tg_err *err)
{
    if (w->fd >= 0 && n <= w->size - w->at)
        return TG_OK;
    tg_writer_seal(w);
    uint64_t need = TG_SEGMENT_HEADER + (uint64_t)n;
    if (w->spare_fd < 0 && !may_create)
        return tg_fail(err, TG_TOOBIG, "no room beneath the ceiling");
    int rc = tg_writer_prepare(w, need, err);
    return rc ? rc : begin_segment(w, first_seq, err);
}

int tg_writer_put(struct tg_writer *w, const void *records, size_t n, uint64_t first_seq, uint64_t next_seq,
                  bool may_create, struct tg_err *err)
{
    int rc = make_room(w, n, first_seq, may_create, err);
    if (rc)
        return rc;
    if (tg_io_write_all(w->io, w->fd, records, n, (off_t)w->at) != 0 ||
        (w->sync == TG_SYNC_GROUP && w->io->fdatasync(w->io, w->fd) != 0)) {
        rc = tg_fail_errno(err, errno, "%s/%016llx.seg: cannot write", w->dir,
                           (unsigned long long)w->first_seq);
        end_segment(w);
        return rc;
    }
    w->at += n;
    w->next_seq = next_seq;
    w->dirty = w->sync != TG_SYNC_GROUP;
    return TG_OK;
}

int tg_writer_sync(struct tg_writer *w, struct tg_err *err)
{
    if (w->fd < 0 || !w->dirty)
        return TG_OK;
    w->dirty = false;
    if (w->io->fdatasync(w->io, w->fd) == 0)
        return TG_OK;
    int rc =
        tg_fail_errno(err, errno, "%s/%016llx.seg: cannot sync", w->dir, (unsigned long long)w->first_seq);
    end_segment(w);
    return rc;
}

int tg_writer_reserve(struct tg_writer *w, struct tg_err *err)
{
    if (w->reserve || !w->reserve_bytes)
        return TG_OK;
    int fd, rc = make_file(w, reserve_name, w->reserve_bytes, &fd, err);
    if (rc)
        return rc;
    (void)w->io->close(w->io, fd);
    w->reserve = true;
    return TG_OK;
}

void tg_writer_free_reserve(struct tg_writer *w)
{
    char path[TG_PATH_MAX];
    path_of(w, reserve_name, path);
    if (w->reserve && w->io->unlink(w->io, path) != 0)
        tg_warn("spool: cannot free the reserve", TG_FS("path", path));
    w->reserve = false;
}
