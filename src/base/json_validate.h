/* Whether text is JSON. */
#ifndef TG_BASE_JSON_VALIDATE_H
#define TG_BASE_JSON_VALIDATE_H

#include "base/err.h"
#include "base/str.h"

enum { TG_JSON_MAX_DEPTH = 128 };

/* One complete value with optional white space around it. On success *value (if not NULL) is the value
 * without that white space. TG_INVALID with a message that names the byte offset; TG_TOOBIG when deeper than
 * max_depth (1023 at the most; a scalar has depth 0, [] has depth 1). A number's size is not looked at: 1e400
 * is valid. */
TG_MUST_CHECK int tg_json_validate(struct tg_str text, unsigned max_depth, struct tg_str *value,
                                   struct tg_err *err);

#endif
