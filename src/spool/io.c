#include "spool/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int sys_open(struct tg_io *io, const char *path, int flags, mode_t mode)
{
    (void)io;
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int sys_close(struct tg_io *io, int fd)
{
    (void)io;
    return close(fd); /* never retried: on Linux the descriptor is gone even after EINTR */
}

static ssize_t sys_pread(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    (void)io;
    ssize_t got;
    do
        got = pread(fd, buf, n, at);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t sys_pwrite(struct tg_io *io, int fd, const void *buf, size_t n, off_t at)
{
    (void)io;
    ssize_t put;
    do
        put = pwrite(fd, buf, n, at);
    while (put < 0 && errno == EINTR);
    return put;
}

static int sys_fdatasync(struct tg_io *io, int fd)
{
    (void)io;
    return fdatasync(fd); /* an error here is final: the kernel may have dropped the pages */
}

static int sys_fallocate(struct tg_io *io, int fd, off_t from, off_t len)
{
    (void)io;
    int rc;
    do
        rc = fallocate(fd, 0, from, len);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int sys_ftruncate(struct tg_io *io, int fd, off_t len)
{
    (void)io;
    int rc;
    do
        rc = ftruncate(fd, len);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int sys_unlink(struct tg_io *io, const char *path)
{
    (void)io;
    return unlink(path);
}

static int sys_rename(struct tg_io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to);
}

static int sys_mkdir(struct tg_io *io, const char *path, mode_t mode)
{
    (void)io;
    return mkdir(path, mode);
}

static int sys_fsync_dir(struct tg_io *io, const char *path)
{
    int fd = sys_open(io, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return rc;
}

static int sys_free_bytes(struct tg_io *io, const char *path, uint64_t *bytes)
{
    (void)io;
    struct statvfs v;
    if (statvfs(path, &v) != 0)
        return -1;
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return 0;
}

static int sys_size(struct tg_io *io, int fd, uint64_t *bytes)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

static void sys_will_need(struct tg_io *io, int fd, off_t from, off_t len)
{
    (void)io;
    (void)posix_fadvise(fd, from, len, POSIX_FADV_WILLNEED);
}

static int sys_list(struct tg_io *io, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    (void)io;
    DIR *d = opendir(path);
    if (!d)
        return -1;
    struct dirent *e;
    while (errno = 0, (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            each(arg, e->d_name);
    int saved = errno;
    (void)closedir(d);
    errno = saved;
    return saved ? -1 : 0;
}

struct tg_io *tg_io_system(void)
{
    static struct tg_io io = {
        .open = sys_open,
        .close = sys_close,
        .pread = sys_pread,
        .pwrite = sys_pwrite,
        .fdatasync = sys_fdatasync,
        .fallocate = sys_fallocate,
        .ftruncate = sys_ftruncate,
        .unlink = sys_unlink,
        .rename = sys_rename,
        .mkdir = sys_mkdir,
        .fsync_dir = sys_fsync_dir,
        .free_bytes = sys_free_bytes,
        .size = sys_size,
        .will_need = sys_will_need,
        .list = sys_list,
    };
    return &io;
}

int tg_io_write_all(struct tg_io *io, int fd, const void *buf, size_t n, off_t at)
{
    const char *p = buf;
    while (n) {
        ssize_t put = io->pwrite(io, fd, p, n, at);
        if (put < 0)
            return -1;
        if (put == 0) {
            errno = EIO; /* nothing taken and no reason given: going on could take for ever */
            return -1;
        }
        p += put, n -= (size_t)put, at += put;
    }
    return 0;
}

ssize_t tg_io_read_full(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    size_t got = 0;
    while (got < n) {
        ssize_t now = io->pread(io, fd, (char *)buf + got, n - got, at + (off_t)got);
        if (now < 0)
            return -1;
        if (now == 0)
            break;
        got += (size_t)now;
    }
    return (ssize_t)got;
}
