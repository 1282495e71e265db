/* An item learns that it has failed; what follows from that is item_end's. */
#ifndef TG_DELIVER_ITEM_FAIL_H
#define TG_DELIVER_ITEM_FAIL_H

#include "deliver/model.h"

/* The first failure counts; a park goes before a reject, a reject before a retry. */
void tg_item_fail(struct item *item, enum tg_outcome outcome, const char *reason, const char *message,
                  int status);

#endif
