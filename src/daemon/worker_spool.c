#include "daemon/worker_spool.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dedup_refill.h"

#include <sys/statvfs.h>
#include <time.h>

enum {
    LOCK_WAIT_MS = 15000,
    SIBLINGS_WAIT_MS = 10000,
    RESERVE_BYTES = 8 * 1024 * 1024,
    MIN_RESERVE = 64 * 1024,
    MIN_SEGMENT = 256 * 1024,
    MAX_SEGMENT = 64 * 1024 * 1024,
    MAX_PENDING = 64 * 1024 * 1024,
};

/* --- opening --- */

/* On a small or nearly full disk segments and reserve are small too, or nothing could ever be accepted. */
static uint64_t disk_share(const struct tg_worker_spool_options *o, uint64_t most, uint64_t least)
{
    struct tg_io *io = tg_io_system();
    uint64_t room = 0;
    if (io->free_bytes(io, o->config->spool.path, &room) != 0)
        return most;
    room /= 8 * (uint64_t)o->start->workers;
    return room < least ? least : room < most ? room : most;
}

static uint64_t segment_bytes(const struct tg_worker_spool_options *o)
{
    uint64_t share = o->config->spool.max_bytes / (8 * (uint64_t)o->start->workers);
    return disk_share(o, share < MAX_SEGMENT ? share : MAX_SEGMENT, MIN_SEGMENT);
}

/* Every quota is a share of spool.max_bytes: where that is more than there is, the disk is full before any of
 * them counts, and one partner that is away stops all of them. One worker says so. */
static void look_at_disk(const struct tg_worker_spool_options *o)
{
    struct statvfs v;
    uint64_t most = o->config->spool.max_bytes;
    if (o->start->slot != 0 || statvfs(o->config->spool.path, &v) != 0)
        return;
    uint64_t size = (uint64_t)v.f_blocks * v.f_frsize;
    if (size < most)
        tg_warn(
            "spool.max_bytes is more than the whole disk: lower it, so that quotas count before it is full",
            TG_FI("max_bytes", most), TG_FI("disk_bytes", size));
}

static int lock_partition(const char *spool_path, uint32_t number, struct tg_partition *p, struct tg_err *err)
{
    int64_t until = tg_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        int rc = tg_partition_open(spool_path, number, p, err);
        if (rc != TG_BUSY || tg_mono_ms() > until)
            return rc;
        const struct timespec pause = {0, 20 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
}

static int open_log(struct tg_worker_part *part, const struct tg_worker_spool_options *o, struct tg_err *err)
{
    uint64_t in_retries = 0, in_cursors = tg_cursors_highest(part->cursors);
    int rc = tg_state_highest_seq(o->state, part->lock.number, &in_retries, err);
    if (rc)
        return rc;
    const struct tg_log_options options = {
        .dir = part->lock.dir,
        .partition = part->lock.number,
        .epoch = part->lock.epoch,
        .segment_bytes = segment_bytes(o),
        .max_bytes = o->config->spool.max_bytes / o->start->workers,
        .reserve_bytes = part->lock.number == o->start->slot ? disk_share(o, RESERVE_BYTES, MIN_RESERVE) : 0,
        .sync = (enum tg_sync_mode)o->config->spool.sync,
        .sync_interval_ms = o->config->spool.sync_interval_ms,
        .max_pending_bytes = MAX_PENDING,
        .least_next_seq = in_retries + 1 > in_cursors ? in_retries + 1 : in_cursors,
        .io = tg_io_system(),
        .helper = o->helper,
        .base = o->base,
        .metrics = o->start->commons->metrics,
    };
    struct tg_log_found found;
    rc = tg_log_open(&options, &part->log, &found, err);
    part->unsynced = !rc && found.unsynced;
    if (!rc)
        tg_info("spool opened", TG_FI("partition", part->lock.number), TG_FI("segments", found.segments),
                TG_FI("events", found.records), TG_FI("damaged", found.damaged),
                TG_FI("torn_bytes", found.torn_bytes));
    return rc;
}

static int open_part(struct tg_worker_spool *s, const struct tg_worker_spool_options *o, uint32_t number,
                     struct tg_err *err)
{
    struct tg_worker_part *part = &s->parts[s->n];
    int rc = lock_partition(o->config->spool.path, number, &part->lock, err);
    if (rc)
        return rc;
    rc = tg_cursors_open(tg_io_system(), part->lock.dir, o->helper, &part->cursors, err);
    if (!rc)
        rc = open_log(part, o, err);
    if (rc) {
        tg_cursors_close(&part->cursors);
        tg_partition_close(&part->lock);
        return rc;
    }
    s->n++;
    return TG_OK;
}

int tg_worker_spool_open(struct tg_worker_spool *s, const struct tg_worker_spool_options *o,
                         struct tg_err *err)
{
    unsigned slot = o->start->slot, workers = o->start->workers;
    uint32_t *numbers = NULL;
    size_t n = 0;
    int rc = open_part(s, o, slot, err);
    look_at_disk(o);
    if (!rc)
        rc = tg_partition_list(o->config->spool.path, &numbers, &n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        bool orphan = numbers[i] >= workers && numbers[i] % workers == slot;
        if (orphan && s->n < TG_WORKER_PARTS)
            rc = open_part(s, o, numbers[i], err);
    }
    tg_free(numbers);
    return rc;
}

void tg_worker_spool_set_max(struct tg_worker_spool *s, const struct tg_worker_start *start,
                             const struct tg_config *config)
{
    for (size_t i = 0; i < s->n; i++)
        tg_log_set_max(s->parts[i].log, config->spool.max_bytes / start->workers);
}

/* --- closing --- */

static void close_part(struct tg_worker_part *part, unsigned workers)
{
    struct tg_err err = {0};
    bool remove = part->lock.number >= workers && part->drained;
    tg_log_close(&part->log);
    tg_cursors_close(&part->cursors);
    if (!remove)
        tg_partition_close(&part->lock);
    else if (tg_partition_remove(&part->lock, &err))
        tg_warn("drained partition not removed", TG_FS("reason", err.msg));
    else
        tg_info("partition drained and removed", TG_FI("partition", part->lock.number));
}

void tg_worker_spool_close(struct tg_worker_spool *s, const struct tg_worker_start *start)
{
    for (size_t i = 0; i < s->n; i++)
        close_part(&s->parts[i], start->workers);
    s->n = 0;
}

/* --- duplicates --- */

/* A repetition of what lies in a sibling's log may come to this door: so it stays shut until all have looked,
 * unless one of them takes too long, or all are to stop because it could not. */
static void await_siblings(const struct tg_worker_start *start)
{
    int64_t until = tg_mono_ms() + SIBLINGS_WAIT_MS;
    const struct tg_board *board = start->commons->board;
    for (unsigned i = 0; i < start->workers && tg_mono_ms() < until && !atomic_load(&board->stopping);) {
        const struct timespec pause = {0, 2 * 1000 * 1000};
        if (atomic_load(&board->rows[i].remembers))
            i++;
        else
            (void)nanosleep(&pause, NULL);
    }
}

void tg_worker_spool_remember(struct tg_worker_spool *s, const struct tg_worker_start *start,
                              const struct tg_config *config)
{
    if (!start->commons->dedup || config->dedup.window_ms == 0)
        return;
    uint64_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct tg_dedup_refill refill = {.log = s->parts[i].log,
                                               .set = start->commons->dedup,
                                               .since = start->dedup_since,
                                               .now = tg_wall_ms(),
                                               .most = config->dedup.max_entries};
        if (!s->parts[i].unsynced) /* else it may suppress nothing */
            n += tg_dedup_refill(&refill);
    }
    atomic_store(&start->commons->board->rows[start->slot].remembers, 1);
    tg_debug("messageIds of the log's end read", TG_FI("events", n));
    await_siblings(start);
}
