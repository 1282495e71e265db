#include "deliver/told.h"

#include "base/clock.h"
#include "base/digest.h"

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

static uint64_t hash_of(const char *reason)
{
    static const unsigned char key[16] = "tidegate.told";
    return tg_siphash(key, reason, strlen(reason));
}

/* Nothing has been told of it for so long that nobody misses it; what it has left out yet has to be told. */
static bool is_free(const struct tg_told *told, int64_t now)
{
    return !told->at || (now - told->at >= TG_TOLD_EVERY_MS && !told->suppressed);
}

struct tg_told *tg_told_of(struct tg_told_reasons *reasons, const char *reason, int64_t now)
{
    uint64_t hash = hash_of(reason);
    size_t at = TG_TOLD_REASONS - 1;
    for (size_t i = TG_TOLD_REASONS; i-- > 0;) {
        if (reasons->v[i].told.at && reasons->v[i].hash == hash)
            return &reasons->v[i].told;
        if (is_free(&reasons->v[i].told, now))
            at = i;
    }
    if (is_free(&reasons->v[at].told, now))
        reasons->v[at].told = (struct tg_told){0};
    reasons->v[at].hash = hash;
    return &reasons->v[at].told;
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
