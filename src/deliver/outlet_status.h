/* What a destination looks like from outside: its gauges, and its object in the status. */
#ifndef TG_DELIVER_OUTLET_STATUS_H
#define TG_DELIVER_OUTLET_STATUS_H

#include "deliver/model.h"

void tg_outlet_show(struct outlet *o); /* its gauges, and its oldest_age */
TG_MUST_CHECK int tg_outlet_status(struct outlet *o, struct tg_buf *json);

/* Of a cursor whose destination is not configured any more: what waits for it here and until when. Nothing is
 * appended where nothing waits. `first`: whether it would be the first of a list. */
TG_MUST_CHECK int tg_removed_status(const struct part *part, struct tg_cursor *cursor, bool *first,
                                    struct tg_buf *json);

#endif
