#include "spool/log_commit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "spool/log_house.h"
#include "spool/log_task.h"

enum { KEEP_GROUP = 1 << 20 };

/* --- commits --- */

static void tell(struct waiter *waiters, size_t n, int status, const char *why)
{
    for (size_t i = 0; i < n; i++)
        waiters[i].done(waiters[i].arg, status, why, waiters[i].first_seq);
    tg_free(waiters);
}

/* Empties the group; its waiters are the caller's now. */
static struct waiter *take_waiters(struct tg_log *log, struct group *g, size_t *n)
{
    struct waiter *waiters = g->waiters;
    *n = g->n;
    log->pending -= g->bytes.len;
    size_t len = g->bytes.len;
    tg_buf_clear(&g->bytes);
    if (g->bytes.cap > KEEP_GROUP && len < g->bytes.cap / 4)
        tg_buf_fini(&g->bytes); /* one great group must not hold its memory for ever */
    g->waiters = NULL;
    g->n = g->cap = 0;
    return waiters;
}

void tg_log_fail_group(struct tg_log *log, struct group *g, int status, const char *why)
{
    size_t n;
    struct waiter *waiters = take_waiters(log, g, &n);
    tell(waiters, n, status, why);
}

static void commit_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = t->log;
    const struct group *g = &log->flying;
    t->outcome.status = tg_writer_put(&log->writer, g->bytes.data, g->bytes.len, g->first_seq, g->next_seq,
                                      t->may_create, &t->outcome.err);
    if (t->outcome.status == TG_FULL)
        tg_writer_free_reserve(&log->writer);
    tg_log_look_at_writer(t);
}

/* The group is on disk: its records may be read. */
static void publish(struct tg_log *log, const struct outcome *o)
{
    if (!log->open) {
        struct tg_seg *seg = log->fresh;
        log->fresh = NULL;
        seg->first_seq = o->open_first;
        seg->disk = o->size;
        seg->log = log;
        tg_seglist_add(&log->segments, seg);
        log->open = true;
    }
    struct tg_seg *seg = log->segments.last;
    tg_seg_note_place(seg, log->flying.first_seq, o->at - log->flying.bytes.len);
    tg_cache_extend(&log->cache, seg, o->at - log->flying.bytes.len, log->flying.bytes.data,
                    log->flying.bytes.len);
    seg->end = o->at;
    seg->next_seq = log->flying.next_seq;
    log->last_seq = seg->next_seq - 1;
    tg_count(log->m.records, (int64_t)(log->flying.next_seq - log->flying.first_seq));
}

/* What the callbacks are told, and what follows for the log. */
static int commit_failed(struct tg_log *log, struct outcome *o)
{
    tg_count(log->m.sync_failures, 1);
    if (o->status == TG_TOOBIG) /* no spare, and none may be made */
        return tg_fail(&o->err, log->closed ? log->closed : TG_FULL, "%s",
                       log->closed ? log->why : tg_log_ceiling_text);
    int status = o->status == TG_FULL ? TG_FULL : TG_IO;
    bool first = log->closed == TG_OK;
    tg_log_shut(log, status, o->err.msg);
    if (status == TG_IO && first)
        tg_log_keep_house(log, true);
    return status;
}

static void commit_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = tg_log_absorb(t);
    struct tg_err err = t->outcome.err; /* the next commit uses the task's */
    int status = t->outcome.status;
    tg_count(log->m.syncs, 1);
    tg_count(log->m.sync_us, tg_mono_us() - log->commit_began);
    if (status == TG_OK) {
        publish(log, &t->outcome);
    } else {
        status = commit_failed(log, &t->outcome);
        err = t->outcome.err;
    }
    size_t n;
    struct waiter *waiters = take_waiters(log, &log->flying, &n);
    tg_log_start_commit(log);
    tg_log_keep_house(log, false);
    tg_log_show_metrics(log);
    tell(waiters, n, status, status ? err.msg : "");
    if (status == TG_OK && log->synced)
        log->synced(log->synced_arg);
}

void tg_log_start_commit(struct tg_log *log)
{
    if (log->commit.running || !log->filling.n || log->closing)
        return;
    if (!log->fresh && !(log->fresh = tg_seg_new(0))) {
        tg_log_fail_group(log, &log->filling, TG_NOMEM, "out of memory");
        return;
    }
    struct group g = log->flying;
    log->flying = log->filling;
    log->filling = g;
    log->commit.may_create = !log->closed && tg_log_beneath_ceiling(log, log->o.segment_bytes);
    log->commit_began = tg_mono_us();
    tg_log_give(&log->commit, commit_run, commit_done);
}

void tg_log_on_kick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tg_log_start_commit(arg);
}

/* --- interval mode --- */

static void interval_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    t->outcome.status = tg_writer_sync(&t->log->writer, &t->outcome.err);
    tg_log_look_at_writer(t);
}

static void interval_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = tg_log_absorb(t);
    if (t->outcome.status)
        (void)commit_failed(log, &t->outcome);
}

void tg_log_on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_log *log = arg;
    if (!log->interval.running && !log->closing)
        tg_log_give(&log->interval, interval_run, interval_done);
}
