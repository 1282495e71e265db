#include "daemon/auto_reload.h"

#include "base/mem.h"
#include "daemon/watch.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { QUIET_MS = 300, PATH_SIZE = 4096 };

struct tg_auto_reload {
    int fd;
    struct event *readable, *quiet;
    void (*ask)(void *arg);
    void *arg;
};

static void on_change(evutil_socket_t fd, short what, void *arg)
{
    struct tg_auto_reload *a = arg;
    const struct timeval quiet = {0, QUIET_MS * 1000};
    (void)what;
    if (tg_watch_take(fd))
        (void)event_add(a->quiet, &quiet); /* begins anew when it runs */
}

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
    struct tg_auto_reload *a = arg;
    (void)fd;
    (void)what;
    a->ask(a->arg);
}

int tg_auto_reload_new(struct event_base *base, void (*ask)(void *arg), void *arg,
                       struct tg_auto_reload **out, struct tg_err *err)
{
    struct tg_auto_reload *a = tg_calloc(1, sizeof *a);
    if (!a)
        return tg_fail(err, TG_NOMEM, "out of memory");
    a->ask = ask;
    a->arg = arg;
    int rc = tg_watch_open(&a->fd, err);
    if (!rc) {
        a->readable = event_new(base, a->fd, EV_READ | EV_PERSIST, on_change, a);
        a->quiet = event_new(base, -1, 0, on_quiet, a);
        if (!a->readable || !a->quiet || event_add(a->readable, NULL))
            rc = tg_fail(err, TG_NOMEM, "out of memory");
    }
    *out = a;
    if (rc)
        tg_auto_reload_free(out);
    return rc;
}

void tg_auto_reload_free(struct tg_auto_reload **auto_reload)
{
    struct tg_auto_reload *a = *auto_reload;
    if (!a)
        return;
    if (a->readable)
        event_free(a->readable);
    if (a->quiet)
        event_free(a->quiet);
    if (a->fd >= 0)
        (void)close(a->fd);
    tg_free(a);
    *auto_reload = NULL;
}

void tg_auto_reload_close_in_child(const struct tg_auto_reload *a)
{
    (void)close(a->fd);
}

static int follow_folder_of(const struct tg_auto_reload *a, const char *file, bool deep, struct tg_err *err)
{
    char folder[PATH_SIZE];
    const char *slash = strrchr(file, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s", (int)(slash - file), file)
                  : snprintf(folder, sizeof folder, ".");
    return n > 0 && n < PATH_SIZE ? tg_watch_add(a->fd, folder, deep, err) : TG_OK;
}

int tg_auto_reload_follow(struct tg_auto_reload *a, const struct tg_snapshot *s, struct tg_err *err)
{
    int rc = follow_folder_of(a, s->text.path, false, err);
    for (size_t i = 0; !rc && i < s->n_scripts; i++)
        for (size_t k = 0; !rc && k < s->scripts[i].n_files; k++)
            if (strcmp(s->scripts[i].files[k].name, "init.lua") == 0)
                rc = follow_folder_of(a, s->scripts[i].files[k].path, true, err);
    return rc;
}
