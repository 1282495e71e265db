#include "daemon/watch.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { QUIET_MS = 100, DEPTH_MAX = 4, PATH_SIZE = 4096 };

int tg_watch_open(int *fd, struct tg_err *err)
{
    *fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return *fd < 0 ? tg_fail_errno(err, errno, "inotify") : TG_OK;
}

static int add_deep(int fd, const char *folder, int depth, struct tg_err *err)
{
    const uint32_t mask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR;
    if (inotify_add_watch(fd, folder, mask) < 0)
        return errno == ENOENT || errno == ENOTDIR ? TG_OK : tg_fail_errno(err, errno, "%s", folder);
    DIR *dir = depth > 0 ? opendir(folder) : NULL;
    int rc = TG_OK;
    for (const struct dirent *e; !rc && dir && (e = readdir(dir));) {
        char path[PATH_SIZE];
        int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.' && e->d_type == DT_DIR && n > 0 && n < PATH_SIZE)
            rc = add_deep(fd, path, depth - 1, err);
    }
    if (dir)
        (void)closedir(dir);
    return rc;
}

int tg_watch_add(int fd, const char *folder, bool deep, struct tg_err *err)
{
    return add_deep(fd, folder, deep ? DEPTH_MAX : 0, err);
}

static bool concerns(const struct inotify_event *e)
{
    size_t n = e->len ? strlen(e->name) : 0;
    if (e->mask & (IN_Q_OVERFLOW | IN_ISDIR))
        return true;
    return !(e->mask & IN_CREATE) && n > 4 && e->name[0] != '.' && strcmp(e->name + n - 4, ".lua") == 0;
}

bool tg_watch_take(int fd)
{
    _Alignas(struct inotify_event) char part[4096];
    bool found = false;
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;) {
        for (const char *p = part; p < part + n;) {
            const struct inotify_event *e = (const struct inotify_event *)p;
            found = concerns(e) || found;
            p += sizeof *e + e->len;
        }
    }
    return found;
}

int tg_watch_wait(int fd, struct tg_err *err)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (bool changed = false;;) {
        int n = poll(&p, 1, changed ? QUIET_MS : -1);
        if (n < 0 && errno != EINTR)
            return tg_fail_errno(err, errno, "poll");
        if (n == 0 && changed)
            return TG_OK;
        if (n > 0)
            changed = tg_watch_take(fd) || changed;
    }
}
