/* House-keeping of the log: whether it takes appends, the spare segment and the reserve, removing what is
 * settled.
 *
 * All work on files is a job of the helper thread, and the writer belongs to whatever job runs; the loop sees
 * it only as the copy that each job leaves in its `outcome`. */
#include "base/log.h"
#include "spool/log_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_S = 1 };

const char tg_log_ceiling_text[] = "the spool has reached its ceiling (spool.max_bytes)";

/* --- state --- */

void tg_log_show_metrics(struct tg_log *log)
{
    tg_gauge(log->m.bytes, (int64_t)tg_log_bytes(log));
    tg_gauge(log->m.segments, (int64_t)log->segments.n);
    tg_gauge(log->m.closed, log->closed != TG_OK);
}

void tg_log_shut(struct tg_log *log, int status, const char *why)
{
    if (!log->closed)
        tg_error("spool: nothing is accepted until the disk takes it again", TG_FS("folder", log->dir),
                 TG_FS("error", why));
    log->closed = status;
    (void)snprintf(log->why, sizeof log->why, "%s", why);
    struct timeval soon = {PROBE_S, 0};
    (void)event_add(log->probe, &soon);
    tg_log_show_metrics(log);
}

static void reopen(struct tg_log *log)
{
    if (log->closed)
        tg_info("spool: accepting again", TG_FS("folder", log->dir));
    log->closed = TG_OK;
    (void)event_del(log->probe);
    tg_log_show_metrics(log);
}

bool tg_log_beneath_ceiling(const struct tg_log *log, uint64_t more)
{
    uint64_t have = tg_log_bytes(log);
    return have <= log->o.max_bytes && more <= log->o.max_bytes - have;
}

/* Whether `bytes` more than what is pending will find a segment. */
bool tg_log_has_room(const struct tg_log *log, uint64_t bytes)
{
    uint64_t need = log->pending + bytes, next = log->spare_size;
    if (need <= log->room)
        return true;
    if (!next && (log->upkeep.running || tg_log_beneath_ceiling(log, log->o.segment_bytes)))
        next = log->o.segment_bytes;
    if (!next)
        return false;
    return need + TG_SEGMENT_HEADER <= log->room + next ||
           tg_log_beneath_ceiling(log, need + TG_SEGMENT_HEADER);
}

/* --- jobs --- */

void tg_log_look_at_writer(struct task *t)
{
    const struct tg_writer *w = &t->log->writer;
    t->outcome.open_first = w->fd >= 0 ? w->first_seq : 0;
    t->outcome.at = w->at;
    t->outcome.size = w->size;
    t->outcome.spare_size = w->spare_size;
    t->outcome.reserve = w->reserve;
}

void tg_log_give(struct task *t, void (*run)(struct tg_job *), void (*done)(struct tg_job *))
{
    t->running = true;
    t->outcome.err.msg[0] = '\0';
    t->job.run = run;
    t->job.done = done;
    tg_helper_give(t->log->o.helper, &t->job);
}

static void set_disk(struct tg_log *log, struct tg_seg *seg, uint64_t disk)
{
    log->segments.disk += disk - seg->disk;
    seg->disk = disk;
}

/* Takes over what the writer looks like now. */
struct tg_log *tg_log_absorb(struct task *t)
{
    struct tg_log *log = t->log;
    const struct outcome *o = &t->outcome;
    t->running = false;
    if (log->open && log->segments.last->first_seq != o->open_first) {
        log->open = false;
        set_disk(log, log->segments.last, log->segments.last->end);
    }
    log->room = o->open_first ? o->size - o->at : 0;
    log->size = o->size;
    log->spare_size = o->spare_size;
    log->reserve = o->reserve;
    return log;
}

/* --- house-keeping: the spare segment, the reserve --- */

static void upkeep_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_writer *w = &t->log->writer;
    bool had_reserve = w->reserve;
    int rc = tg_writer_reserve(w, &t->outcome.err);
    if (rc == TG_OK && t->may_create)
        rc = tg_writer_prepare(w, 0, &t->outcome.err);
    /* On a full disk the space is for the rows of the state, which let the log drain. */
    if (rc == TG_FULL || (rc && !had_reserve))
        tg_writer_free_reserve(w);
    t->outcome.status = rc;
    tg_log_look_at_writer(t);
}

static void upkeep_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = tg_log_absorb(t);
    if (t->outcome.status)
        tg_log_shut(log, t->outcome.status == TG_FULL ? TG_FULL : TG_IO, t->outcome.err.msg);
    else
        reopen(log);
    bool again = t->wanted;
    t->wanted = false;
    tg_log_keep_house(log, again);
}

/* Gives the helper what there is to restore. While the log is closed only when `now`: the probe decides the
 * pace. */
void tg_log_keep_house(struct tg_log *log, bool now)
{
    bool spare = !log->spare_size && tg_log_beneath_ceiling(log, log->o.segment_bytes);
    bool reserve = log->o.reserve_bytes && !log->reserve;
    if (log->closing || !(log->closed ? now : spare || reserve))
        return;
    if (log->upkeep.running) {
        log->upkeep.wanted |= now;
        return;
    }
    log->upkeep.may_create = spare;
    tg_log_give(&log->upkeep, upkeep_run, upkeep_done);
}

void tg_log_on_probe(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tg_log_keep_house(arg, true);
}

static void freeing_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    tg_writer_free_reserve(&t->log->writer);
    tg_log_look_at_writer(t);
}

static void freeing_done(struct tg_job *job)
{
    struct tg_log *log = tg_log_absorb((struct task *)job);
    tg_log_shut(log, TG_FULL, "the disk is full"); /* an upkeep that was under way may have opened it */
}

void tg_log_free_reserve(struct tg_log *log)
{
    tg_log_shut(log, TG_FULL, "the disk is full");
    if (!log->freeing.running)
        tg_log_give(&log->freeing, freeing_run, freeing_done);
}

/* The reserve and the first segment, while waiting is still allowed. A full disk is no reason not to start:
 * what is there can be delivered. */
void tg_log_first_upkeep(struct tg_log *log)
{
    log->upkeep.may_create = tg_log_beneath_ceiling(log, log->o.segment_bytes);
    upkeep_run(&log->upkeep.job);
    upkeep_done(&log->upkeep.job);
}

/* --- releasing --- */

static void remove_run(struct tg_job *job)
{
    struct tg_seg *seg = (struct tg_seg *)((char *)job - offsetof(struct tg_seg, remove));
    struct tg_io *io = seg->log->o.io;
    char name[TG_SEGMENT_NAME + 1], path[TG_PATH_MAX];
    tg_segment_name(seg->first_seq, name);
    if (!tg_spool_path(path, seg->log->dir, name))
        return;
    if (io->unlink(io, path) != 0 || io->fsync_dir(io, seg->log->dir) != 0)
        tg_warn("spool: cannot remove a segment", TG_FS("path", path), TG_FS("error", strerror(errno)));
}

static void remove_done(struct tg_job *job)
{
    struct tg_seg *seg = (struct tg_seg *)((char *)job - offsetof(struct tg_seg, remove));
    struct tg_log *log = seg->log;
    log->removing -= seg->disk;
    tg_seg_free(seg);
    tg_log_keep_house(log, true);
    tg_log_show_metrics(log);
}

static void remove_segment(struct tg_log *log)
{
    struct tg_seg *seg = tg_seglist_take_first(&log->segments);
    tg_log_readers_leave(log, seg);
    log->removing += seg->disk;
    seg->log = log;
    seg->remove.run = remove_run;
    seg->remove.done = remove_done;
    tg_helper_give(log->o.helper, &seg->remove);
}

static void seal_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    tg_writer_seal(&t->log->writer);
    tg_log_look_at_writer(t);
}

static void seal_done(struct tg_job *job)
{
    struct tg_log *log = tg_log_absorb((struct task *)job);
    tg_log_release(log, log->released);
}

/* The open segment goes too when all of it is settled and the log is stuck for want of room: nothing else
 * would free any. */
static bool stuck(const struct tg_log *log)
{
    return log->closed == TG_FULL || !tg_log_has_room(log, log->o.segment_bytes / 8);
}

void tg_log_release(struct tg_log *log, uint64_t seq)
{
    struct tg_seglist *l = &log->segments;
    if (log->released < seq)
        log->released = seq;
    while (l->first && l->first->next_seq <= seq && !(log->open && l->first == l->last))
        remove_segment(log);
    if (log->open && l->first && l->first == l->last && l->first->next_seq <= seq && !log->pending &&
        !log->seal.running && !log->closing && stuck(log))
        tg_log_give(&log->seal, seal_run, seal_done);
    tg_log_show_metrics(log);
}
