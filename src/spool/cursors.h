/* How far each destination has come in one partition: `low`, below which everything is settled, and the set
 * of settled sequences above it (a bounded window). Kept in a small preallocated file of two checksummed
 * slots overwritten in turn, because SQLite cannot commit on a full disk and the log must still drain there
 * (design section 6).
 *
 * Order of writes, by the caller: retry or dead-letter row durable, then tg_cursor_settle, then save, then
 * release. Loop thread. */
#ifndef TG_SPOOL_CURSORS_H
#define TG_SPOOL_CURSORS_H

#include "base/err.h"
#include "base/helper.h"
#include "spool/cursor.h"
#include "spool/io.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_cursors;

/* Reads <dir>/cursors (the first save makes it). Damage in both slots is an error that says what to do;
 * damage in one is not. */
TG_MUST_CHECK int tg_cursors_open(struct tg_io *io, const char *dir, struct tg_helper *helper,
                                  struct tg_cursors **out, struct tg_err *err);
void tg_cursors_close(struct tg_cursors **cursors); /* does not save: see tg_cursors_save_now */

/* The cursor of a destination, or NULL. */
struct tg_cursor *tg_cursors_find(struct tg_cursors *c, const char *destination);
/* A new one with everything below `low` counted as settled. Save before anything is accepted that the
 * destination must get: a crash forgets a cursor that was never saved. */
TG_MUST_CHECK int tg_cursors_add(struct tg_cursors *c, const char *destination, uint64_t low,
                                 struct tg_cursor **out, struct tg_err *err);
void tg_cursors_remove(struct tg_cursors *c, struct tg_cursor *cursor);
void tg_cursors_each(struct tg_cursors *c, void (*each)(void *arg, struct tg_cursor *cursor), void *arg);

/* The lowest low of all cursors as last *saved*, so that segments are never unlinked ahead of it; UINT64_MAX
 * when there is no cursor. */
uint64_t tg_cursors_saved_low(const struct tg_cursors *c);
/* Why the last save failed, for the person; to be asked in its callback. Lent until the next save. */
const char *tg_cursors_error(const struct tg_cursors *c);
/* The lowest number that no cursor knows anything of: for least_next_seq of the log. */
uint64_t tg_cursors_highest(const struct tg_cursors *c);
/* Whether there was no file yet. With a log that holds events this means that the cursors were lost or moved
 * away: then every destination begins at tg_log_first, so that no event is missed (some are delivered again).
 */
bool tg_cursors_fresh(const struct tg_cursors *c);

/* Writes the present state on the helper thread if anything changed; one save at a time, later changes go
 * into the next. `done` (may be NULL) on the loop's thread. */
void tg_cursors_save(struct tg_cursors *c, void (*done)(void *arg, int status), void *arg);
TG_MUST_CHECK int tg_cursors_save_now(struct tg_cursors *c, struct tg_err *err); /* blocking, at shutdown */

#endif
