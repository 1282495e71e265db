/* Broken forms of a JSON text, the same for the same seed: members go missing, values become others. */
#ifndef TG_DAEMON_MUTATE_H
#define TG_DAEMON_MUTATE_H

#include "base/buf.h"

/* Adds a broken form of `json` (validated). Top-level "type" stays. */
TG_MUST_CHECK int tg_mutate_json(struct tg_str json, unsigned seed, struct tg_buf *out);
/* Adds `json` with one of its texts made 300 kB long: longer than what a script may match patterns on, and in
 * shapes that are slow to match. A form for each seed; nothing else changes, and nothing at all where there
 * is no text but the top-level "type" and "messageId". */
TG_MUST_CHECK int tg_mutate_long(struct tg_str json, unsigned seed, struct tg_buf *out);

#endif
