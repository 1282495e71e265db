#include "deliver/rest.h"

enum { FREE_MS = 4, REST_MAX_MS = 60000, SUSPECT_CALLS = 256 };

void tg_rest_watch(struct tg_rest *rest)
{
    rest->suspect = SUSPECT_CALLS;
}

int64_t tg_rest_begin(struct tg_rest *rest, int64_t over_us, int64_t now)
{
    int64_t ms = over_us / 1000, longer = ms > FREE_MS ? ms - FREE_MS : 0;
    int64_t length = rest->suspect ? ms + 8 * longer * longer : ms;
    length = length < REST_MAX_MS ? length : REST_MAX_MS;
    rest->until = now + length;
    rest->sure = rest->suspect > 0;
    rest->quiet_ms = ms;
    tg_rest_watch(rest);
    return length;
}

int64_t tg_rest_ends(const struct tg_rest *rest, int64_t others_at)
{
    int64_t quiet = others_at ? others_at + rest->quiet_ms : 0;
    return quiet < rest->until ? quiet : rest->until;
}
