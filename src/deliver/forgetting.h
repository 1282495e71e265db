/* Following the tombstones of forgotten users (forgotten.h): somebody leaves one, every worker reads them,
 * lets go of what it has in hand of those users, and says so; when no log holds anything older, they are
 * buried. */
#ifndef TG_DELIVER_FORGETTING_H
#define TG_DELIVER_FORGETTING_H

#include "deliver/model.h"

/* Reads what there is. `e` must have its shared cells. */
TG_MUST_CHECK int tg_forgetting_begin(struct tg_engine *e, struct tg_err *err);
void tg_forgetting_end(struct tg_engine *e);
/* So many users more: their tombstones are durable. All workers follow, and a child removes the rows. */
void tg_forgetting_order(struct tg_engine *e, size_t users);
/* Before each turn. True: there were new ones, and rows may have gone from the state. */
bool tg_forgetting_follow(struct tg_engine *e);
/* Reads them now. Not TG_OK: those of before count on. */
int tg_forgetting_reload(struct tg_engine *e);
void tg_forgetting_keep(struct tg_engine *e); /* every minute */

#endif
