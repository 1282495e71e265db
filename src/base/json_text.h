/* Text of JSON strings: escapes decoded. */
#ifndef TG_BASE_JSON_TEXT_H
#define TG_BASE_JSON_TEXT_H

#include "base/buf.h"

#include <stdbool.h>

/* Adds the text of a string value, escapes decoded, as UTF-8. TG_INVALID if value is not a string. */
TG_MUST_CHECK int tg_json_text(struct tg_str string, struct tg_buf *out);
/* The text of a string value without copying when it has no escapes: *out is set and true is returned. */
bool tg_json_plain(struct tg_str string, struct tg_str *out);

/* Whether a key span (with quotes, perhaps with escapes) is this name. */
bool tg_json_key_equals(struct tg_str key, struct tg_str name);
bool tg_json_key_is(struct tg_str key, const char *name);

#endif
