/* An item's end in state and cursor: first the row is durable, then the cursor settles the event.
 *
 * The state cannot be written (full disk): the item stays in WRITING and is tried again, and the cursor does
 * not move. */
#ifndef TG_DELIVER_ITEM_WRITE_H
#define TG_DELIVER_ITEM_WRITE_H

#include "deliver/model.h"

#include <event2/util.h>

/* Begins the write that item->write names. Frees the item when it is done, or nothing has to be written. */
void tg_item_write(struct item *item);
void tg_item_settle(struct item *item);    /* the event is done with, durably; frees it */
void tg_item_give_back(struct item *item); /* as if it had never been taken up; frees it */
/* A timer's callback (the engine's `again`): writes that failed. */
void tg_items_write_again(evutil_socket_t fd, short what, void *engine);

#endif
