#include "spool/log_house.h"

#include "base/log.h"
#include "spool/log_extent.h"
#include "spool/log_task.h"

#include <event2/event.h>
#include <stdio.h>

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

/* --- the spare segment, the reserve --- */

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

/* The reserve and the first segment, while waiting is still allowed. A full disk is no reason not to start:
 * what is there can be delivered. */
void tg_log_first_upkeep(struct tg_log *log)
{
    log->upkeep.may_create = tg_log_beneath_ceiling(log, log->o.segment_bytes);
    upkeep_run(&log->upkeep.job);
    upkeep_done(&log->upkeep.job);
}
