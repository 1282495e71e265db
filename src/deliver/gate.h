/* Whether an event is meant for a destination at all: its type, its source, the user's consent, and the
 * sender's integrations object; then what the destination's filter leaves of it. */
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

/* Pure. NULL when it is, else the stable reason of the skip: source_not_selected, type_not_accepted,
 * no_consent, integration_off, bundled. *options: the integrations object's entry for the destination when
 * that is an object, else empty; lent from the event. */
const char *tg_gate(const struct tg_dest *dest, const struct tg_gate_rules *rules,
                    const struct tg_event *event, struct tg_str *options);

/* What the filter says: a table (JSON text, or NULL) or the script host's function, which may give one; both
 * mean the same. *held: NULL when the event goes on, else the reason of the skip, filtered or sampled; *shown
 * is what is left of an event that goes on, with spans of `event` and of `bytes`, which must outlive it. seq:
 * for the watchdog. Codes are those of tg_dest_filter, and TG_INVALID for a table that is none. */
TG_MUST_CHECK int tg_gate_filter(struct tg_dest *dest, const char *table, const struct tg_event *event,
                                 uint64_t seq, struct tg_buf *bytes, struct tg_event *shown,
                                 const char **held, struct tg_err *err);

#endif
