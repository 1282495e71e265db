/* What the fixtures of a script touched, and what they did not:
 *
 *     handlers   event types that the script accepts
 *     settings   each was given, each that has a default was left out, enums and booleans had each value
 *     map        rows that filled their field; of a row with several paths each of them; defaults; what a row
 *                requires was missing
 *     reasons    words that stand in the script where an event is skipped, rejected, tried again or judged
 *
 * A row's name is where map was called and the field; paths are told apart by their place, because a script
 * may make rows of its settings. Rows of calls that never came to pass are not known: the handler is then
 * missing. Single-threaded. */
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
bool tg_coverage_is_on(const struct tg_coverage *c);
void tg_coverage_handler(struct tg_coverage *c, enum tg_event_type type);
/* A reason that an event, or the answer to a request, got; outcome: "skip", "reject", "retry", … */
void tg_coverage_reason(struct tg_coverage *c, const char *outcome, const char *reason);

/* One row of a call of map. */
struct tg_coverage_row {
    const char *where;
    unsigned row; /* from 1 */
    const char *to;
};
void tg_coverage_row(struct tg_coverage *c, const struct tg_coverage_row *row, bool filled);
/* A part of the row: place 1 is its first path. label: what is told of it, "from properties.total". */
enum { TG_COVERAGE_DEFAULT = 1000, TG_COVERAGE_REQUIRED };
void tg_coverage_part(struct tg_coverage *c, const struct tg_coverage_row *row, unsigned place,
                      const char *label, bool touched);

/* The settings object of a fixture (validated JSON text), beside the contract as tg_dest_describe gives it.
 */
void tg_coverage_settings(struct tg_coverage *c, struct tg_str contract, struct tg_str settings);
/* What there is to touch: the contract, and the text of the script's files. The first of each counts. */
void tg_coverage_contract(struct tg_coverage *c, struct tg_str contract);
void tg_coverage_source(struct tg_coverage *c, const char *file, struct tg_str text);

/* Adds one line `<indent>handler page`, `… setting mode = forward`, `… map script/init.lua:12: row 3
 * (amount)` for each thing that nothing touched; *n counts them. */
TG_MUST_CHECK int tg_coverage_report(const struct tg_coverage *c, const char *indent, struct tg_buf *out,
                                     unsigned *n);

#endif
