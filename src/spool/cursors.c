/* One file, two slots. A save writes the slot that does not hold the last good state and syncs it; a crash or
 * an error in between leaves the other one. A slot has room for every cursor with a full window, so that no
 * save needs more space than the file has, whatever the disk looks like; only a new destination can make it
 * grow (a new file, renamed into place).
 *
 * A save that fails leaves the good slot good: the next one writes the same bad slot again, all of it. */
#include "spool/cursors.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"
#include "spool/bytes.h"
#include "spool/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 1,
    SLOT_HEADER = 40,
    ENTRY_HEADER = 24,
    NAME_MAX_LEN = 255,
    WINDOW_BYTES = TG_CURSOR_WINDOW / 8,
    PAGE = 4096,
    LEAST_SLOT = 4 * PAGE,
    MOST_SLOT = 256 << 20,
};

static const unsigned char slot_magic[8] = {'T', 'G', 'C', 'U', 'R', '\r', '\n', 0xff};

struct tg_cursor {
    struct tg_cursor *next;
    struct tg_cursors *owner;
    uint64_t low;
    uint64_t above;     /* one above the highest settled; at least low */
    uint64_t saved_low; /* low as on disk; as given while it was never saved */
    uint64_t snap_low;  /* low as in the save under way */
    bool snapped;       /* it is part of that */
    int64_t removed_at;
    unsigned char window[WINDOW_BYTES]; /* bit seq % TG_CURSOR_WINDOW: settled, for low < seq < low +
                                           TG_CURSOR_WINDOW */
    char name[];
};

struct waiter {
    struct waiter *next;
    void (*done)(void *arg, int status);
    void *arg;
};

struct tg_cursors {
    struct tg_job job;
    struct tg_io *io;
    struct tg_helper *helper;
    char *dir;
    struct tg_cursor *first, **last;
    bool fresh;
    bool dirty;                 /* changed since the last snapshot that was or is being saved */
    bool running;               /* a save is under way */
    struct waiter *now, *later; /* of the save under way; of the next */

    /* The helper's while a save is under way. */
    int fd; /* -1: there is no file yet */
    uint64_t generation;
    uint32_t slot_bytes;
    bool renamed; /* a new file has its name, and the folder is not synced yet */
    int good;     /* the slot with the last good state, 0 or 1 */
    struct tg_buf bytes;
    uint32_t need; /* bytes that a slot must have */
    struct tg_err err;
    int status;
};

/* --- one cursor --- */

static bool bit(const struct tg_cursor *c, uint64_t seq)
{
    return c->window[seq % TG_CURSOR_WINDOW / 8] >> seq % 8 & 1;
}

static void clear_bit(struct tg_cursor *c, uint64_t seq)
{
    c->window[seq % TG_CURSOR_WINDOW / 8] &= (unsigned char)~(1U << seq % 8);
}

static void advance(struct tg_cursor *c)
{
    while (bit(c, c->low))
        clear_bit(c, c->low++);
    if (c->above < c->low)
        c->above = c->low;
}

const char *tg_cursor_name(const struct tg_cursor *c)
{
    return c->name;
}

uint64_t tg_cursor_low(const struct tg_cursor *c)
{
    return c->low;
}

uint64_t tg_cursor_limit(const struct tg_cursor *c)
{
    return c->low + TG_CURSOR_WINDOW;
}

bool tg_cursor_settled(const struct tg_cursor *c, uint64_t seq)
{
    return seq < c->low || (seq < tg_cursor_limit(c) && bit(c, seq));
}

/* --- the set --- */

struct tg_cursor *tg_cursors_find(struct tg_cursors *c, const char *destination)
{
    struct tg_cursor *at = c->first;
    while (at && strcmp(at->name, destination) != 0)
        at = at->next;
    return at;
}

static struct tg_cursor *new_cursor(struct tg_cursors *c, struct tg_str name, uint64_t low)
{
    struct tg_cursor *cursor = tg_calloc(1, sizeof *cursor + name.n + 1);
    if (!cursor)
        return NULL;
    memcpy(cursor->name, name.p, name.n);
    cursor->owner = c;
    cursor->low = cursor->above = cursor->saved_low = low;
    *c->last = cursor;
    c->last = &cursor->next;
    return cursor;
}

int tg_cursors_add(struct tg_cursors *c, const char *destination, uint64_t low, struct tg_cursor **out,
                   struct tg_err *err)
{
    struct tg_str name = tg_str_of(destination);
    if (!name.n || name.n > NAME_MAX_LEN)
        return tg_fail(err, TG_INVALID, "destination name of %zu bytes: 1 to %d are possible", name.n,
                       NAME_MAX_LEN);
    if (tg_cursors_find(c, destination))
        return tg_fail(err, TG_EXISTS, "destination %s has a cursor already", destination);
    *out = new_cursor(c, name, low);
    if (!*out)
        return tg_fail(err, TG_NOMEM, "out of memory for the cursor of %s", destination);
    c->dirty = true;
    return TG_OK;
}

void tg_cursors_remove(struct tg_cursors *c, struct tg_cursor *cursor)
{
    struct tg_cursor **at = &c->first;
    while (*at != cursor)
        at = &(*at)->next;
    *at = cursor->next;
    if (c->last == &cursor->next)
        c->last = at;
    tg_free(cursor);
    c->dirty = true;
}

void tg_cursors_each(struct tg_cursors *c, void (*each)(void *arg, struct tg_cursor *cursor), void *arg)
{
    for (struct tg_cursor *at = c->first, *next; at; at = next) {
        next = at->next;
        each(arg, at);
    }
}

const char *tg_cursors_error(const struct tg_cursors *c)
{
    return c->err.msg;
}

uint64_t tg_cursors_saved_low(const struct tg_cursors *c)
{
    uint64_t least = UINT64_MAX;
    for (const struct tg_cursor *at = c->first; at; at = at->next)
        if (at->saved_low < least)
            least = at->saved_low;
    return least;
}

uint64_t tg_cursors_highest(const struct tg_cursors *c)
{
    uint64_t most = 0;
    for (const struct tg_cursor *at = c->first; at; at = at->next)
        if (at->above > most)
            most = at->above;
    return most;
}

bool tg_cursors_fresh(const struct tg_cursors *c)
{
    return c->fresh;
}

/* --- a slot's bytes --- */

/* Bytes of the window up to the last bit that is set, counted from low. */
static size_t window_bytes(const struct tg_cursor *c)
{
    return (size_t)(c->above - c->low + 7) / 8;
}

static void put_window(const struct tg_cursor *c, unsigned char *out, size_t n)
{
    memset(out, 0, n);
    for (uint64_t seq = c->low; seq < c->above; seq++)
        if (bit(c, seq))
            out[(seq - c->low) / 8] |= (unsigned char)(1U << (seq - c->low) % 8);
}

static void get_window(struct tg_cursor *c, const unsigned char *in, size_t n)
{
    for (size_t i = 0; i < n * 8; i++)
        if (in[i / 8] >> i % 8 & 1) {
            uint64_t seq = c->low + i;
            c->window[seq % TG_CURSOR_WINDOW / 8] |= (unsigned char)(1U << seq % 8);
            c->above = seq + 1;
        }
    advance(c);
}

static int put_entry(struct tg_buf *b, const struct tg_cursor *c)
{
    size_t name = strlen(c->name), window = window_bytes(c), all = ENTRY_HEADER + name + window;
    int rc = tg_buf_reserve(b, all);
    if (rc)
        return rc;
    unsigned char *p = (unsigned char *)b->data + b->len;
    tg_put32(p, (uint32_t)name);
    tg_put32(p + 4, (uint32_t)window);
    tg_put64(p + 8, c->low);
    tg_put64(p + 16, (uint64_t)c->removed_at);
    memcpy(p + ENTRY_HEADER, c->name, name);
    put_window(c, p + ENTRY_HEADER + name, window);
    b->len += all;
    return TG_OK;
}

/* The present state into c->bytes, but for what the file decides (generation, slot size, checksum). */
static int snapshot(struct tg_cursors *c)
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
        need += ENTRY_HEADER + strlen(at->name) + WINDOW_BYTES;
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

/* --- saving: helper thread --- */

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

static int write_slot(struct tg_cursors *c)
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

static void save_run(struct tg_job *job)
{
    struct tg_cursors *c = (struct tg_cursors *)job;
    c->status = write_slot(c);
}

/* --- saving: loop --- */

static void tell(struct waiter *w, int status)
{
    while (w) {
        struct waiter *next = w->next;
        w->done(w->arg, status);
        tg_free(w);
        w = next;
    }
}

static void saved(struct tg_cursors *c)
{
    if (c->status)
        c->dirty = true;
    for (struct tg_cursor *at = c->first; at; at = at->next) {
        if (at->snapped && c->status == TG_OK)
            at->saved_low = at->snap_low;
        at->snapped = false;
    }
}

static void start_save(struct tg_cursors *c);

static void save_done(struct tg_job *job)
{
    struct tg_cursors *c = (struct tg_cursors *)job;
    struct waiter *told = c->now;
    int status = c->status;
    c->running = false;
    c->now = NULL;
    saved(c);
    if (c->later)
        start_save(c);
    tell(told, status);
}

static void start_save(struct tg_cursors *c)
{
    struct waiter *w = c->later;
    c->later = NULL;
    if (snapshot(c) != TG_OK) {
        tell(w, TG_NOMEM);
        return;
    }
    c->now = w;
    c->dirty = false;
    c->running = true;
    c->job.run = save_run;
    c->job.done = save_done;
    tg_helper_give(c->helper, &c->job);
}

static void no_answer(void *arg, int status)
{
    (void)arg, (void)status;
}

void tg_cursors_save(struct tg_cursors *c, void (*done)(void *arg, int status), void *arg)
{
    if (!done)
        done = no_answer;
    if (!c->dirty && !c->running) {
        done(arg, TG_OK);
        return;
    }
    struct waiter *w = tg_malloc(sizeof *w), **list = c->dirty ? &c->later : &c->now;
    if (!w) {
        done(arg, TG_NOMEM);
        return;
    }
    *w = (struct waiter){*list, done, arg};
    *list = w;
    if (!c->running)
        start_save(c);
}

int tg_cursors_save_now(struct tg_cursors *c, struct tg_err *err)
{
    while (c->running)
        tg_helper_drain(c->helper);
    if (!c->dirty)
        return TG_OK;
    if (snapshot(c) != TG_OK)
        return tg_fail(err, TG_NOMEM, "%s/cursors: out of memory", c->dir);
    c->dirty = false;
    c->status = write_slot(c);
    saved(c);
    return c->status ? tg_fail(err, c->status, "%s", c->err.msg) : TG_OK;
}

/* --- changing one --- */

uint64_t tg_cursor_settled_above(const struct tg_cursor *cursor)
{
    uint64_t n = 0;
    for (size_t i = 0; i < WINDOW_BYTES; i++)
        n += (uint64_t)__builtin_popcount(cursor->window[i]);
    return n;
}

void tg_cursor_settle(struct tg_cursor *cursor, uint64_t seq)
{
    if (tg_cursor_settled(cursor, seq))
        return;
    assert(seq < tg_cursor_limit(cursor));
    cursor->window[seq % TG_CURSOR_WINDOW / 8] |= (unsigned char)(1U << seq % 8);
    if (cursor->above <= seq)
        cursor->above = seq + 1;
    advance(cursor);
    cursor->owner->dirty = true;
}

void tg_cursor_settle_below(struct tg_cursor *cursor, uint64_t upto)
{
    if (upto <= cursor->low)
        return;
    uint64_t end = upto < tg_cursor_limit(cursor) ? upto : tg_cursor_limit(cursor);
    for (uint64_t seq = cursor->low; seq < end; seq++)
        clear_bit(cursor, seq);
    cursor->low = upto;
    advance(cursor);
    cursor->owner->dirty = true;
}

void tg_cursor_set_removed_at(struct tg_cursor *cursor, int64_t ms)
{
    if (cursor->removed_at != ms)
        cursor->owner->dirty = true;
    cursor->removed_at = ms;
}

int64_t tg_cursor_removed_at(const struct tg_cursor *cursor)
{
    return cursor->removed_at;
}

/* --- opening --- */

static void forget_cursors(struct tg_cursors *c)
{
    struct tg_cursor *next;
    for (struct tg_cursor *at = c->first; at; at = next) {
        next = at->next;
        tg_free(at);
    }
    c->first = NULL;
    c->last = &c->first;
}

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
    if (name == 0 || name > NAME_MAX_LEN || window > WINDOW_BYTES || *left - ENTRY_HEADER < name + window ||
        memchr(text, 0, name) || tg_get64(*p + 8) > INT64_MAX)
        return TG_CORRUPT;
    struct tg_cursor *cursor = new_cursor(c, tg_str_n(text, name), tg_get64(*p + 8));
    if (!cursor)
        return TG_NOMEM;
    cursor->removed_at = (int64_t)tg_get64(*p + 16);
    get_window(cursor, *p + ENTRY_HEADER + name, window);
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

static int open_file(struct tg_cursors *c, struct tg_err *err)
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

int tg_cursors_open(struct tg_io *io, const char *dir, struct tg_helper *helper, struct tg_cursors **out,
                    struct tg_err *err)
{
    struct tg_cursors *c = tg_calloc(1, sizeof *c);
    if (!c || !(c->dir = tg_strdup(dir))) {
        tg_free(c);
        return tg_fail(err, TG_NOMEM, "%s: out of memory", dir);
    }
    c->io = io;
    c->helper = helper;
    c->fd = -1;
    c->last = &c->first;
    tg_buf_init(&c->bytes, MOST_SLOT);
    if (io->mkdir(io, dir, 0700) != 0 && errno != EEXIST) {
        int rc = tg_fail_errno(err, errno, "%s: cannot make the folder", dir);
        tg_cursors_close(&c);
        return rc;
    }
    int rc = open_file(c, err);
    if (rc)
        tg_cursors_close(&c);
    else
        *out = c;
    return rc;
}

void tg_cursors_close(struct tg_cursors **cursors)
{
    struct tg_cursors *c = *cursors;
    if (!c)
        return;
    *cursors = NULL;
    while (c->running)
        tg_helper_drain(c->helper);
    if (c->fd >= 0)
        (void)c->io->close(c->io, c->fd);
    forget_cursors(c);
    tg_buf_fini(&c->bytes);
    tg_free(c->dir);
    tg_free(c);
}
