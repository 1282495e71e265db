/* The file is a row of blocks as tg_dedup_export makes them, each with its own checksum and key. Reading goes
 * from block to block; where something else stands, it looks for the next block's first bytes and counts one
 * damage. So a torn end, a bad sector or a file of another key costs its entries and nothing more, and a
 * save that broke off needs no repair: the next one begins behind it.
 *
 * Saving appends what came since the last save. When the file is more than twice the size of what is alive
 * (and not small), the whole set goes to a second file, which then takes the name: a crash leaves one or the
 * other.
 *
 * How far the file has got stands in a page that is shared with the child that saves: a child that was
 * killed leaves it as it was, and its successor writes the same entries again, which does no harm. */
#include "daemon/dedup_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BLOCK_ENTRIES = 4096, /* so many are copied under the set's lock at a time */
    WINDOW = 256 * 1024,  /* of the file in memory while reading; a block fits into half of it */
    SMALL_FILE = 1024 * 1024,
    ENTRY_BYTES = 20,
    MAGIC_BYTES = 4,
    COUNT_AT = 56,
    FRAME_BYTES = 64,
    METRICS_EVERY_MS = 1000,
};

static const char magic[MAGIC_BYTES] = {'T', 'G', 'D', 'D'};

/* What a save leaves for the next one. */
struct progress {
    uint64_t from;  /* number of the first entry that is not in the file */
    uint64_t bytes; /* of the file */
};

struct tg_dedup_store {
    struct tg_dedup *set;
    struct tg_io *io;
    char path[4096], temporary[4096 + 8], dir[4096];
    struct progress *progress; /* shared */
    int child;                 /* 0: none */
    bool failing;              /* has been said */
    int64_t every_ms, due, metrics_due;
    uint64_t evictions; /* counted so far */
    int64_t until;      /* ms UTC: of what was read; 0: not known */
    tg_cell *entries, *covered, *evicted, *saves, *failures, *damaged;
};

/* --- reading --- */

struct reader {
    struct tg_dedup_store *store;
    int fd;
    off_t at; /* in the file, of what is read next */
    struct tg_buf window;
    uint64_t damaged; /* places */
    bool in_damage;
    bool ended;
};

static int fill(struct reader *r)
{
    int rc = tg_buf_reserve(&r->window, WINDOW - r->window.len);
    if (rc || r->ended)
        return rc;
    ssize_t n =
        tg_io_read_full(r->store->io, r->fd, r->window.data + r->window.len, WINDOW - r->window.len, r->at);
    if (n < 0)
        return TG_IO;
    r->at += n;
    r->window.len += (size_t)n;
    r->ended = r->window.len < WINDOW;
    return TG_OK;
}

/* Size of the block at the window's start; 0 when none begins there or its end is not there. */
static size_t block_size(const struct reader *r)
{
    const unsigned char *p = (const unsigned char *)r->window.data;
    if (r->window.len < FRAME_BYTES || memcmp(p, magic, MAGIC_BYTES) != 0)
        return 0;
    uint32_t n = (uint32_t)p[COUNT_AT] | (uint32_t)p[COUNT_AT + 1] << 8 | (uint32_t)p[COUNT_AT + 2] << 16 |
                 (uint32_t)p[COUNT_AT + 3] << 24;
    if (n > BLOCK_ENTRIES)
        return 0;
    size_t size = FRAME_BYTES + (size_t)n * ENTRY_BYTES;
    return size <= r->window.len ? size : 0;
}

/* To where the next block may begin. */
static void skip_damage(struct reader *r)
{
    const char *p = r->window.data + 1, *end = r->window.data + r->window.len;
    const char *next =
        (size_t)(end - p) >= MAGIC_BYTES ? memmem(p, (size_t)(end - p), magic, MAGIC_BYTES) : NULL;
    size_t kept = r->ended ? 0 : MAGIC_BYTES - 1; /* the first bytes may be the window's last */
    if (!next)
        next = (size_t)(end - p) > kept ? end - kept : p;
    r->damaged += !r->in_damage;
    r->in_damage = true;
    tg_buf_consume(&r->window, (size_t)(next - r->window.data));
}

static int read_blocks(struct reader *r, int64_t now)
{
    for (;;) {
        if (r->window.len < WINDOW / 2) {
            int rc = fill(r);
            if (rc)
                return rc;
        }
        if (!r->window.len)
            return TG_OK;
        size_t size = block_size(r);
        if (size && tg_dedup_import(r->store->set, tg_str_n(r->window.data, size), now, NULL) == TG_OK) {
            tg_buf_consume(&r->window, size);
            r->in_damage = false;
        } else {
            skip_damage(r);
        }
    }
}

/* --- writing --- */

/* Writes blocks from number *from on at *at; both end up behind what was written. */
static int write_blocks(struct tg_dedup_store *s, int fd, uint64_t *from, uint64_t *at)
{
    struct tg_buf block = TG_BUF_INIT(WINDOW);
    int rc;
    do {
        uint64_t next = *from;
        tg_buf_clear(&block);
        rc = tg_dedup_export(s->set, &next, BLOCK_ENTRIES, &block);
        if (!rc && block.len && tg_io_write_all(s->io, fd, block.data, block.len, (off_t)*at) != 0)
            rc = errno == ENOSPC || errno == EDQUOT ? TG_FULL : TG_IO;
        if (!rc) {
            *from = next;
            *at += block.len;
        }
    } while (!rc && block.len);
    tg_buf_fini(&block);
    return rc;
}

static int open_file(struct tg_dedup_store *s, const char *path, int flags, int *fd)
{
    *fd = s->io->open(s->io, path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (*fd >= 0)
        return TG_OK;
    return errno == ENOSPC || errno == EDQUOT ? TG_FULL : TG_IO;
}

static void set_progress(struct tg_dedup_store *s, struct progress next)
{
    *s->progress = next;
    tg_dedup_kept(s->set, next.from);
}

static int append(struct tg_dedup_store *s)
{
    struct progress next = *s->progress;
    int fd;
    int rc = open_file(s, s->path, 0, &fd);
    if (rc)
        return rc;
    rc = write_blocks(s, fd, &next.from, &next.bytes);
    if (!rc && s->io->fdatasync(s->io, fd) != 0)
        rc = TG_IO;
    if (rc) /* half a block is no harm: it is overwritten by the next save, or seen as damage */
        (void)s->io->ftruncate(s->io, fd, (off_t)s->progress->bytes);
    else
        set_progress(s, next);
    (void)s->io->close(s->io, fd);
    return rc;
}

static int write_anew(struct tg_dedup_store *s)
{
    struct progress next = {0};
    int fd;
    int rc = open_file(s, s->temporary, O_TRUNC, &fd);
    if (rc)
        return rc;
    rc = write_blocks(s, fd, &next.from, &next.bytes);
    if (!rc && s->io->fdatasync(s->io, fd) != 0)
        rc = TG_IO;
    (void)s->io->close(s->io, fd);
    if (!rc && s->io->rename(s->io, s->temporary, s->path) != 0)
        rc = TG_IO;
    if (rc) {
        (void)s->io->unlink(s->io, s->temporary);
        return rc;
    }
    set_progress(s, next); /* the file has its name, whether or not the folder is synced */
    return s->io->fsync_dir(s->io, s->dir) == 0 ? TG_OK : TG_IO;
}

static bool mostly_old(const struct tg_dedup_store *s)
{
    struct tg_dedup_stats stats = tg_dedup_stats(s->set, tg_wall_ms());
    return s->progress->bytes > SMALL_FILE && s->progress->bytes > 2 * (uint64_t)ENTRY_BYTES * stats.entries;
}

/* On a disk too full for a second file the first one goes on growing, if it can. */
static int save(struct tg_dedup_store *s)
{
    if (mostly_old(s) && write_anew(s) == TG_OK)
        return TG_OK;
    return append(s);
}

static void note_end(struct tg_dedup_store *s, bool good)
{
    if (good && s->failing)
        tg_info("messageIds are saved again");
    if (!good && !s->failing)
        tg_warn("messageIds not saved: after a restart duplicates of them would pass; tried again",
                TG_FS("file", s->path));
    tg_count(good ? s->saves : s->failures, 1);
    s->failing = !good;
    if (!good)
        tg_dedup_kept(s->set, UINT64_MAX);
}

/* --- the child --- */

static void start_child(struct tg_dedup_store *s)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() != parent || save(s) != TG_OK);
    }
    if (pid < 0)
        note_end(s, false);
    else
        s->child = pid;
}

static void take_child(struct tg_dedup_store *s, int options)
{
    int status = 0;
    if (!s->child)
        return;
    pid_t pid;
    do
        pid = waitpid(s->child, &status, options);
    while (pid < 0 && errno == EINTR);
    if (pid == 0)
        return;
    tg_dedup_died(s->set, s->child);
    s->child = 0;
    note_end(s, pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- life --- */

static void load(struct tg_dedup_store *s)
{
    struct reader r = {.store = s, .window = TG_BUF_INIT(WINDOW)};
    r.fd = s->io->open(s->io, s->path, O_RDONLY | O_CLOEXEC, 0);
    if (r.fd < 0) {
        if (errno != ENOENT)
            tg_warn("messageIds of before cannot be read, duplicates of them will pass",
                    TG_FS("file", s->path), TG_FS("reason", strerror(errno)));
        return;
    }
    int rc = read_blocks(&r, tg_wall_ms());
    s->io->size(s->io, r.fd, &s->progress->bytes);
    (void)s->io->close(s->io, r.fd);
    tg_buf_fini(&r.window);
    tg_count(s->damaged, (int64_t)r.damaged);
    if (rc || r.damaged)
        tg_warn("some messageIds of before are lost, duplicates of them will pass", TG_FS("file", s->path),
                TG_FI("damaged_places", r.damaged), TG_FS("reason", rc ? tg_code_text(rc) : "damage"));
    struct tg_dedup_stats stats = tg_dedup_stats(s->set, tg_wall_ms());
    s->progress->from = stats.next;
    tg_dedup_kept(s->set, stats.next);
    s->until = rc || r.damaged ? 0 : stats.newest;
    if (rc || r.damaged) /* so that the file has one key and no damage again; if it fails, what comes is
                            behind it */
        (void)write_anew(s);
    tg_info("messageIds of before read", TG_FI("entries", stats.entries));
}

static void make_cells(struct tg_dedup_store *s, struct tg_metrics *m)
{
    s->entries = tg_metric(m, TG_GAUGE, "tidegate_dedup_entries", "messageIds that are remembered.", "");
    s->covered = tg_metric(m, TG_GAUGE, "tidegate_dedup_covered_seconds",
                           "How far back every messageId is remembered: dedup.window, or less when "
                           "dedup.max_entries is too small for it.",
                           "");
    s->evicted =
        tg_metric(m, TG_COUNTER, "tidegate_dedup_evictions_total",
                  "messageIds forgotten before their time, because dedup.max_entries was reached.", "");
    s->saves =
        tg_metric(m, TG_COUNTER, "tidegate_dedup_saves_total", "Times that the messageIds were saved.", "");
    s->failures = tg_metric(m, TG_COUNTER, "tidegate_dedup_save_failures_total",
                            "Times that the messageIds could not be saved.", "");
    s->damaged = tg_metric(m, TG_COUNTER, "tidegate_dedup_damaged_total",
                           "Damaged places in the file of messageIds, skipped when it was read.", "");
}

static void show(struct tg_dedup_store *s)
{
    struct tg_dedup_stats stats = tg_dedup_stats(s->set, tg_wall_ms());
    tg_gauge(s->entries, (int64_t)stats.entries);
    tg_gauge(s->covered, stats.covered_ms / 1000);
    tg_count(s->evicted, (int64_t)(stats.evictions - s->evictions));
    s->evictions = stats.evictions;
}

struct tg_dedup_store *tg_dedup_store_open(const struct tg_dedup_store_options *o)
{
    struct tg_dedup_store *s = tg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->progress = mmap(NULL, sizeof *s->progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->progress == MAP_FAILED) {
        tg_free(s);
        return NULL;
    }
    s->set = o->set;
    s->io = o->io;
    s->every_ms = o->every_ms;
    s->due = tg_mono_ms() + o->every_ms;
    (void)snprintf(s->dir, sizeof s->dir, "%s", o->spool_dir);
    (void)snprintf(s->path, sizeof s->path, "%s/dedup", o->spool_dir);
    (void)snprintf(s->temporary, sizeof s->temporary, "%s.tmp", s->path);
    make_cells(s, o->metrics);
    load(s);
    show(s);
    return s;
}

int64_t tg_dedup_store_until(const struct tg_dedup_store *s)
{
    return s->until;
}

void tg_dedup_store_tick(struct tg_dedup_store *s, int64_t now)
{
    take_child(s, WNOHANG);
    if (now >= s->metrics_due) {
        s->metrics_due = now + METRICS_EVERY_MS;
        show(s);
    }
    if (s->child || now < s->due)
        return;
    s->due = now + s->every_ms;
    if (tg_dedup_stats(s->set, tg_wall_ms()).next != s->progress->from)
        start_child(s);
}

void tg_dedup_store_close(struct tg_dedup_store **out)
{
    struct tg_dedup_store *s = *out;
    *out = NULL;
    if (!s)
        return;
    take_child(s, 0);
    if (tg_dedup_stats(s->set, tg_wall_ms()).next != s->progress->from)
        note_end(s, save(s) == TG_OK);
    (void)munmap(s->progress, sizeof *s->progress);
    tg_free(s);
}
