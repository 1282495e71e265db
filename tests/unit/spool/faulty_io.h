/* A tg_io over the real system calls that fails where a test says: the n-th call of a kind, once or from then
 * on, with an errno; or writes of at most so many bytes; or a disk with so many bytes left. Counts calls, so
 * that a test can walk through every one of them. Thread-safe. */
#ifndef TG_TEST_FAULTY_IO_H
#define TG_TEST_FAULTY_IO_H

#include "spool/io.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum faulty_call {
    FAULTY_OPEN,
    FAULTY_PREAD,
    FAULTY_PWRITE,
    FAULTY_SYNC,
    FAULTY_ALLOC,
    FAULTY_TRUNCATE,
    FAULTY_UNLINK,
    FAULTY_RENAME,
    FAULTY_MKDIR,
    FAULTY_SYNC_DIR,
    FAULTY_CALLS
};

struct tg_io_faulty {
    struct tg_io io; /* first: a pointer to this is one to the whole */
    pthread_mutex_t lock;
    long calls[FAULTY_CALLS];
    struct {
        long nth; /* 0: never; counted from when it was set */
        bool on;  /* from then on, not once */
        int error;
    } fault[FAULTY_CALLS];
    size_t most; /* bytes a write takes at once; 0: all */
    bool full;   /* the disk: nothing can be set aside (fallocate: ENOSPC) */
};

static inline bool faulty_hit(struct tg_io *io, enum faulty_call call)
{
    struct tg_io_faulty *f = (struct tg_io_faulty *)io;
    bool hit = false;
    pthread_mutex_lock(&f->lock);
    f->calls[call]++;
    if (f->fault[call].nth > 1)
        f->fault[call].nth--;
    else if (f->fault[call].nth == 1)
        hit = true;
    if (hit && !f->fault[call].on)
        f->fault[call].nth = 0;
    int error = f->fault[call].error;
    if (f->full && call == FAULTY_ALLOC)
        hit = true, error = ENOSPC;
    pthread_mutex_unlock(&f->lock);
    if (hit)
        errno = error;
    return hit;
}

static inline int faulty_open(struct tg_io *io, const char *path, int flags, mode_t mode)
{
    return faulty_hit(io, FAULTY_OPEN) ? -1 : tg_io_system()->open(tg_io_system(), path, flags, mode);
}

static inline int faulty_close(struct tg_io *io, int fd)
{
    (void)io;
    return tg_io_system()->close(tg_io_system(), fd);
}

static inline ssize_t faulty_pread(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    return faulty_hit(io, FAULTY_PREAD) ? -1 : tg_io_system()->pread(tg_io_system(), fd, buf, n, at);
}

static inline ssize_t faulty_pwrite(struct tg_io *io, int fd, const void *buf, size_t n, off_t at)
{
    size_t most = ((struct tg_io_faulty *)io)->most;
    if (most && n > most)
        n = most;
    return faulty_hit(io, FAULTY_PWRITE) ? -1 : tg_io_system()->pwrite(tg_io_system(), fd, buf, n, at);
}

static inline int faulty_fdatasync(struct tg_io *io, int fd)
{
    return faulty_hit(io, FAULTY_SYNC) ? -1 : tg_io_system()->fdatasync(tg_io_system(), fd);
}

static inline int faulty_fallocate(struct tg_io *io, int fd, off_t from, off_t len)
{
    return faulty_hit(io, FAULTY_ALLOC) ? -1 : tg_io_system()->fallocate(tg_io_system(), fd, from, len);
}

static inline int faulty_ftruncate(struct tg_io *io, int fd, off_t len)
{
    return faulty_hit(io, FAULTY_TRUNCATE) ? -1 : tg_io_system()->ftruncate(tg_io_system(), fd, len);
}

static inline int faulty_unlink(struct tg_io *io, const char *path)
{
    return faulty_hit(io, FAULTY_UNLINK) ? -1 : tg_io_system()->unlink(tg_io_system(), path);
}

static inline int faulty_rename(struct tg_io *io, const char *from, const char *to)
{
    return faulty_hit(io, FAULTY_RENAME) ? -1 : tg_io_system()->rename(tg_io_system(), from, to);
}

static inline int faulty_mkdir(struct tg_io *io, const char *path, mode_t mode)
{
    return faulty_hit(io, FAULTY_MKDIR) ? -1 : tg_io_system()->mkdir(tg_io_system(), path, mode);
}

static inline int faulty_fsync_dir(struct tg_io *io, const char *path)
{
    return faulty_hit(io, FAULTY_SYNC_DIR) ? -1 : tg_io_system()->fsync_dir(tg_io_system(), path);
}

static inline int faulty_free_bytes(struct tg_io *io, const char *path, uint64_t *bytes)
{
    (void)io;
    return tg_io_system()->free_bytes(tg_io_system(), path, bytes);
}

static inline int faulty_size(struct tg_io *io, int fd, uint64_t *bytes)
{
    (void)io;
    return tg_io_system()->size(tg_io_system(), fd, bytes);
}

static inline int faulty_list(struct tg_io *io, const char *path, void (*each)(void *arg, const char *name),
                              void *arg)
{
    (void)io;
    return tg_io_system()->list(tg_io_system(), path, each, arg);
}

static inline struct tg_io *tg_io_faulty_init(struct tg_io_faulty *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    f->io = (struct tg_io){
        .open = faulty_open,
        .close = faulty_close,
        .pread = faulty_pread,
        .pwrite = faulty_pwrite,
        .fdatasync = faulty_fdatasync,
        .fallocate = faulty_fallocate,
        .ftruncate = faulty_ftruncate,
        .unlink = faulty_unlink,
        .rename = faulty_rename,
        .mkdir = faulty_mkdir,
        .fsync_dir = faulty_fsync_dir,
        .free_bytes = faulty_free_bytes,
        .size = faulty_size,
        .list = faulty_list,
    };
    return &f->io;
}

/* The n-th call of that kind from now fails (with `on`: and all after it); n 0: none. */
static inline void tg_io_faulty_set(struct tg_io_faulty *f, enum faulty_call call, long n, bool on, int error)
{
    pthread_mutex_lock(&f->lock);
    f->fault[call].nth = n;
    f->fault[call].on = on;
    f->fault[call].error = error;
    pthread_mutex_unlock(&f->lock);
}

static inline void tg_io_faulty_full(struct tg_io_faulty *f, bool full)
{
    pthread_mutex_lock(&f->lock);
    f->full = full;
    pthread_mutex_unlock(&f->lock);
}

static inline long tg_io_faulty_calls(struct tg_io_faulty *f, enum faulty_call call)
{
    pthread_mutex_lock(&f->lock);
    long n = f->calls[call];
    pthread_mutex_unlock(&f->lock);
    return n;
}

#endif
