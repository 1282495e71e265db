#include "deliver/part.h"

#include "base/clock.h"
#include "ingest/dedup.h"

enum { SAVE_AFTER = 4096, ENOUGH_ROOM = 4 };

/* Where more than a quarter of the log's share is used, or nothing can be appended, room comes first: without
 * messageIds something may be delivered twice, without room nothing is taken at all. */
static bool has_room(const struct part *part)
{
    const struct tg_engine_options *o = &part->engine->o;
    uint64_t share = o->spool_bytes / (o->workers ? o->workers : 1);
    return tg_log_bytes_from(part->log, 0) <= share / ENOUGH_ROOM &&
           tg_log_can_append(part->log, 1, NULL) == TG_OK;
}

/* All below `low` is settled for good. But a repetition of it may come after a kill, and until the messageIds
 * are on disk they are made again from the log. */
static void release(struct part *part, uint64_t low)
{
    struct tg_dedup *dedup = part->engine->o.dedup;
    if (!dedup || !has_room(part)) {
        tg_log_release(part->log, low);
        return;
    }
    if (!tg_dedup_is_kept(dedup, part->mark))
        return;
    tg_log_release(part->log, part->held);
    if (low > part->held) {
        part->held = low;
        part->mark = tg_dedup_mark(dedup);
    }
}

static void on_saved(void *arg, int status)
{
    struct part *part = arg;
    part->saving = false;
    if (status != TG_OK) { /* tried again with the next tick */
        if (tg_told_due(&part->told, tg_mono_ms()))
            tg_told_warn(&part->told,
                         "cursors could not be saved: events may be delivered twice after a restart",
                         TG_FI("partition", part->number), TG_FS("error", tg_cursors_error(part->cursors)));
        return;
    }
    uint64_t low = tg_cursors_saved_low(part->cursors), end = tg_log_last(part->log) + 1;
    release(part, low < end ? low : end);
}

void tg_part_save(struct part *part)
{
    if (part->saving)
        return;
    part->saving = true;
    part->settled = 0;
    tg_cursors_save(part->cursors, on_saved, part);
}

void tg_part_settled(struct part *part)
{
    if (++part->settled >= SAVE_AFTER)
        tg_part_save(part);
}

void tg_part_save_last(struct part *part)
{
    struct tg_err err = {0};
    if (tg_cursors_save_now(part->cursors, &err) != TG_OK)
        tg_warn("cursors could not be saved: events may be delivered twice after the restart",
                TG_FI("partition", part->number), TG_FS("error", err.msg));
}
