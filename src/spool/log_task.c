#include "spool/log_task.h"

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
