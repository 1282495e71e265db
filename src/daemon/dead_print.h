/* Dead letters as text: a JSON object a line for programs, a table or a page for people. */
#ifndef TG_DAEMON_DEAD_PRINT_H
#define TG_DAEMON_DEAD_PRINT_H

#include "base/buf.h"
#include "spool/state.h"

/* {id, destination, messageId, source, reason, status, attempts, first, last, event} and a line feed. `whole`
 * adds type, name, message, receivedAt, generation, request and response. */
TG_MUST_CHECK int tg_dead_print_json(struct tg_buf *out, const struct tg_dead *d, bool whole);

/* The table's head and a row of it. Bytes that a terminal could take for commands are shown as '?'. */
TG_MUST_CHECK int tg_dead_print_head(struct tg_buf *out);
TG_MUST_CHECK int tg_dead_print_row(struct tg_buf *out, const struct tg_dead *d);
/* Everything that is known, on many lines. */
TG_MUST_CHECK int tg_dead_print_page(struct tg_buf *out, const struct tg_dead *d);

#endif
