#include "spool/log_release.h"

#include "base/log.h"
#include "spool/log_house.h"
#include "spool/log_reader.h"
#include "spool/log_task.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* --- segments --- */

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

void tg_log_end_segment(struct tg_log *log, uint64_t upto)
{
    if (log->open && log->segments.last->first_seq <= upto && log->spare_size && !log->seal.running &&
        !log->closing)
        tg_log_give(&log->seal, seal_run, seal_done);
}

/* --- the reserve --- */

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
