/* Whether an event is meant for a destination at all: its type, its source, the user's consent, and the
 * sender's integrations object. Pure. */
#ifndef TG_DELIVER_GATE_H
#define TG_DELIVER_GATE_H

#include "base/event.h"
#include "script/host.h"

/* What the configuration says of who may send what; lent. */
struct tg_gate_rules {
    char *const *sources; /* names; none: all */
    size_t n_sources;
    char *const *consent; /* categories; none: not asked */
    size_t n_consent;
};

/* NULL when it is, else the stable reason of the skip: source_not_selected, type_not_accepted, no_consent,
 * integration_off, bundled. *options: the integrations object's
 * entry for the destination when that is an object, else empty; lent from the event. */
const char *tg_gate(const struct tg_dest *dest, const struct tg_gate_rules *rules,
                    const struct tg_event *event, struct tg_str *options);

#endif
