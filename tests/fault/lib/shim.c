/* Preloaded into the relay by the fault tests: calls on files below FAULT_PATH fail, fall short or take long, and the
 * wall clock is wrong, as a page that the test writes says; the name server says nothing about names below hangs.invalid, and
 * at once that there are none below such.invalid. The page is FAULT_CONTROL, mapped by all processes, so that a change holds
 * at once and "once" means once for all of them.
 *
 * Built by tests/fault/lib/faults.mjs, which knows the layout of the page. Only system calls are used below the
 * wrappers, so that nothing here can meet itself. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { DELAY_STEP_MS = 10 };

struct fault {
    _Atomic int32_t error; /* errno; 0: none */
    _Atomic int32_t count; /* how many more calls; negative: all */
    _Atomic int32_t files; /* which: 1 segments, 2 state.db and its companions, 4 the rest, with the spare segment, which is made by the way */
    _Atomic int32_t hits;  /* calls that it has met */
};

struct page {
    struct fault write, sync, change; /* change: whatever makes, grows, renames or removes a file */
    /* sync_delay_ms: put to a smaller one, it ends also what is waiting; shorten: writes of more than a byte take half */
    _Atomic int32_t sync_delay_ms, sync_delay_count, shorten;
    _Atomic int32_t reserved;
    _Atomic int64_t clock_ms; /* added to the wall clock */
    _Atomic int64_t quota;    /* bytes that fit below FAULT_PATH; 0: no limit */
};

static struct page *page;
static const char *below;
static size_t below_len;

__attribute__((constructor)) static void open_page(void)
{
    const char *path = getenv("FAULT_CONTROL");
    below = getenv("FAULT_PATH");
    if (!path || !below)
        return;
    below_len = strlen(below);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (p == MAP_FAILED) {
        static const char text[] = "faults: the control page cannot be mapped\n";
        syscall(SYS_write, 2, text, sizeof text - 1);
        syscall(SYS_exit_group, 99);
    }
    page = p;
}

/* 0: none of ours. */
static int kind_of(const char *path)
{
    if (!page || strncmp(path, below, below_len) != 0)
        return 0;
    if (strstr(path, ".seg"))
        return 1;
    return strstr(path, "state.db") ? 2 : 4;
}

static int kind_of_fd(int fd)
{
    char name[64], path[4096];
    if (!page)
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = '\0';
    return kind_of(path);
}

/* Whether this call is to fail: sets errno. */
static int struck(struct fault *f, int kind)
{
    int32_t error = atomic_load(&f->error);
    if (!error || !(kind & atomic_load(&f->files)))
        return 0;
    int32_t left = atomic_load(&f->count);
    while (left > 0 && !atomic_compare_exchange_weak(&f->count, &left, left - 1))
        ;
    if (left == 0)
        return 0;
    atomic_fetch_add(&f->hits, 1);
    errno = error;
    return 1;
}

/* --- a disk of a given size --- */

static int64_t used_below(const char *dir)
{
    int64_t sum = 0;
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] == '.' || lstat(path, &st) != 0)
            continue;
        sum += S_ISDIR(st.st_mode) ? used_below(path) : (int64_t)st.st_blocks * 512;
    }
    if (d)
        closedir(d);
    return sum;
}

/* Whether bytes up to `end` of the file do not fit any more. What is allocated may always be written. */
static int full(int fd, int64_t end)
{
    int64_t quota = atomic_load(&page->quota);
    struct stat st;
    if (!quota || fstat(fd, &st) != 0 || end <= (int64_t)st.st_blocks * 512)
        return 0;
    if (used_below(below) + end - (int64_t)st.st_blocks * 512 <= quota)
        return 0;
    atomic_fetch_add(&page->write.hits, 1);
    errno = ENOSPC;
    return 1;
}

/* --- the calls --- */

static ssize_t put(int fd, const void *buf, size_t n, int64_t at)
{
    int kind = kind_of_fd(fd);
    if (kind) {
        if (struck(&page->write, kind) || full(fd, at + (int64_t)n))
            return -1;
        if (atomic_load(&page->shorten) && n > 1)
            n /= 2;
    }
    return syscall(SYS_pwrite64, fd, buf, n, at);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    return put(fd, buf, n, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    return put(fd, buf, n, at);
}

static int sync_with(long call, int fd)
{
    int kind = kind_of_fd(fd);
    if (kind) {
        int32_t ms = atomic_load(&page->sync_delay_ms), left = atomic_load(&page->sync_delay_count);
        while (left > 0 && !atomic_compare_exchange_weak(&page->sync_delay_count, &left, left - 1))
            ;
        for (int32_t waited = 0; left && waited < ms && waited < atomic_load(&page->sync_delay_ms); waited += DELAY_STEP_MS) {
            struct timespec t = {0, DELAY_STEP_MS * 1000000L};
            syscall(SYS_nanosleep, &t, NULL);
        }
        if (struck(&page->sync, kind))
            return -1;
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

static int grow(int fd, int mode, off_t from, off_t len)
{
    int kind = kind_of_fd(fd);
    if (kind && (struck(&page->change, kind) || full(fd, from + len)))
        return -1;
    return (int)syscall(SYS_fallocate, fd, mode, from, len);
}

int fallocate(int fd, int mode, off_t from, off_t len)
{
    return grow(fd, mode, from, len);
}

int fallocate64(int fd, int mode, off64_t from, off64_t len)
{
    return grow(fd, mode, from, len);
}

int ftruncate(int fd, off_t len)
{
    int kind = kind_of_fd(fd);
    return kind && struck(&page->change, kind) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

static int open_file(const char *path, int flags, mode_t mode)
{
    int kind = kind_of(path);
    if (kind && (flags & (O_CREAT | O_TRUNC)) && struck(&page->change, kind))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_file(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_file(path, flags | O_LARGEFILE, mode);
}

int unlink(const char *path)
{
    int kind = kind_of(path);
    return kind && struck(&page->change, kind) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to)
{
    int kind = kind_of(from);
    return kind && struck(&page->change, kind) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* --- the name server --- */

static int is_below(const char *name, const char *end)
{
    size_t n = name ? strlen(name) : 0, m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* What a real one says of names that do not exist, and when, depends on the machine. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    typedef int call(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (is_below(node, ".such.invalid"))
        return EAI_NONAME;
    if (is_below(node, ".hangs.invalid")) {
        struct timespec t = {60, 0};
        syscall(SYS_nanosleep, &t, NULL);
        return EAI_AGAIN;
    }
    call *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, out);
}

/* --- the clock --- */

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    int64_t ms = page && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) ? atomic_load(&page->clock_ms) : 0;
    if (rc == 0 && ms) {
        int64_t ns = t->tv_nsec + (ms % 1000) * 1000000;
        t->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
        t->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
