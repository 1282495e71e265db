/* Times as senders and partners write them. */
#ifndef TG_BASE_TIME_H
#define TG_BASE_TIME_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* ISO 8601 / RFC 3339: date and time with 'T', 't' or a space, fraction of any length (cut to ms), Z or an
 * offset
 * (+00:00, +0000, +00); without an offset UTC is meant; a date alone is midnight UTC. Days and months are
 * checked. All spans of time that fit years 0000 to 9999. False when it does not parse. */
bool tg_time_parse(struct tg_str text, int64_t *ms);

enum { TG_TIME_LEN = 24 }; /* "2026-01-02T03:04:05.678Z" */
/* ISO 8601 UTC with milliseconds into out (NUL-terminated). Years outside 0000 to 9999 are clamped. */
void tg_time_format(int64_t ms, char out[TG_TIME_LEN + 1]);

/* strftime-like in UTC with %Y %m %d %H %M %S %L (ms) %s (epoch seconds) %j %a %b %y %e %%; TG_INVALID for
 * other letters. */
TG_MUST_CHECK int tg_time_strftime(struct tg_buf *out, const char *format, int64_t ms);

/* HTTP dates (IMF-fixdate, RFC 850, asctime), as in Retry-After. */
bool tg_time_parse_http(struct tg_str text, int64_t *ms);

#endif
