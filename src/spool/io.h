/* The seam between the spool and the file system. All of the spool's reads, writes and syncs go through one
 * of these, so that tests can shorten writes, fail them, drop what was not synced, and tear sectors. Errors
 * are as in the system calls: -1 and errno. Called on the loop's thread or on the helper thread, as each
 * caller says. */
#ifndef TG_SPOOL_IO_H
#define TG_SPOOL_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tg_io {
    int (*open)(struct tg_io *io, const char *path, int flags, mode_t mode);
    int (*close)(struct tg_io *io, int fd);
    ssize_t (*pread)(struct tg_io *io, int fd, void *buf, size_t n, off_t at);
    ssize_t (*pwrite)(struct tg_io *io, int fd, const void *buf, size_t n, off_t at);
    int (*fdatasync)(struct tg_io *io, int fd);
    int (*fallocate)(struct tg_io *io, int fd, off_t from, off_t len); /* EOPNOTSUPP is fine */
    int (*ftruncate)(struct tg_io *io, int fd, off_t len);
    int (*unlink)(struct tg_io *io, const char *path);
    int (*rename)(struct tg_io *io, const char *from, const char *to);
    int (*mkdir)(struct tg_io *io, const char *path,
                 mode_t mode); /* EEXIST is for the caller to take as fine */
    int (*fsync_dir)(struct tg_io *io, const char *path);
    int (*free_bytes)(struct tg_io *io, const char *path, uint64_t *bytes);
    int (*size)(struct tg_io *io, int fd, uint64_t *bytes);
    /* Asks for bytes to be fetched ahead, without waiting for them. May be NULL. */
    void (*will_need)(struct tg_io *io, int fd, off_t from, off_t len);
    /* Calls each name in a folder but "." and "..", in no order. */
    int (*list)(struct tg_io *io, const char *path, void (*each)(void *arg, const char *name), void *arg);
};

/* The real system calls, EINTR retried. Never freed. */
struct tg_io *tg_io_system(void);

/* Writes all n bytes, short writes continued. 0, or -1 and errno. */
int tg_io_write_all(struct tg_io *io, int fd, const void *buf, size_t n, off_t at);
/* Reads until n bytes or the end of the file. The count, or -1 and errno. */
ssize_t tg_io_read_full(struct tg_io *io, int fd, void *buf, size_t n, off_t at);

#endif
