/* Bad items become dead letters of their source, with a reason and a sentence that says where. */
#ifndef TG_INGEST_SET_ASIDE_H
#define TG_INGEST_SET_ASIDE_H

#include "ingest/item.h"

/* Puts it among the bad ones. reason: see item.h; what: the member, with its dot, or "". TG_ITEM_DONE, or
 * TG_NOMEM. */
TG_MUST_CHECK int tg_set_aside(struct tg_item *item, const char *reason, const char *what, const char *fmt,
                               ...) TG_PRINTF(4, 5);

/* The beginning of a value, cut between characters, for a message. */
struct tg_str tg_shown(struct tg_str json);

#endif
