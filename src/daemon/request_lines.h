/* A request as lines that can be compared: one for each part of it, in an order of their own. */
#ifndef TG_DAEMON_REQUEST_LINES_H
#define TG_DAEMON_REQUEST_LINES_H

#include "base/buf.h"

/* Adds `POST https://host/path`, then `header NAME: value`, `query a = 1`, and of the body `form a = 1`,
 * `json items[1].sku = "x"` or `body …`, each kind sorted where its order says nothing. From the text that a
 * dead letter keeps of its last request. */
TG_MUST_CHECK int tg_request_lines_of_text(struct tg_str text, struct tg_buf *out);
/* The same from a request as tg_render shows it (validated JSON). */
TG_MUST_CHECK int tg_request_lines_of_json(struct tg_str request, struct tg_buf *out);

/* What changes from one text to the other, line by line: adds each line behind "  ", "- " or "+ ". */
TG_MUST_CHECK int tg_line_diff(struct tg_str before, struct tg_str after, struct tg_buf *out);

#endif
