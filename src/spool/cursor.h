/* One destination's place in one partition: `low`, below which everything is settled, and a bounded window of
 * settled sequences above it. It belongs to a set (cursors.h). Loop thread. */
#ifndef TG_SPOOL_CURSOR_H
#define TG_SPOOL_CURSOR_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_cursors;
struct tg_cursor; /* lives as long as its set or until removed */

enum { TG_CURSOR_WINDOW = 8192 }; /* most sequences that may be settled above low */

const char *tg_cursor_name(const struct tg_cursor *cursor);
uint64_t tg_cursor_low(const struct tg_cursor *cursor);
bool tg_cursor_settled(const struct tg_cursor *cursor, uint64_t seq);
/* How many sequences above low are settled. */
uint64_t tg_cursor_settled_above(const struct tg_cursor *cursor);
/* Room in the window: sequences below this may be taken up. */
uint64_t tg_cursor_limit(const struct tg_cursor *cursor);
/* Settling twice is fine. The caller never settles at or above the limit. */
void tg_cursor_settle(struct tg_cursor *cursor, uint64_t seq);
/* Everything below `upto` counts as settled (gaps of damaged records, dropped segments). */
void tg_cursor_settle_below(struct tg_cursor *cursor, uint64_t upto);
/* When a destination went from the configuration, ms UTC; 0 while it is there. Saved. */
void tg_cursor_set_removed_at(struct tg_cursor *cursor, int64_t ms);
int64_t tg_cursor_removed_at(const struct tg_cursor *cursor);

/* --- for the set itself --- */
/* At the set's end. NULL: no memory. */
struct tg_cursor *tg_cursor_new(struct tg_cursors *c, struct tg_str name, uint64_t low);
/* The window as it stands in the file: bytes up to the last bit that is set, counted from low. */
size_t tg_cursor_window_bytes(const struct tg_cursor *c);
void tg_cursor_put_window(const struct tg_cursor *c, unsigned char *out, size_t n);
void tg_cursor_get_window(struct tg_cursor *c, const unsigned char *in, size_t n);

#endif
