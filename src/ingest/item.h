/* One item of a request: what it says of itself, checked. What is wrong with it is told by one of these
 * reasons, when no handler could make sense of it or when accepting it would do harm; it is set aside then:
 *
 *     not_an_object         the item is not a JSON object
 *     event_too_large       the item as sent is larger than the limit
 *     missing_type          an item of a batch without type
 *     invalid_type          a type that is none of ours
 *     delete_not_allowed    the source may not delete, or the request came from a browser, whose key is
 * public missing_event         track without an event name missing_user_id       neither userId nor
 * anonymousId; for alias and delete: no userId invalid_user_id       a user to be forgotten whose id has a
 * zero character missing_group_id      group without groupId missing_previous_id   alias without previousId
 *     invalid_message_id    messageId too long to serve as an idempotency key
 *     invalid_context, invalid_integrations, invalid_properties, invalid_traits
 *                           a value there that cannot be read as an object
 *
 * Ids of another type than string and number count as missing: an event with a good anonymousId is not lost
 * for a strange userId. An empty array is an empty object (PHP). */
#ifndef TG_INGEST_ITEM_H
#define TG_INGEST_ITEM_H

#include "ingest/item_fields.h"
#include "ingest/items.h"
#include "ingest/request.h"

struct tg_item {
    const struct tg_normalise_in *in;
    struct tg_items *items; /* where it ends up, and what has the memory for its texts */
    size_t index;           /* in the batch */
    struct tg_str field[TG_FIELDS];
    struct tg_event ev;
};

/* Results of a step beside TG_OK and the error codes: the item is done with. */
enum { TG_ITEM_DONE = 1 };

/* Begins an item. */
struct tg_item tg_item_of(const struct tg_normalise_in *in, struct tg_items *items, size_t index);

/* Reads the item on which the cursor stands and leaves the cursor behind it. TG_OK: item->ev has what the
 * item itself says; its timestamp is TG_NO_TIME until the envelope is known. TG_ITEM_DONE: it stands among
 * the bad ones, or was dropped. TG_NOMEM, TG_IO (no random numbers). */
TG_MUST_CHECK int tg_item_read(struct tg_item *item, struct tg_cursor *c);

#endif
