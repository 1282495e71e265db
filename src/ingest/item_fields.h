/* The members of an item that its meaning depends on, found in one pass over it. */
#ifndef TG_INGEST_ITEM_FIELDS_H
#define TG_INGEST_ITEM_FIELDS_H

#include "base/json_cursor.h"

enum tg_field {
    TG_FIELD_TYPE,
    TG_FIELD_MESSAGE_ID,
    TG_FIELD_USER_ID,
    TG_FIELD_ANONYMOUS_ID,
    TG_FIELD_EVENT,
    TG_FIELD_NAME,
    TG_FIELD_GROUP_ID,
    TG_FIELD_PREVIOUS_ID,
    TG_FIELD_TIMESTAMP,
    TG_FIELD_ORIGINAL_TIMESTAMP,
    TG_FIELD_SENT_AT,
    TG_FIELD_RECEIVED_AT,
    TG_FIELD_CONTEXT,
    TG_FIELD_INTEGRATIONS,
    TG_FIELD_PROPERTIES,
    TG_FIELD_TRAITS,
    TG_FIELD_METADATA,
    TG_FIELDS, /* how many */
    TG_FIELD_NONE = TG_FIELDS
};

/* Reads the object on which the cursor stands into `field`, zeroed by the caller, and leaves the cursor
 * behind it. The last of equal members counts; null and "" are as good as missing, and leave an empty span.
 * The object's own span is returned. */
struct tg_str tg_item_fields(struct tg_cursor *c, struct tg_str field[TG_FIELDS]);

#endif
