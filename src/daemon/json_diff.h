/* Differences of two JSON texts for a person: one line for each place. */
#ifndef TG_DAEMON_JSON_DIFF_H
#define TG_DAEMON_JSON_DIFF_H

#include "base/buf.h"

/* Adds lines such as `requests[1].query.amount: expected "76", got "75"`, at most `most`. Order of members
 * does not matter; {} and [] are the same, because a Lua table cannot tell them apart. Texts of several
 * lines differ by line: `requests[1].body line 2.amount: expected 76, got 75`. Returns how many there
 * are. Both texts are validated. */
unsigned tg_json_diff(struct tg_str expected, struct tg_str got, unsigned most, struct tg_buf *out);

#endif
