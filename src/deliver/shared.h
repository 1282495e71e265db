/* Small numbers that all workers see: what is left of a rate, until when a destination is paused, whether it
 * is parked.
 *
 * A fixed table of named cells in memory that children inherit: make it before the fork. Finding a cell costs
 * a hash; keep the pointer. A cell is never given back, so names are destinations and accounts, not events.
 */
#ifndef TG_DELIVER_SHARED_H
#define TG_DELIVER_SHARED_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct tg_shared;
typedef _Atomic int64_t tg_shared_cell;

struct tg_shared *tg_shared_new(void); /* NULL when out of memory */
/* One whose cells outlive the process, for times on the monotonic clock: in a file, made when it is not
 * there, which only this process and its children may have open. After a start of the machine, and where the
 * file is not what was written, all cells are 0; so are those whose time has passed. NULL: see err. */
struct tg_shared *tg_shared_open(const char *path, int64_t now, struct tg_err *err);
void tg_shared_free(struct tg_shared **s); /* the file stays */
/* The cell of that kind and name, 0 at first. When the table is full, NULL. */
tg_shared_cell *tg_shared_cell_of(struct tg_shared *s, const char *kind, struct tg_str name);

#endif
