#include "base/file.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { STEP = 65536 };

/* Reads on until the end, or until one byte more is there than may be. */
static int read_on(int fd, const char *path, struct tg_buf *buf, struct tg_err *err)
{
    while (buf->len <= TG_FILE_MAX) {
        size_t left = buf->max - buf->len, room = left < STEP ? left : STEP;
        int rc = tg_buf_reserve(buf, room);
        if (rc)
            return tg_fail(err, rc, "%s: out of memory", path);
        ssize_t n = read(fd, buf->data + buf->len, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tg_fail_errno(err, errno, "%s", path);
        if (n == 0)
            return TG_OK;
        buf->len += (size_t)n;
    }
    return tg_fail(err, TG_TOOBIG, "%s: larger than %d MiB", path, TG_FILE_MAX / 1048576);
}

int tg_file_read(const char *path, char **text, size_t *len, struct tg_err *err)
{
    *text = NULL;
    *len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tg_fail_errno(err, errno, "%s", path);
    struct tg_buf buf = TG_BUF_INIT(TG_FILE_MAX + 1);
    int rc = read_on(fd, path, &buf, err);
    (void)close(fd);
    if (!rc) {
        *text = tg_buf_take(&buf, len);
        if (!*text)
            rc = tg_fail(err, TG_NOMEM, "%s: out of memory", path);
    }
    tg_buf_fini(&buf);
    return rc;
}
