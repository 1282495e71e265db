/* What the fixtures of a script touched, and what they did not: event types with a handler, settings, and
 * rows of `map`. A row counts as touched when it has filled its field from one of its paths; a row's name is
 * where map was called and the field. Rows of calls that never came to pass are not known: the handler is
 * then missing. Single-threaded. */
#ifndef TG_SCRIPT_COVERAGE_H
#define TG_SCRIPT_COVERAGE_H

#include "base/buf.h"
#include "base/event.h"

#include <stdbool.h>

struct tg_coverage;

TG_MUST_CHECK int tg_coverage_new(struct tg_coverage **out);
void tg_coverage_free(struct tg_coverage **coverage);

/* Nothing is noted while it is off, as it is at first: broken forms of events prove nothing. */
void tg_coverage_on(struct tg_coverage *c, bool on);
void tg_coverage_row(struct tg_coverage *c, const char *where, unsigned row, const char *to, bool filled);
void tg_coverage_handler(struct tg_coverage *c, enum tg_event_type type);
/* The names in a settings object (validated JSON text). */
void tg_coverage_settings(struct tg_coverage *c, struct tg_str settings);

/* What there is to touch: the contract as tg_dest_describe gives it. The first one counts. */
void tg_coverage_contract(struct tg_coverage *c, struct tg_str json);

/* Adds one line `<indent>handler page`, `… setting baseUrl`, `… map script/init.lua:12: row 3 (amount)` for
 * each thing that nothing touched; *n counts them. */
TG_MUST_CHECK int tg_coverage_report(const struct tg_coverage *c, const char *indent, struct tg_buf *out,
                                     unsigned *n);

#endif
