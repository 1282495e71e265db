/* What becomes of a destination that has gone from the configuration: its cursor stays for 24 hours, in case
 * it comes back; then its backlog and its retry rows become dead letters (destination_removed) and the cursor
 * goes, so that the log can be released. Of a backlog above the ceiling the oldest goes before that, or it
 * would fill the log and stop ingest for the others. */
#ifndef TG_DELIVER_REAPER_H
#define TG_DELIVER_REAPER_H

#include "base/event.h"
#include "spool/cursors.h"
#include "spool/log.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_reaper;

enum { TG_REMOVED_KEEP_MS = 24 * 3600 * 1000 };

struct tg_reaper_options {
    struct tg_state *state;
    struct tg_log *log;
    struct tg_cursors *cursors;
    uint32_t partition;
    uint32_t worker, workers;
    uint64_t ceiling; /* of its backlog in this partition, bytes; 0: none */
    int64_t generation;
    bool (*hides)(void *arg, const struct tg_event *event); /* it must not be kept either */
    void (*counted)(void *arg, const char *destination);    /* one dead letter is durable */
    void *arg;
};

/* For one partition. Loop thread. */
TG_MUST_CHECK int tg_reaper_new(const struct tg_reaper_options *options, struct tg_reaper **out);
/* No operation may be under way (tg_helper_drain). */
void tg_reaper_free(struct tg_reaper **reaper);
/* A step: at `now` (ms UTC) takes up at most one removed cursor whose time is over and goes on with it, a
 * bounded number of events at a time. Call it every second or so. */
void tg_reaper_step(struct tg_reaper *reaper, int64_t now);
/* Whether a step would do more at once: what is above the ceiling should not wait for the next second. */
bool tg_reaper_hurries(const struct tg_reaper *reaper);
/* The destination is back: leave its cursor alone. */
void tg_reaper_spare(struct tg_reaper *reaper, const char *destination);

#endif
