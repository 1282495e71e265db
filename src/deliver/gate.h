/* Whether an event is meant for a destination at all: its type, its source, and the sender's integrations
 * object. Pure. */
#ifndef TG_DELIVER_GATE_H
#define TG_DELIVER_GATE_H

#include "base/event.h"
#include "script/host.h"

/* NULL when it is, else the stable reason of the skip: source_not_selected, type_not_accepted,
 * integration_off, bundled. `sources`: names, or n_sources 0 for all. *options: the integrations object's
 * entry for the destination when that is an object, else empty; lent from the event. */
const char *tg_gate(const struct tg_dest *dest, char *const *sources, size_t n_sources,
                    const struct tg_event *event, struct tg_str *options);

#endif
