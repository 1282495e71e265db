/* The log: group commit, and the house-keeping round it.
 *
 * Two groups of records: one gathers on the loop, one flies on the helper thread (one write, one sync). The
 * first append of a turn of the loop activates an event that runs when the turn's other events have run, so
 * all that arrives in one turn goes together; while a commit is under way, what arrives waits for the next.
 * When a commit returns, the next is given before the callbacks run, so that disk and loop work at the same
 * time.
 *
 *     append -> filling -> (kick, or the commit before it is done) -> flying -> helper: write, sync ->
 * callbacks, readers
 *
 * How it fails. A write or sync that fails ends the segment (spool/writer.c); the group's callbacks get the
 * code; its records have taken their numbers with them, so that the next group begins a new segment above
 * them. Then, and on a full disk, the log is closed for appends until the helper has made a new spare segment
 * and restored the reserve: tried at once after an I/O error, then every second, and whenever a segment has
 * been removed. Reading and releasing go on meanwhile.
 *
 * The writer belongs to whatever job runs; the loop sees it only as the copy that each job leaves in its
 * `outcome`. */
#include "spool/log.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "spool/log_internal.h"
#include "spool/recovery.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_S = 1, KEEP_GROUP = 1 << 20, GROUP_MAX = 1 << 30 };

static const char ceiling_text[] = "the spool has reached its ceiling (spool.max_bytes)";

static void start_commit(struct tg_log *log);
static void keep_house(struct tg_log *log, bool now);

/* --- state
 * ------------------------------------------------------------------------------------------------------------
 */

static void show_metrics(struct tg_log *log)
{
    tg_gauge(log->m.bytes, (int64_t)tg_log_bytes(log));
    tg_gauge(log->m.segments, (int64_t)log->segments.n);
    tg_gauge(log->m.closed, log->closed != TG_OK);
}

static void close_for(struct tg_log *log, int status, const char *why)
{
    if (!log->closed)
        tg_error("spool: nothing is accepted until the disk takes it again", TG_FS("folder", log->dir),
                 TG_FS("error", why));
    log->closed = status;
    (void)snprintf(log->why, sizeof log->why, "%s", why);
    struct timeval soon = {PROBE_S, 0};
    (void)event_add(log->probe, &soon);
    show_metrics(log);
}

static void reopen(struct tg_log *log)
{
    if (log->closed)
        tg_info("spool: accepting again", TG_FS("folder", log->dir));
    log->closed = TG_OK;
    (void)event_del(log->probe);
    show_metrics(log);
}

static bool beneath_ceiling(const struct tg_log *log, uint64_t more)
{
    uint64_t have = tg_log_bytes(log);
    return have <= log->o.max_bytes && more <= log->o.max_bytes - have;
}

/* Whether `bytes` more than what is pending will find a segment. */
static bool has_room(const struct tg_log *log, uint64_t bytes)
{
    uint64_t need = log->pending + bytes, next = log->spare_size;
    if (need <= log->room)
        return true;
    if (!next && (log->upkeep.running || beneath_ceiling(log, log->o.segment_bytes)))
        next = log->o.segment_bytes;
    if (!next)
        return false;
    return need + TG_SEGMENT_HEADER <= log->room + next || beneath_ceiling(log, need + TG_SEGMENT_HEADER);
}

static int can_take(const struct tg_log *log, uint64_t bytes, const char **why)
{
    *why = "";
    if (log->closing) {
        *why = "the spool is being closed";
        return TG_CLOSED;
    }
    if (log->closed) {
        *why = log->why;
        return log->closed;
    }
    if (log->pending && log->pending + bytes > log->o.max_pending_bytes) {
        *why = "too many events wait for the disk";
        return TG_BUSY;
    }
    if (!has_room(log, bytes)) {
        *why = ceiling_text;
        return TG_FULL;
    }
    return TG_OK;
}

int tg_log_can_append(const struct tg_log *log, size_t bytes, const char **why)
{
    const char *ignored;
    return can_take(log, bytes, why ? why : &ignored);
}

/* --- jobs
 * -------------------------------------------------------------------------------------------------------------
 */

static void look_at_writer(struct task *t)
{
    const struct tg_writer *w = &t->log->writer;
    t->outcome.open_first = w->fd >= 0 ? w->first_seq : 0;
    t->outcome.at = w->at;
    t->outcome.size = w->size;
    t->outcome.spare_size = w->spare_size;
    t->outcome.reserve = w->reserve;
}

static void give(struct task *t, void (*run)(struct tg_job *), void (*done)(struct tg_job *))
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
static struct tg_log *absorb(struct task *t)
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

/* --- house-keeping: the spare segment, the reserve
 * --------------------------------------------------------------------- */

static void upkeep_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_writer *w = &t->log->writer;
    bool had_reserve = w->reserve;
    int rc = tg_writer_reserve(w, &t->outcome.err);
    if (rc == TG_OK && t->may_create)
        rc = tg_writer_prepare(w, 0, &t->outcome.err);
    if (rc == TG_FULL)
        tg_writer_free_reserve(w); /* for the rows of the state, which let the log drain */
    else if (rc && !had_reserve)
        tg_writer_free_reserve(w);
    t->outcome.status = rc;
    look_at_writer(t);
}

static void upkeep_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = absorb(t);
    if (t->outcome.status)
        close_for(log, t->outcome.status == TG_FULL ? TG_FULL : TG_IO, t->outcome.err.msg);
    else
        reopen(log);
    bool again = t->wanted;
    t->wanted = false;
    keep_house(log, again);
}

/* Gives the helper what there is to restore. While the log is closed only when `now`: the probe decides the
 * pace. */
static void keep_house(struct tg_log *log, bool now)
{
    bool spare = !log->spare_size && beneath_ceiling(log, log->o.segment_bytes);
    bool reserve = log->o.reserve_bytes && !log->reserve;
    if (log->closing || !(log->closed ? now : spare || reserve))
        return;
    if (log->upkeep.running) {
        log->upkeep.wanted |= now;
        return;
    }
    log->upkeep.may_create = spare;
    give(&log->upkeep, upkeep_run, upkeep_done);
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    keep_house(arg, true);
}

static void freeing_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    tg_writer_free_reserve(&t->log->writer);
    look_at_writer(t);
}

static void freeing_done(struct tg_job *job)
{
    struct tg_log *log = absorb((struct task *)job);
    close_for(log, TG_FULL, "the disk is full"); /* an upkeep that was under way may have opened it */
}

void tg_log_free_reserve(struct tg_log *log)
{
    close_for(log, TG_FULL, "the disk is full");
    if (!log->freeing.running)
        give(&log->freeing, freeing_run, freeing_done);
}

/* --- commits
 * ------------------------------------------------------------------------------------------------------------
 */

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

static void fail_group(struct tg_log *log, struct group *g, int status, const char *why)
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
    look_at_writer(t);
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
                       log->closed ? log->why : ceiling_text);
    int status = o->status == TG_FULL ? TG_FULL : TG_IO;
    bool first = log->closed == TG_OK;
    close_for(log, status, o->err.msg);
    if (status == TG_IO && first)
        keep_house(log, true);
    return status;
}

static void commit_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = absorb(t);
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
    start_commit(log);
    keep_house(log, false);
    show_metrics(log);
    tell(waiters, n, status, status ? err.msg : "");
    if (status == TG_OK && log->synced)
        log->synced(log->synced_arg);
}

static void start_commit(struct tg_log *log)
{
    if (log->commit.running || !log->filling.n || log->closing)
        return;
    if (!log->fresh && !(log->fresh = tg_seg_new(0))) {
        fail_group(log, &log->filling, TG_NOMEM, "out of memory");
        return;
    }
    struct group g = log->flying;
    log->flying = log->filling;
    log->filling = g;
    log->commit.may_create = !log->closed && beneath_ceiling(log, log->o.segment_bytes);
    log->commit_began = tg_mono_us();
    give(&log->commit, commit_run, commit_done);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    start_commit(arg);
}

/* --- interval mode
 * ------------------------------------------------------------------------------------------------------ */

static void interval_run(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    t->outcome.status = tg_writer_sync(&t->log->writer, &t->outcome.err);
    look_at_writer(t);
}

static void interval_done(struct tg_job *job)
{
    struct task *t = (struct task *)job;
    struct tg_log *log = absorb(t);
    if (t->outcome.status)
        (void)commit_failed(log, &t->outcome);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct tg_log *log = arg;
    if (!log->interval.running && !log->closing)
        give(&log->interval, interval_run, interval_done);
}

/* --- appending
 * ----------------------------------------------------------------------------------------------------------
 */

static int total_bytes(const struct tg_record *records, size_t n, uint64_t *bytes, struct tg_err *err)
{
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (records[i].header.n > TG_RECORD_MAX || records[i].body.n > TG_RECORD_MAX - records[i].header.n)
            return tg_fail(err, TG_TOOBIG, "an event of %zu bytes: the spool takes %d at most",
                           records[i].header.n + records[i].body.n, TG_RECORD_MAX);
        *bytes += TG_RECORD_HEADER + records[i].header.n + records[i].body.n;
    }
    return TG_OK;
}

static void put_record(unsigned char *out, const struct tg_record *r, uint64_t seq)
{
    unsigned char *payload = out + TG_RECORD_HEADER;
    if (r->header.n)
        memcpy(payload, r->header.p, r->header.n);
    if (r->body.n)
        memcpy(payload + r->header.n, r->body.p, r->body.n);
    struct tg_record_header h = {
        .len = (uint32_t)(r->header.n + r->body.n),
        .seq = seq,
        .received_at = r->received_at,
        .flags = r->flags,
        .header_len = (uint32_t)r->header.n,
    };
    h.crc = tg_crc32c(0, payload, h.len);
    tg_record_header_put(&h, out);
}

static int room_for_waiter(struct group *g)
{
    if (g->n < g->cap)
        return TG_OK;
    size_t cap = g->cap ? 2 * g->cap : 16;
    struct waiter *waiters = tg_realloc(g->waiters, cap * sizeof *waiters);
    if (!waiters)
        return TG_NOMEM;
    g->waiters = waiters;
    g->cap = cap;
    return TG_OK;
}

int tg_log_append(struct tg_log *log, const struct tg_record *records, size_t n, tg_append_done *done,
                  void *arg, struct tg_err *err)
{
    uint64_t bytes;
    const char *why;
    struct group *g = &log->filling;
    assert(n > 0 && done);
    int rc = total_bytes(records, n, &bytes, err);
    if (rc)
        return rc;
    if (bytes > log->o.max_bytes || bytes > GROUP_MAX)
        return tg_fail(err, TG_TOOBIG, "%llu bytes at once: more than the spool can hold",
                       (unsigned long long)bytes);
    rc = can_take(log, bytes, &why);
    if (rc)
        return tg_fail(err, rc, "%s", why);
    if (room_for_waiter(g) != TG_OK || tg_buf_reserve(&g->bytes, bytes) != TG_OK)
        return tg_fail(err, TG_NOMEM, "out of memory for %zu events", n);
    if (!g->n)
        g->first_seq = log->next_seq;
    g->waiters[g->n++] = (struct waiter){done, arg, log->next_seq};
    for (size_t i = 0; i < n; i++) {
        put_record((unsigned char *)g->bytes.data + g->bytes.len, &records[i], log->next_seq++);
        g->bytes.len += TG_RECORD_HEADER + records[i].header.n + records[i].body.n;
    }
    g->next_seq = log->next_seq;
    log->pending += bytes;
    if (!log->commit.running && g->n == 1)
        event_active(log->kick, EV_TIMEOUT, 0);
    return TG_OK;
}

/* --- releasing
 * ----------------------------------------------------------------------------------------------------------
 */

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
    keep_house(log, true);
    show_metrics(log);
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
    look_at_writer(t);
}

static void seal_done(struct tg_job *job)
{
    struct tg_log *log = absorb((struct task *)job);
    tg_log_release(log, log->released);
}

/* The open segment goes too when all of it is settled and the log is stuck for want of room: nothing else
 * would free any. */
static bool stuck(const struct tg_log *log)
{
    return log->closed == TG_FULL || !has_room(log, log->o.segment_bytes / 8);
}

void tg_log_release(struct tg_log *log, uint64_t seq)
{
    struct tg_seglist *l = &log->segments;
    if (log->released < seq)
        log->released = seq;
    while (l->first && l->first->next_seq <= seq && !(log->open && l->first == l->last))
        remove_segment(log);
    if (log->open && l->first == l->last && l->first->next_seq <= seq && !log->pending &&
        !log->seal.running && !log->closing && stuck(log))
        give(&log->seal, seal_run, seal_done);
    show_metrics(log);
}

/* --- looking
 * ------------------------------------------------------------------------------------------------------------
 */

uint64_t tg_log_first(const struct tg_log *log)
{
    return log->segments.first ? log->segments.first->first_seq : log->last_seq + 1;
}

uint64_t tg_log_last(const struct tg_log *log)
{
    return log->last_seq;
}

uint64_t tg_log_bytes(const struct tg_log *log)
{
    return log->segments.disk + log->spare_size + log->removing;
}

uint64_t tg_log_bytes_from(const struct tg_log *log, uint64_t from)
{
    uint64_t bytes = 0;
    for (const struct tg_seg *seg = log->segments.first; seg; seg = seg->next) {
        uint64_t data = seg->end - TG_SEGMENT_HEADER, records = seg->next_seq - seg->first_seq;
        if (from <= seg->first_seq)
            bytes += data;
        else if (from < seg->next_seq)
            bytes += (uint64_t)((double)data / (double)records * (double)(seg->next_seq - from));
    }
    return bytes;
}

void tg_log_on_synced(struct tg_log *log, void (*fn)(void *arg), void *arg)
{
    log->synced = fn;
    log->synced_arg = arg;
}

/* --- opening and closing
 * -------------------------------------------------------------------------------------------------- */

static tg_cell *cell(struct tg_log *log, enum tg_metric_kind kind, const char *name, const char *help)
{
    static tg_cell nowhere;
    char labels[32];
    if (!log->o.metrics)
        return &nowhere;
    (void)snprintf(labels, sizeof labels, "partition=\"%u\"", log->o.partition);
    return tg_metric(log->o.metrics, kind, name, help, labels);
}

static void find_metrics(struct tg_log *log)
{
    log->m = (struct log_metrics){
        .damaged =
            cell(log, TG_COUNTER, "tidegate_spool_damaged_records_total", "Records lost to damaged files"),
        .records = cell(log, TG_COUNTER, "tidegate_spool_records_total", "Records made durable"),
        .syncs = cell(log, TG_COUNTER, "tidegate_spool_commits_total", "Group commits"),
        .sync_us =
            cell(log, TG_COUNTER, "tidegate_spool_commit_microseconds_total", "Time spent in group commits"),
        .sync_failures =
            cell(log, TG_COUNTER, "tidegate_spool_commit_failures_total", "Group commits that failed"),
        .bytes = cell(log, TG_GAUGE, "tidegate_spool_bytes", "Disk space of the segments"),
        .segments = cell(log, TG_GAUGE, "tidegate_spool_segments", "Segments on disk"),
        .closed = cell(log, TG_GAUGE, "tidegate_spool_closed", "1 while the disk takes no events"),
    };
}

static int make_events(struct tg_log *log, struct tg_err *err)
{
    log->kick = event_new(log->o.base, -1, 0, on_kick, log);
    log->probe = event_new(log->o.base, -1, 0, on_probe, log);
    log->ticker = event_new(log->o.base, -1, EV_PERSIST, on_tick, log);
    if (!log->kick || !log->probe || !log->ticker)
        return tg_fail(err, TG_NOMEM, "%s: out of memory", log->o.dir);
    int64_t ms = log->o.sync_interval_ms > 0 ? log->o.sync_interval_ms : 1;
    struct timeval every = {ms / 1000, ms % 1000 * 1000};
    if (log->o.sync == TG_SYNC_INTERVAL && event_add(log->ticker, &every) != 0)
        return tg_fail(err, TG_NOMEM, "%s: cannot add a timer", log->o.dir);
    return TG_OK;
}

static void free_log(struct tg_log *log)
{
    if (log->kick)
        event_free(log->kick);
    if (log->probe)
        event_free(log->probe);
    if (log->ticker)
        event_free(log->ticker);
    tg_seg_free(log->fresh);
    tg_seglist_free(&log->segments);
    tg_cache_fini(&log->cache);
    tg_buf_fini(&log->filling.bytes);
    tg_buf_fini(&log->flying.bytes);
    tg_free(log->filling.waiters);
    tg_free(log->flying.waiters);
    tg_free(log->dir);
    tg_free(log);
}

static void take_recovered(struct tg_log *log, const struct tg_recovered *r)
{
    log->segments = r->segments;
    log->writer.prev = r->prev;
    log->next_seq = r->next_seq;
    log->last_seq = log->segments.last ? log->segments.last->next_seq - 1 : log->next_seq - 1;
    tg_count(log->m.damaged, (int64_t)r->new_damage);
}

/* The reserve and the first segment, while waiting is still allowed. A full disk is no reason not to start:
 * what is there can be delivered. */
static void first_upkeep(struct tg_log *log)
{
    log->upkeep.may_create = beneath_ceiling(log, log->o.segment_bytes);
    upkeep_run(&log->upkeep.job);
    upkeep_done(&log->upkeep.job);
}

int tg_log_open(const struct tg_log_options *o, struct tg_log **out, struct tg_log_found *found,
                struct tg_err *err)
{
    struct tg_recovered r;
    struct tg_log *log = tg_calloc(1, sizeof *log);
    if (!log || !(log->dir = tg_strdup(o->dir))) {
        tg_free(log);
        return tg_fail(err, TG_NOMEM, "%s: out of memory", o->dir);
    }
    log->o = *o;
    log->o.dir = log->dir;
    log->commit.log = log->upkeep.log = log->interval.log = log->freeing.log = log->seal.log = log;
    tg_buf_init(&log->filling.bytes, GROUP_MAX);
    tg_buf_init(&log->flying.bytes, GROUP_MAX);
    tg_cache_init(&log->cache, o->io);
    find_metrics(log);
    int rc = make_events(log, err);
    if (rc)
        goto free_log;
    rc = tg_writer_init(&log->writer, &log->o, err);
    if (rc)
        goto free_log;
    rc = tg_recover(&log->o, &r, err);
    if (rc)
        goto fini_writer;
    take_recovered(log, &r);
    first_upkeep(log);
    if (found)
        *found = r.found;
    *out = log;
    return TG_OK;

fini_writer:
    tg_writer_fini(&log->writer);
free_log:
    free_log(log);
    return rc;
}

void tg_log_close(struct tg_log **logp)
{
    struct tg_log *log = *logp;
    if (!log)
        return;
    assert(!log->readers);
    *logp = NULL;
    log->closing = true;
    tg_helper_drain(log->o.helper);
    fail_group(log, &log->filling, TG_CLOSED, "the spool is being closed");
    tg_writer_fini(&log->writer);
    free_log(log);
}
