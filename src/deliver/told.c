#include "deliver/told.h"

#include "base/clock.h"

enum { JUMP_MS = 60000 };

bool tg_told_due(struct tg_told *told, int64_t now)
{
    if (told->at && now - told->at < TG_TOLD_EVERY_MS) {
        told->suppressed++;
        return false;
    }
    told->at = now;
    return true;
}

void tg_told_line(struct tg_told *told, const char *msg, const struct tg_field *fields)
{
    struct tg_field said[TG_TOLD_FIELDS + 2] = {{.key = NULL}}; /* one for the count, one for the end */
    size_t n = 0;
    for (; fields->key && n < TG_TOLD_FIELDS; fields++)
        if (fields->kind != TG_FIELD_STR || fields->s.n)
            said[n++] = *fields;
    if (told->suppressed)
        said[n++] = (struct tg_field)TG_FI("suppressed", told->suppressed);
    told->suppressed = 0;
    tg_log_fields(TG_LOG_WARN, msg, said);
}

void tg_told_clock(int64_t *apart, int64_t wall_ms, int64_t mono_ms)
{
    int64_t now = wall_ms - mono_ms, by = now - *apart;
    if (*apart && (by > JUMP_MS || by < -JUMP_MS))
        tg_warn("the wall clock has jumped", TG_FI("by_ms", by));
    *apart = now;
}
