/* The file of a set of cursors: two slots. A save writes the slot that does not hold the last good state and
 * syncs it; a crash or an error in between leaves the other one. A slot has room for every cursor with a full
 * window, so that no save needs more space than the file has, whatever the disk looks like; only a new
 * destination can make it grow (a new file, renamed into place).
 *
 * A save that fails leaves the good slot good: the next one writes the same bad slot again, all of it. */
#ifndef TG_SPOOL_CURSORS_FILE_H
#define TG_SPOOL_CURSORS_FILE_H

#include "spool/cursors_state.h"

/* Reads what there is into an empty set; no file is fine (c->fresh). Blocking. */
TG_MUST_CHECK int tg_cursors_read(struct tg_cursors *c, struct tg_err *err);
/* The present state into c->bytes, but for what the file decides (generation, slot size, checksum). Loop. */
TG_MUST_CHECK int tg_cursors_snapshot(struct tg_cursors *c);
/* c->bytes into the file, durably; c->err says why not. Helper thread, or while no save is under way. */
TG_MUST_CHECK int tg_cursors_write(struct tg_cursors *c);

#endif
