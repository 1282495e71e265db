/* An item's run: through the gates, the filter and the script; what the script asks for becomes deliveries.
 */
#ifndef TG_DELIVER_ITEM_RUN_H
#define TG_DELIVER_ITEM_RUN_H

#include "deliver/model.h"

void tg_item_start(struct item *item);

#endif
