#include "deliver/part.h"

#include "base/clock.h"

enum { SAVE_AFTER = 4096 };

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
    tg_log_release(part->log, low < end ? low : end);
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
