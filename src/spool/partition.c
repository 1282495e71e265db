#include "spool/partition.h"

#include "base/log.h"
#include "base/mem.h"
#include "spool/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPOOL_FORMAT = 1, LOCK_TEXT = 64 };

static int make_path(char *out, size_t n, struct tg_err *err, const char *dir, const char *name)
{
    int len = snprintf(out, n, "%s/%s", dir, name);
    return len > 0 && (size_t)len < n ? TG_OK : tg_fail(err, TG_INVALID, "%s: the path is too long", dir);
}

/* --- lock files: "<number> <pid>\n", padded so that a shorter text leaves nothing of a longer one --- */

static void read_lock(int fd, uint64_t *number, long *pid)
{
    char text[LOCK_TEXT + 1] = {0};
    ssize_t n = pread(fd, text, LOCK_TEXT, 0);
    if (n <= 0 || sscanf(text, "%" SCNu64 " %ld", number, pid) != 2)
        *number = 0, *pid = 0;
}

static int write_lock(int fd, uint64_t number, const char *path, struct tg_err *err)
{
    char text[LOCK_TEXT + 1];
    (void)snprintf(text, sizeof text, "%-20" PRIu64 " %-20ld%*s\n", number, (long)getpid(), LOCK_TEXT - 42,
                   "");
    if (tg_io_write_all(tg_io_system(), fd, text, LOCK_TEXT, 0) != 0 || fdatasync(fd) != 0)
        return tg_fail_errno(err, errno, "%s: cannot write", path);
    return TG_OK;
}

/* Whether the path still names the file that was locked: its holder may have removed it meanwhile. */
static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* Opens and locks; *number is what stood in the file (0: nothing). */
static int take_lock(const char *path, int *lock_fd, uint64_t *number, struct tg_err *err)
{
    long pid;
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return tg_fail_errno(err, errno, "%s: cannot open", path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int saved = errno;
            read_lock(fd, number, &pid);
            (void)close(fd);
            if (saved == EWOULDBLOCK)
                return tg_fail(err, TG_BUSY, "%s: held by process %ld", path, pid);
            return tg_fail_errno(err, saved, "%s: cannot lock", path);
        }
        if (same_file(fd, path)) {
            read_lock(fd, number, &pid);
            *lock_fd = fd;
            return TG_OK;
        }
        (void)close(fd);
    }
}

static int make_dir(const char *path, const char *parent, struct tg_err *err)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? TG_OK : tg_fail_errno(err, errno, "%s: cannot make the folder", path);
    if (parent && tg_io_system()->fsync_dir(tg_io_system(), parent) != 0)
        return tg_fail_errno(err, errno, "%s: cannot sync the folder", parent);
    return TG_OK;
}

/* --- partitions --- */

int tg_partition_open(const char *spool_dir, uint32_t number, struct tg_partition *p, struct tg_err *err)
{
    char name[16], path[sizeof p->dir];
    *p = (struct tg_partition){.number = number, .lock_fd = -1};
    (void)snprintf(name, sizeof name, "p%" PRIu32, number);
    int rc = make_path(p->dir, sizeof p->dir, err, spool_dir, name);
    if (rc == TG_OK)
        rc = make_path(path, sizeof path, err, p->dir, "lock");
    if (rc == TG_OK)
        rc = make_dir(p->dir, spool_dir, err);
    if (rc == TG_OK)
        rc = take_lock(path, &p->lock_fd, &p->epoch, err);
    if (rc)
        return tg_err_prefix(err, "partition %" PRIu32, number), rc;
    rc = write_lock(p->lock_fd, ++p->epoch, path, err);
    if (rc) {
        tg_partition_close(p);
        return tg_err_prefix(err, "partition %" PRIu32, number), rc;
    }
    return TG_OK;
}

void tg_partition_close(struct tg_partition *p)
{
    if (p->lock_fd >= 0)
        (void)close(p->lock_fd);
    p->lock_fd = -1;
}

static bool parse_name(const char *name, uint32_t *number)
{
    char again[16];
    if (sscanf(name, "p%" SCNu32, number) != 1)
        return false;
    (void)snprintf(again, sizeof again, "p%" PRIu32, *number);
    return strcmp(name, again) == 0;
}

struct numbers {
    uint32_t *v;
    size_t n;
    bool failed;
};

static void collect(void *arg, const char *name)
{
    struct numbers *l = arg;
    uint32_t number;
    if (!parse_name(name, &number))
        return;
    uint32_t *v = tg_realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v) {
        l->failed = true;
        return;
    }
    l->v = v;
    l->v[l->n++] = number;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int tg_partition_list(const char *spool_dir, uint32_t **numbers, size_t *n, struct tg_err *err)
{
    struct numbers l = {0};
    int rc = TG_OK;
    if (tg_io_system()->list(tg_io_system(), spool_dir, collect, &l) != 0 && errno != ENOENT)
        rc = tg_fail_errno(err, errno, "%s: cannot list", spool_dir);
    else if (l.failed)
        rc = tg_fail(err, TG_NOMEM, "%s: out of memory", spool_dir);
    if (rc) {
        tg_free(l.v);
        return rc;
    }
    if (l.n)
        qsort(l.v, l.n, sizeof *l.v, ascending);
    *numbers = l.v;
    *n = l.n;
    return TG_OK;
}

/* --- removing one --- */

struct removal {
    const struct tg_partition *p;
    struct tg_err *err;
    int rc;
};

static void remove_entry(void *arg, const char *name)
{
    struct removal *r = arg;
    char path[sizeof r->p->dir];
    if (r->rc || strcmp(name, "lock") == 0)
        return;
    r->rc = make_path(path, sizeof path, r->err, r->p->dir, name);
    if (r->rc == TG_OK && unlink(path) != 0)
        r->rc = tg_fail_errno(r->err, errno, "%s: cannot remove", path);
}

/* What is in quarantine is for a person to look at: it stays, beside the partitions. */
static int keep_quarantine(const struct tg_partition *p, struct tg_err *err)
{
    char from[sizeof p->dir], to[sizeof p->dir];
    int rc = make_path(from, sizeof from, err, p->dir, "quarantine");
    if (rc)
        return rc;
    int n = snprintf(to, sizeof to, "%.*s/quarantine-p%" PRIu32 "-%" PRIu64,
                     (int)(strrchr(p->dir, '/') - p->dir), p->dir, p->number, p->epoch);
    if (n < 0 || (size_t)n >= sizeof to)
        return tg_fail(err, TG_INVALID, "%s: the path is too long", p->dir);
    if (rename(from, to) != 0 && errno != ENOENT)
        return tg_fail_errno(err, errno, "%s: cannot move to %s", from, to);
    return TG_OK;
}

int tg_partition_remove(struct tg_partition *p, struct tg_err *err)
{
    struct removal r = {.p = p, .err = err};
    char lock[sizeof p->dir];
    int rc = make_path(lock, sizeof lock, err, p->dir, "lock");
    if (rc == TG_OK)
        rc = keep_quarantine(p, err);
    if (rc == TG_OK && tg_io_system()->list(tg_io_system(), p->dir, remove_entry, &r) != 0)
        rc = tg_fail_errno(err, errno, "%s: cannot list", p->dir);
    rc = rc ? rc : r.rc;
    /* The lock goes last: who finds it gone makes a new partition, who waits for it sees that it was removed.
     */
    if (rc == TG_OK && (unlink(lock) != 0 || (rmdir(p->dir) != 0 && errno != ENOTEMPTY)))
        rc = tg_fail_errno(err, errno, "%s: cannot remove", p->dir);
    tg_partition_close(p);
    return rc;
}

/* --- the spool as a whole --- */

static int check_format(const char *spool_dir, struct tg_err *err)
{
    char path[4096], text[32] = {0};
    unsigned version = 0;
    int rc = make_path(path, sizeof path, err, spool_dir, "format");
    if (rc)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return tg_fail_errno(err, errno, "%s: cannot open", path);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n < 0) {
        rc = tg_fail_errno(err, errno, "%s: cannot read", path);
    } else if (n == 0) {
        int len = snprintf(text, sizeof text, "%d\n", SPOOL_FORMAT);
        if (tg_io_write_all(tg_io_system(), fd, text, (size_t)len, 0) != 0 || fdatasync(fd) != 0)
            rc = tg_fail_errno(err, errno, "%s: cannot write", path);
    } else if (sscanf(text, "%u", &version) != 1) {
        rc = tg_fail(err, TG_CORRUPT,
                     "%s: not a format number; if this folder is a spool, write \"%d\" into it", path,
                     SPOOL_FORMAT);
    } else if (version > SPOOL_FORMAT) {
        rc = tg_fail(err, TG_BADVERSION,
                     "%s: a newer program wrote this spool (format %u, this one knows %d): run that version",
                     path, version, SPOOL_FORMAT);
    }
    (void)close(fd);
    return rc;
}

int tg_spool_lock(const char *spool_dir, int *lock_fd, struct tg_err *err)
{
    char path[4096];
    uint64_t runs = 0;
    int fd = -1, rc = make_path(path, sizeof path, err, spool_dir, "lock");
    if (rc == TG_OK)
        rc = make_dir(spool_dir, NULL, err);
    if (rc == TG_OK)
        rc = take_lock(path, &fd, &runs, err);
    if (rc == TG_BUSY)
        tg_err_prefix(err, "another tidegate runs on this spool");
    if (rc)
        return rc;
    rc = check_format(spool_dir, err);
    if (rc == TG_OK)
        rc = write_lock(fd, runs + 1, path, err);
    if (rc)
        (void)close(fd);
    else
        *lock_fd = fd;
    return rc;
}

/* Also of a process that nobody has waited for yet: it holds nothing any more. */
static bool is_dead(long pid)
{
    char path[64], stat[512] = "";
    if (kill((pid_t)pid, 0) != 0 && errno != EPERM)
        return true;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (fd >= 0)
        (void)close(fd);
    const char *name_end = n > 0 ? strrchr(stat, ')') : NULL; /* "PID (NAME) STATE …" */
    return name_end && (strncmp(name_end, ") Z", 3) == 0 || strncmp(name_end, ") X", 3) == 0);
}

bool tg_spool_holder_lives(const char *spool_dir)
{
    char path[4096];
    struct tg_err err;
    uint64_t runs = 0;
    long pid = 0;
    int fd = make_path(path, sizeof path, &err, spool_dir, "lock") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    read_lock(fd, &runs, &pid);
    (void)close(fd);
    return pid > 0 && !is_dead(pid);
}
