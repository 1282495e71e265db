/* JSON objects laid over each other: what a batch's envelope lends to every item (context, integrations), and
 * members that the relay itself adds (context.ip, context.userAgent). Shallow: whole members, the item's own
 * win. */
#ifndef TG_INGEST_OVERLAY_H
#define TG_INGEST_OVERLAY_H

#include "base/err.h"
#include "base/json.h"
#include "ingest/arena.h"

#include <stdint.h>

struct tg_overlay_member;

/* The members that an envelope lends, indexed once per request so that a batch of many items costs one
 * look-up a key, whatever the sender chose as keys. */
struct tg_overlay {
    struct tg_str object;              /* as sent; empty: nothing is lent */
    struct tg_overlay_member *members; /* in the order sent, without earlier duplicates */
    struct tg_overlay_member **sorted; /* by key */
    size_t n;
    uint64_t round; /* of tg_overlay_apply, so that marks need no clearing */
};

/* object: validated JSON; anything but an object with members lends nothing. It must outlive the overlay,
 * whose memory is the arena's. TG_NOMEM. */
TG_MUST_CHECK int tg_overlay_init(struct tg_overlay *o, struct tg_str object, struct tg_arena *arena);

/* A member that is added unless the merged object has it with a value; null and "" count as no value and give
 * way. */
struct tg_extra {
    const char *name;
    struct tg_str json; /* its value */
};
enum { TG_EXTRAS_MAX = 8 };

/* Lays `own` (an object as text; empty: none) over the overlay and adds the extras. *merged is the resulting
 * object, in the arena or the envelope's own bytes; empty when `own` stands as it is. Key texts are decoded
 * before they are compared. At most max_bytes: TG_TOOBIG. */
TG_MUST_CHECK int tg_overlay_apply(struct tg_overlay *o, struct tg_str own, const struct tg_extra *extras,
                                   size_t n_extras, size_t max_bytes, struct tg_arena *arena,
                                   struct tg_str *merged);

#endif
