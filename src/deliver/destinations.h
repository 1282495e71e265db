/* The set of destinations, as the configuration has it: all that can fail is prepared for every one of them
 * before anything changes. */
#ifndef TG_DELIVER_DESTINATIONS_H
#define TG_DELIVER_DESTINATIONS_H

#include "config/config.h"
#include "deliver/engine.h"

/* A destination and what the configuration says of it. `dest` may be NULL when the configuration disables it.
 */
struct tg_engine_dest {
    struct tg_dest *dest;
    const struct tg_destination_config *config; /* copied where needed */
};

/* The set from now on, at the start and at each reload; between events. Takes every `dest`; those of before
 * are freed when their runs have ended. One that is new begins at the next event; one that is gone keeps its
 * cursor for 24 h. A parked one whose settings have changed resumes. On failure (TG_NOMEM) nothing has
 * changed and the dests are still the caller's. */
TG_MUST_CHECK int tg_engine_set_destinations(struct tg_engine *engine, const struct tg_engine_dest *dests,
                                             size_t n, int64_t generation, struct tg_err *err);

#endif
