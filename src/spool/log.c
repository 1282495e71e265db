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

#include "base/digest.h"
#include "base/mem.h"
#include "spool/log_commit.h"
#include "spool/log_house.h"
#include "spool/log_state.h"
#include "spool/recovery.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

enum { GROUP_MAX = 1 << 30 };

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
    if (!tg_log_has_room(log, bytes)) {
        *why = tg_log_ceiling_text;
        return TG_FULL;
    }
    return TG_OK;
}

int tg_log_can_append(const struct tg_log *log, size_t bytes, const char **why)
{
    const char *ignored;
    return can_take(log, bytes, why ? why : &ignored);
}

/* --- appending --- */

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

void tg_log_set_max(struct tg_log *log, uint64_t max_bytes)
{
    log->o.max_bytes = max_bytes;
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

void tg_log_on_synced(struct tg_log *log, void (*fn)(void *arg), void *arg)
{
    log->synced = fn;
    log->synced_arg = arg;
}

/* --- opening and closing --- */

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
    log->kick = event_new(log->o.base, -1, 0, tg_log_on_kick, log);
    log->probe = event_new(log->o.base, -1, 0, tg_log_on_probe, log);
    log->ticker = event_new(log->o.base, -1, EV_PERSIST, tg_log_on_tick, log);
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
    tg_log_first_upkeep(log);
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
    tg_log_fail_group(log, &log->filling, TG_CLOSED, "the spool is being closed");
    tg_writer_fini(&log->writer);
    free_log(log);
}
