#include "daemon/hang.h"

#include <stdio.h>

enum { TICK_COUNTS_MS = 100 };

int64_t tg_hang_elapsed(int64_t *last, int64_t now)
{
    int64_t ms = *last && now > *last ? now - *last : 0;
    *last = now;
    return ms < TICK_COUNTS_MS ? ms : TICK_COUNTS_MS;
}

int64_t tg_hang_silence(struct tg_hang *h, uint64_t value, int64_t elapsed)
{
    h->silent_ms = h->seen == value ? h->silent_ms + elapsed : 0;
    h->seen = value;
    return h->silent_ms;
}

bool tg_hang_is_traced(int pid)
{
    char path[64], line[256];
    int tracer = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    if (file)
        (void)fclose(file);
    return tracer > 0;
}
