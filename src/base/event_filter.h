/* What a destination's filter says, as data, and what it does to an event. JSON text of an object:
 *
 *     sample   0 to 1: this share of events goes on, chosen by a hash of messageId, so that every try and
 *              every destination decides the same
 *     events   names of track events that go on; other types are not touched
 *     drop     paths of members that are removed: "properties.…", "traits.…" or "context.…"
 *     allow    paths of members of properties and traits that stay; everything else in the two goes
 *
 * A path names a member by its keys with dots between; what is inside goes or stays with it. Paths do not
 * lead into arrays. Pure; any thread. */
#ifndef TG_BASE_EVENT_FILTER_H
#define TG_BASE_EVENT_FILTER_H

#include "base/event.h"

/* Whether `spec` (validated JSON) is such an object: TG_INVALID and what is wrong. */
TG_MUST_CHECK int tg_filter_check(struct tg_str spec, struct tg_err *err);

/* spec: checked. *held: NULL when the event goes on, else the reason of the skip: "sampled" (not in the
 * share) or "filtered". When it goes on, *out is the event as the destination sees it, with spans of `ev` and
 * of `bytes`, which must outlive it. */
TG_MUST_CHECK int tg_filter_apply(struct tg_str spec, const struct tg_event *ev, struct tg_buf *bytes,
                                  struct tg_event *out, const char **held);

#endif
