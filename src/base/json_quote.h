/* Writing JSON strings. */
#ifndef TG_BASE_JSON_QUOTE_H
#define TG_BASE_JSON_QUOTE_H

#include "base/buf.h"

#include <stdbool.h>

/* Adds `text` as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. Escapes only what must be, and
 * U+007F and U+2028/9 not. */
TG_MUST_CHECK int tg_json_quote(struct tg_buf *out, struct tg_str text);
/* The same, but invalid UTF-8 is TG_INVALID. */
TG_MUST_CHECK int tg_json_quote_exact(struct tg_buf *out, struct tg_str text);

/* Whether text stands for itself between quotes: ASCII without control characters, quotes and backslashes. */
bool tg_json_is_plain(struct tg_str text);
#endif
