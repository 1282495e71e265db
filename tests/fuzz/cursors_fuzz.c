/* The cursor file. Byte 0: bit 0 puts the checksums of both slots right first. The rest is the file. Whatever
 * opens is sane: no cursor has anything settled at or above its limit. */
#include "base/digest.h"
#include "base/log.h"
#include "spool/bytes.h"
#include "spool/cursors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A disk that has this one file. */
struct one_file {
    struct tg_io io;
    unsigned char *data;
    size_t size;
};

static int file_open(struct tg_io *io, const char *path, int flags, mode_t mode)
{
    (void)io, (void)path, (void)flags, (void)mode;
    return 5;
}

static int file_close(struct tg_io *io, int fd)
{
    (void)io, (void)fd;
    return 0;
}

static ssize_t file_pread(struct tg_io *io, int fd, void *buf, size_t n, off_t at)
{
    (void)fd;
    const struct one_file *f = (const struct one_file *)io;
    size_t left = (size_t)at < f->size ? f->size - (size_t)at : 0;
    n = n < left ? n : left;
    if (n)
        memcpy(buf, f->data + at, n);
    return (ssize_t)n;
}

static int file_unlink(struct tg_io *io, const char *path)
{
    (void)io, (void)path;
    return 0;
}

static int file_mkdir(struct tg_io *io, const char *path, mode_t mode)
{
    (void)io, (void)path, (void)mode;
    errno = EEXIST;
    return -1;
}

static int file_size(struct tg_io *io, int fd, uint64_t *bytes)
{
    (void)fd;
    *bytes = ((struct one_file *)io)->size;
    return 0;
}

static void mend(unsigned char *p, size_t size)
{
    if (size < 40)
        return;
    uint32_t len = tg_get32(p + 28);
    if (len >= 40 && len <= size)
        tg_put32(p + 8, tg_crc32c(0, p + 12, len - 12));
}

static void look(void *arg, struct tg_cursor *cursor)
{
    (void)arg;
    uint64_t low = tg_cursor_low(cursor);
    if (tg_cursor_settled(cursor, low) || tg_cursor_settled(cursor, tg_cursor_limit(cursor)) ||
        (low > 0 && !tg_cursor_settled(cursor, low - 1)) || !tg_cursor_name(cursor)[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_cursors *c;
    if (size < 1)
        return 0;
    tg_log_set_fd(-1);
    struct one_file f = {
        .io = {.open = file_open,
               .close = file_close,
               .pread = file_pread,
               .unlink = file_unlink,
               .mkdir = file_mkdir,
               .size = file_size},
        .data = malloc(size),
        .size = size - 1,
    };
    if (!f.data)
        abort();
    memcpy(f.data, data + 1, size - 1);
    if (data[0] & 1) {
        mend(f.data, f.size);
        mend(f.data + f.size / 2, f.size - f.size / 2);
    }
    if (tg_cursors_open(&f.io, "/p0", NULL, &c, NULL) == TG_OK) {
        tg_cursors_each(c, look, NULL);
        tg_cursors_close(&c);
    }
    free(f.data);
    return 0;
}
