/* A tg_io that is a disk in memory with power that can fail.
 *
 * Every file has the bytes that the program sees and the bytes that are durable; between the two stands a
 * list of changes (one for each sector written, each truncation) that fdatasync clears. Names work the same
 * way, one list for all, cleared by fsync_dir. When the power fails, every further change is refused;
 * mem_reboot then makes a disk on which any chosen subset of the changes of contents, and any prefix of the
 * changes of names (a journal keeps their order), have come through. */
#ifndef TG_TEST_MEM_IO_H
#define TG_TEST_MEM_IO_H

#include "spool/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A test with larger files says so before it includes this. */
#ifndef MEM_FILE_MAX
#define MEM_SECTOR   64
#define MEM_CHANGES  512
#define MEM_FILE_MAX ((size_t)40 << 10)
#endif

enum { MEM_FILES = 64, MEM_FDS = 32 };

struct mem_file {
    bool used;
    size_t size, durable_size;
    unsigned char *now, *durable; /* MEM_FILE_MAX each */
};

struct mem_change {
    int file;
    bool truncate; /* to `at`; else `n` bytes written at `at` */
    size_t at, n;
    unsigned char bytes[MEM_SECTOR];
};

struct mem_name {
    char path[96];
    int file; /* -1: no such name */
};

struct mem_rename {
    char from[96], to[96]; /* from "": creation of `file` as `to`; to "": removal of `from` */
    int file;
};

struct tg_io_mem {
    struct tg_io io; /* first */
    pthread_mutex_t lock;
    struct mem_file files[MEM_FILES];
    struct mem_name now[MEM_FILES], durable[MEM_FILES];
    struct mem_change changes[MEM_CHANGES];
    size_t n_changes;
    struct mem_rename renames[MEM_CHANGES];
    size_t n_renames;
    int fds[MEM_FDS]; /* file + 1; 0: free */
    long steps;       /* changes and syncs so far */
    long crash_at;    /* the step at which the power fails; 0: never */
};

static inline struct tg_io_mem *mem_of(struct tg_io *io)
{
    struct tg_io_mem *m = (struct tg_io_mem *)io;
    pthread_mutex_lock(&m->lock);
    return m;
}

static inline int mem_done(struct tg_io_mem *m, int rc, int error)
{
    pthread_mutex_unlock(&m->lock);
    if (rc < 0)
        errno = error;
    return rc;
}

/* Whether the power is still there for one more step. */
static inline bool mem_step(struct tg_io_mem *m)
{
    return ++m->steps < m->crash_at || m->crash_at == 0;
}

static inline struct mem_name *mem_name_in(struct mem_name *names, const char *path)
{
    for (int i = 0; i < MEM_FILES; i++)
        if (names[i].file >= 0 && strcmp(names[i].path, path) == 0)
            return &names[i];
    return NULL;
}

static inline void mem_apply_rename(struct mem_name *names, const struct mem_rename *r)
{
    struct mem_name *from = r->from[0] ? mem_name_in(names, r->from) : NULL;
    struct mem_name *to = r->to[0] ? mem_name_in(names, r->to) : NULL;
    int file = r->from[0] ? (from ? from->file : -1) : r->file;
    if (from)
        from->file = -1;
    if (!r->to[0] || file < 0)
        return;
    for (int i = 0; !to; i++) {
        assert(i < MEM_FILES);
        if (names[i].file < 0)
            to = &names[i];
    }
    (void)strcpy(to->path, r->to);
    to->file = file;
}

static inline void mem_rename_now(struct tg_io_mem *m, const char *from, const char *to, int file)
{
    assert(m->n_renames < MEM_CHANGES && strlen(from) < 96 && strlen(to) < 96);
    struct mem_rename *r = &m->renames[m->n_renames++];
    (void)strcpy(r->from, from);
    (void)strcpy(r->to, to);
    r->file = file;
    mem_apply_rename(m->now, r);
}

static inline int mem_new_file(struct tg_io_mem *m)
{
    for (int i = 0; i < MEM_FILES; i++) {
        struct mem_file *f = &m->files[i];
        if (f->used)
            continue;
        f->used = true;
        f->size = f->durable_size = 0;
        f->now = calloc(1, MEM_FILE_MAX);
        f->durable = calloc(1, MEM_FILE_MAX);
        assert(f->now && f->durable);
        return i;
    }
    abort();
}

static inline void mem_apply(unsigned char *data, size_t *size, const struct mem_change *c)
{
    size_t end = c->truncate ? c->at : c->at + c->n;
    if (c->truncate && c->at < *size)
        memset(data + c->at, 0, *size - c->at);
    if (c->truncate || end > *size)
        *size = end;
    if (!c->truncate)
        memcpy(data + c->at, c->bytes, c->n);
}

static inline void mem_change_now(struct tg_io_mem *m, const struct mem_change *c)
{
    assert(m->n_changes < MEM_CHANGES);
    m->changes[m->n_changes++] = *c;
    mem_apply(m->files[c->file].now, &m->files[c->file].size, c);
}

static inline int mem_open(struct tg_io *io, const char *path, int flags, mode_t mode)
{
    (void)mode;
    struct tg_io_mem *m = mem_of(io);
    struct mem_name *name = mem_name_in(m->now, path);
    if (name && (flags & O_EXCL))
        return mem_done(m, -1, EEXIST);
    if (!name && !(flags & O_CREAT))
        return mem_done(m, -1, ENOENT);
    if (!name || (flags & O_TRUNC)) {
        if (!mem_step(m))
            return mem_done(m, -1, EIO);
        if (!name)
            mem_rename_now(m, "", path, mem_new_file(m));
        else
            mem_change_now(m, &(struct mem_change){.file = name->file, .truncate = true});
        name = mem_name_in(m->now, path);
    }
    for (int fd = 0; fd < MEM_FDS; fd++)
        if (m->fds[fd] == 0) {
            m->fds[fd] = name->file + 1;
            return mem_done(m, fd, 0);
        }
    abort();
}

static inline int mem_close(struct tg_io *io, int fd)
{
    struct tg_io_mem *m = mem_of(io);
    m->fds[fd] = 0;
    return mem_done(m, 0, 0);
}

static inline ssize_t mem_pread(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    struct tg_io_mem *m = mem_of(io);
    struct mem_file *f = &m->files[m->fds[fd] - 1];
    size_t left = (size_t)at < f->size ? f->size - (size_t)at : 0;
    n = n < left ? n : left;
    memcpy(buf, f->now + at, n);
    return mem_done(m, (int)n, 0);
}

static inline ssize_t mem_pwrite(struct tg_io *io, int fd, const void *buf, size_t n, off_t at)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    assert((size_t)at + n <= MEM_FILE_MAX);
    for (size_t i = 0; i < n;) {
        struct mem_change c = {.file = m->fds[fd] - 1, .at = (size_t)at + i};
        c.n = MEM_SECTOR - c.at % MEM_SECTOR;
        c.n = c.n < n - i ? c.n : n - i;
        memcpy(c.bytes, (const char *)buf + i, c.n);
        mem_change_now(m, &c);
        i += c.n;
    }
    return mem_done(m, (int)n, 0);
}

static inline void mem_make_durable(struct tg_io_mem *m, int file)
{
    size_t kept = 0;
    memcpy(m->files[file].durable, m->files[file].now, m->files[file].size);
    m->files[file].durable_size = m->files[file].size;
    for (size_t i = 0; i < m->n_changes; i++)
        if (m->changes[i].file != file)
            m->changes[kept++] = m->changes[i];
    m->n_changes = kept;
}

static inline int mem_fdatasync(struct tg_io *io, int fd)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    mem_make_durable(m, m->fds[fd] - 1);
    return mem_done(m, 0, 0);
}

static inline int mem_fallocate(struct tg_io *io, int fd, off_t from, off_t len)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    assert((size_t)(from + len) <= MEM_FILE_MAX);
    struct mem_file *f = &m->files[m->fds[fd] - 1];
    if ((size_t)(from + len) > f->size)
        mem_change_now(
            m, &(struct mem_change){.file = m->fds[fd] - 1, .truncate = true, .at = (size_t)(from + len)});
    return mem_done(m, 0, 0);
}

static inline int mem_ftruncate(struct tg_io *io, int fd, off_t len)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    mem_change_now(m, &(struct mem_change){.file = m->fds[fd] - 1, .truncate = true, .at = (size_t)len});
    return mem_done(m, 0, 0);
}

static inline int mem_unlink(struct tg_io *io, const char *path)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_name_in(m->now, path))
        return mem_done(m, -1, ENOENT);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    mem_rename_now(m, path, "", -1);
    return mem_done(m, 0, 0);
}

static inline int mem_rename(struct tg_io *io, const char *from, const char *to)
{
    struct tg_io_mem *m = mem_of(io);
    if (!mem_name_in(m->now, from))
        return mem_done(m, -1, ENOENT);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    mem_rename_now(m, from, to, -1);
    return mem_done(m, 0, 0);
}

static inline int mem_mkdir(struct tg_io *io, const char *path, mode_t mode)
{
    (void)io, (void)path, (void)mode;
    errno = EEXIST; /* folders always are */
    return -1;
}

static inline int mem_fsync_dir(struct tg_io *io, const char *path)
{
    (void)path;
    struct tg_io_mem *m = mem_of(io);
    if (!mem_step(m))
        return mem_done(m, -1, EIO);
    memcpy(m->durable, m->now, sizeof m->now);
    m->n_renames = 0;
    return mem_done(m, 0, 0);
}

static inline int mem_free_bytes(struct tg_io *io, const char *path, uint64_t *bytes)
{
    (void)io, (void)path;
    *bytes = 1 << 30;
    return 0;
}

static inline int mem_size(struct tg_io *io, int fd, uint64_t *bytes)
{
    struct tg_io_mem *m = mem_of(io);
    *bytes = m->files[m->fds[fd] - 1].size;
    return mem_done(m, 0, 0);
}

static inline int mem_list(struct tg_io *io, const char *path, void (*each)(void *arg, const char *name),
                           void *arg)
{
    struct tg_io_mem *m = mem_of(io);
    size_t n = strlen(path);
    for (int i = 0; i < MEM_FILES; i++)
        if (m->now[i].file >= 0 && strncmp(m->now[i].path, path, n) == 0 && m->now[i].path[n] == '/' &&
            !strchr(m->now[i].path + n + 1, '/'))
            each(arg, m->now[i].path + n + 1);
    return mem_done(m, 0, 0);
}

static inline struct tg_io_mem *tg_io_mem_new(void)
{
    struct tg_io_mem *m = calloc(1, sizeof *m);
    assert(m);
    pthread_mutex_init(&m->lock, NULL);
    for (int i = 0; i < MEM_FILES; i++)
        m->now[i].file = m->durable[i].file = -1;
    m->io = (struct tg_io){
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwrite = mem_pwrite,
        .fdatasync = mem_fdatasync,
        .fallocate = mem_fallocate,
        .ftruncate = mem_ftruncate,
        .unlink = mem_unlink,
        .rename = mem_rename,
        .mkdir = mem_mkdir,
        .fsync_dir = mem_fsync_dir,
        .free_bytes = mem_free_bytes,
        .size = mem_size,
        .list = mem_list,
    };
    return m;
}

static inline void tg_io_mem_free(struct tg_io_mem *m)
{
    for (int i = 0; i < MEM_FILES; i++) {
        free(m->files[i].now);
        free(m->files[i].durable);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* The disk after the power came back: change i of contents came through if bit i % 64 of `mask` is set, of
 * the changes of names the first `renames`. */
static inline struct tg_io_mem *tg_io_mem_reboot(const struct tg_io_mem *old, uint64_t mask, size_t renames)
{
    struct tg_io_mem *m = tg_io_mem_new();
    for (int i = 0; i < MEM_FILES; i++) {
        if (!old->files[i].used)
            continue;
        struct mem_file *f = &m->files[i];
        f->used = true;
        f->now = calloc(1, MEM_FILE_MAX);
        f->durable = calloc(1, MEM_FILE_MAX);
        assert(f->now && f->durable);
        memcpy(f->now, old->files[i].durable, old->files[i].durable_size);
        f->size = old->files[i].durable_size;
    }
    for (size_t i = 0; i < old->n_changes; i++)
        if (mask >> i % 64 & 1)
            mem_apply(m->files[old->changes[i].file].now, &m->files[old->changes[i].file].size,
                      &old->changes[i]);
    memcpy(m->now, old->durable, sizeof m->now);
    for (size_t i = 0; i < renames; i++)
        mem_apply_rename(m->now, &old->renames[i]);
    memcpy(m->durable, m->now, sizeof m->now);
    for (int i = 0; i < MEM_FILES; i++)
        if (m->files[i].used) {
            memcpy(m->files[i].durable, m->files[i].now, m->files[i].size);
            m->files[i].durable_size = m->files[i].size;
        }
    return m;
}

#endif
