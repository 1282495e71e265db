#include "spool/cursors_file.h"

#include "base/digest.h"
#include "base/mem.h"
#include "spool/bytes.h"
#include "spool/cursor.h"
#include "spool/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 1,
    SLOT_HEADER = 40,
    ENTRY_HEADER = 24,
    PAGE = 4096,
    LEAST_SLOT = 4 * PAGE,
    MOST_SLOT = TG_CURSORS_BYTES_MAX,
};

static const unsigned char slot_magic[8] = {'T', 'G', 'C', 'U', 'R', '\r', '\n', 0xff};

/* --- a slot's bytes --- */

static int put_entry(struct tg_buf *b, const struct tg_cursor *c)
{
    size_t name = strlen(c->name), window = tg_cursor_window_bytes(c), all = ENTRY_HEADER + name + window;
    int rc = tg_buf_reserve(b, all);
    if (rc)
        return rc;
    unsigned char *p = (unsigned char *)b->data + b->len;
    tg_put32(p, (uint32_t)name);
    tg_put32(p + 4, (uint32_t)window);
    tg_put64(p + 8, c->low);
    tg_put64(p + 16, (uint64_t)c->removed_at);
    memcpy(p + ENTRY_HEADER, c->name, name);
    tg_cursor_put_window(c, p + ENTRY_HEADER + name, window);
    b->len += all;
    return TG_OK;
}

int tg_cursors_snapshot(struct tg_cursors *c)
{
    tg_buf_clear(&c->bytes);
    int rc = tg_buf_reserve(&c->bytes, SLOT_HEADER);
    if (rc)
        return rc;
    memset(c->bytes.data, 0, SLOT_HEADER);
    c->bytes.len = SLOT_HEADER;
    uint32_t n = 0;
    size_t need = SLOT_HEADER;
    for (struct tg_cursor *at = c->first; at; at = at->next, n++) {
        rc = put_entry(&c->bytes, at);
        if (rc)
            return rc;
        need += ENTRY_HEADER + strlen(at->name) + TG_CURSOR_WINDOW_BYTES;
    }
    for (struct tg_cursor *at = c->first; at; at = at->next) {
        at->snap_low = at->low;
        at->snapped = true;
    }
    c->need = (uint32_t)need;
    tg_put32((unsigned char *)c->bytes.data + 32, n);
    return TG_OK;
}

static void finish_slot(struct tg_buf *b, uint64_t generation, uint32_t slot_bytes)
{
    unsigned char *p = (unsigned char *)b->data;
    memcpy(p, slot_magic, sizeof slot_magic);
    tg_put32(p + 12, VERSION);
    tg_put64(p + 16, generation);
    tg_put32(p + 24, slot_bytes);
    tg_put32(p + 28, (uint32_t)b->len);
    tg_put32(p + 8, tg_crc32c(0, p + 12, b->len - 12));
}

/* --- writing --- */

static int failed(struct tg_cursors *c, const char *what)
{
    return tg_fail_errno(&c->err, errno, "%s/cursors: %s", c->dir, what);
}

/* Until the folder is synced a crash may bring the old file back, and no save counts. */
static int sync_name(struct tg_cursors *c)
{
    if (c->renamed && c->io->fsync_dir(c->io, c->dir) != 0)
        return failed(c, "cannot sync the folder");
    c->renamed = false;
    return TG_OK;
}

/* A new file of two slots with the state in its first takes the place of the old one. */
static int write_new_file(struct tg_cursors *c)
{
    char tmp[TG_PATH_MAX], path[TG_PATH_MAX];
    uint32_t slot = LEAST_SLOT;
    while (slot < 2 * c->need && slot < MOST_SLOT)
        slot *= 2;
    if (c->need > slot || !tg_spool_path(tmp, c->dir, "cursors.tmp") ||
        !tg_spool_path(path, c->dir, "cursors"))
        return tg_fail(&c->err, TG_TOOBIG, "%s/cursors: too many destinations or too long a path", c->dir);
    finish_slot(&c->bytes, c->generation + 1, slot);
    int fd = c->io->open(c->io, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return failed(c, "cannot create");
    bool set_aside =
        c->io->fallocate(c->io, fd, 0, 2 * (off_t)slot) == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
    if (!set_aside || c->io->ftruncate(c->io, fd, 2 * (off_t)slot) != 0 ||
        tg_io_write_all(c->io, fd, c->bytes.data, c->bytes.len, 0) != 0 || c->io->fdatasync(c->io, fd) != 0 ||
        c->io->rename(c->io, tmp, path) != 0) {
        int rc = failed(c, "cannot write");
        (void)c->io->close(c->io, fd);
        (void)c->io->unlink(c->io, tmp);
        return rc;
    }
    if (c->fd >= 0)
        (void)c->io->close(c->io, c->fd);
    c->fd = fd;
    c->slot_bytes = slot;
    c->good = 0;
    c->generation++;
    c->renamed = true;
    return sync_name(c);
}

int tg_cursors_write(struct tg_cursors *c)
{
    if (sync_name(c) != TG_OK)
        return c->err.code;
    if (c->fd < 0 || c->need > c->slot_bytes)
        return write_new_file(c);
    int slot = !c->good;
    finish_slot(&c->bytes, c->generation + 1, c->slot_bytes);
    if (tg_io_write_all(c->io, c->fd, c->bytes.data, c->bytes.len, (off_t)slot * c->slot_bytes) != 0 ||
        c->io->fdatasync(c->io, c->fd) != 0)
        return failed(c, "cannot write");
    c->good = slot;
    c->generation++;
    return TG_OK;
}

/* --- reading --- */

/* Whether a slot at p with n bytes of file behind it is whole. */
static bool slot_is_good(const unsigned char *p, size_t n)
{
    if (n < SLOT_HEADER || memcmp(p, slot_magic, sizeof slot_magic) != 0)
        return false;
    uint32_t len = tg_get32(p + 28);
    return len >= SLOT_HEADER && len <= n && tg_get32(p + 8) == tg_crc32c(0, p + 12, len - 12);
}

static int parse_entry(struct tg_cursors *c, const unsigned char **p, size_t *left)
{
    if (*left < ENTRY_HEADER)
        return TG_CORRUPT;
    size_t name = tg_get32(*p), window = tg_get32(*p + 4);
    const char *text = (const char *)*p + ENTRY_HEADER;
    if (name == 0 || name > TG_CURSOR_NAME_MAX || window > TG_CURSOR_WINDOW_BYTES ||
        *left - ENTRY_HEADER < name + window || memchr(text, 0, name) || tg_get64(*p + 8) > INT64_MAX)
        return TG_CORRUPT;
    struct tg_cursor *cursor = tg_cursor_new(c, tg_str_n(text, name), tg_get64(*p + 8));
    if (!cursor)
        return TG_NOMEM;
    cursor->removed_at = (int64_t)tg_get64(*p + 16);
    tg_cursor_get_window(cursor, *p + ENTRY_HEADER + name, window);
    *p += ENTRY_HEADER + name + window;
    *left -= ENTRY_HEADER + name + window;
    return TG_OK;
}

static int parse_slot(struct tg_cursors *c, const unsigned char *p, struct tg_err *err)
{
    uint32_t version = tg_get32(p + 12), n = tg_get32(p + 32);
    if (version > VERSION)
        return tg_fail(err, TG_BADVERSION,
                       "%s/cursors: written by a newer program (format %u, this one knows %d)", c->dir,
                       version, VERSION);
    size_t left = tg_get32(p + 28) - SLOT_HEADER;
    c->generation = tg_get64(p + 16);
    p += SLOT_HEADER;
    for (uint32_t i = 0; i < n; i++) {
        int rc = parse_entry(c, &p, &left);
        if (rc)
            return tg_fail(err, rc, "%s/cursors: entry %u: %s", c->dir, i, tg_code_text(rc));
    }
    return TG_OK;
}

/* Picks the newer of the slots that are whole. */
static int parse_file(struct tg_cursors *c, const unsigned char *data, size_t size, struct tg_err *err)
{
    bool first = slot_is_good(data, size);
    /* The second slot's place: as the first says; half of the file when the first is damaged. */
    size_t slot = first ? tg_get32(data + 24) : size / 2;
    bool second = slot >= SLOT_HEADER && slot < size && slot_is_good(data + slot, size - slot);
    if (!first && !second)
        return tg_fail(err, TG_CORRUPT,
                       "%s/cursors: both copies are damaged; move the file away to start every destination "
                       "at the oldest "
                       "stored event (events may then be delivered twice)",
                       c->dir);
    c->good = !first || (second && tg_get64(data + slot + 16) > tg_get64(data + 16));
    c->slot_bytes = (uint32_t)slot;
    return parse_slot(c, c->good ? data + slot : data, err);
}

static int read_file(struct tg_cursors *c, struct tg_err *err)
{
    uint64_t size;
    if (c->io->size(c->io, c->fd, &size) != 0)
        return tg_fail_errno(err, errno, "%s/cursors", c->dir);
    if (size > 2 * (uint64_t)MOST_SLOT)
        return tg_fail(err, TG_CORRUPT, "%s/cursors: %llu bytes long", c->dir, (unsigned long long)size);
    unsigned char *data = tg_malloc((size_t)size);
    if (!data)
        return tg_fail(err, TG_NOMEM, "%s/cursors: out of memory", c->dir);
    ssize_t got = tg_io_read_full(c->io, c->fd, data, (size_t)size, 0);
    int rc =
        got < 0 ? tg_fail_errno(err, errno, "%s/cursors", c->dir) : parse_file(c, data, (size_t)got, err);
    tg_free(data);
    return rc;
}

int tg_cursors_read(struct tg_cursors *c, struct tg_err *err)
{
    char path[TG_PATH_MAX];
    if (!tg_spool_path(path, c->dir, "cursors.tmp"))
        return tg_fail(err, TG_INVALID, "%s: the path is too long", c->dir);
    (void)c->io->unlink(c->io, path);
    path[strlen(path) - strlen(".tmp")] = '\0';
    c->fd = c->io->open(c->io, path, O_RDWR, 0);
    if (c->fd >= 0)
        return read_file(c, err);
    c->fresh = c->dirty = errno == ENOENT;
    return c->fresh ? TG_OK : tg_fail_errno(err, errno, "%s", path);
}
