#include "spool/cursors.h"

#include "base/mem.h"
#include "spool/cursor.h"
#include "spool/cursors_file.h"
#include "spool/cursors_state.h"

#include <errno.h>
#include <string.h>

struct waiter {
    struct waiter *next;
    void (*done)(void *arg, int status);
    void *arg;
};

/* --- the set --- */

struct tg_cursor *tg_cursors_find(struct tg_cursors *c, const char *destination)
{
    struct tg_cursor *at = c->first;
    while (at && strcmp(at->name, destination) != 0)
        at = at->next;
    return at;
}

int tg_cursors_add(struct tg_cursors *c, const char *destination, uint64_t low, struct tg_cursor **out,
                   struct tg_err *err)
{
    struct tg_str name = tg_str_of(destination);
    if (!name.n || name.n > TG_CURSOR_NAME_MAX)
        return tg_fail(err, TG_INVALID, "destination name of %zu bytes: 1 to %d are possible", name.n,
                       TG_CURSOR_NAME_MAX);
    if (tg_cursors_find(c, destination))
        return tg_fail(err, TG_EXISTS, "destination %s has a cursor already", destination);
    *out = tg_cursor_new(c, name, low);
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

/* --- saving --- */

static void save_run(struct tg_job *job)
{
    struct tg_cursors *c = (struct tg_cursors *)job;
    c->status = tg_cursors_write(c);
}

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
    if (tg_cursors_snapshot(c) != TG_OK) {
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
    if (tg_cursors_snapshot(c) != TG_OK)
        return tg_fail(err, TG_NOMEM, "%s/cursors: out of memory", c->dir);
    c->dirty = false;
    c->status = tg_cursors_write(c);
    saved(c);
    return c->status ? tg_fail(err, c->status, "%s", c->err.msg) : TG_OK;
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
    tg_buf_init(&c->bytes, TG_CURSORS_BYTES_MAX);
    if (io->mkdir(io, dir, 0700) != 0 && errno != EEXIST) {
        int rc = tg_fail_errno(err, errno, "%s: cannot make the folder", dir);
        tg_cursors_close(&c);
        return rc;
    }
    int rc = tg_cursors_read(c, err);
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
