/* One-shot timers in milliseconds. 0, or -1 when there is no memory for it. */
#ifndef TG_DELIVER_TIMER_H
#define TG_DELIVER_TIMER_H

#include <event2/event.h>
#include <stdint.h>
#include <sys/time.h>

static inline int tg_timer_arm(struct event *timer, int64_t ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    return event_add(timer, &tv);
}

#endif
