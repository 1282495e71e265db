/* Members of an item read as texts and times, leniently where the meaning is clear: numbers are ids too, and
 * times come in several forms. What cannot be read counts as missing. */
#ifndef TG_INGEST_ITEM_VALUES_H
#define TG_INGEST_ITEM_VALUES_H

#include "ingest/items.h"

/* The text of an id or name: strings decoded, of numbers the digits. Empty when `json` is, or is of another
 * type. *text points into it or into the arena of `items`, whose scratch is used. */
TG_MUST_CHECK int tg_item_text(struct tg_items *items, struct tg_str json, struct tg_str *text);

/* ms UTC or TG_NO_TIME. Of a number: epoch milliseconds, or seconds when too small for that. */
int64_t tg_item_time(struct tg_str json);
int64_t tg_item_time_of_text(struct tg_str text);

/* When the event happened by our clock: the client's is off by what lies between its sending and our
 * receiving; network time is small against that. sent_at and original may be TG_NO_TIME. */
int64_t tg_item_corrected_time(int64_t received_at, int64_t sent_at, int64_t original);

#endif
