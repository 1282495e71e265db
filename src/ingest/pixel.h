/* An event in a query string (pixel tracking): base64 JSON in `data`, or flat parameters whose dots mean
 * nesting. */
#ifndef TG_INGEST_PIXEL_H
#define TG_INGEST_PIXEL_H

#include "base/buf.h"

enum { TG_PIXEL_MAX_PARAMETERS = 200, TG_PIXEL_MAX_DEPTH = 16 };

/* Adds the event's JSON text. `data` is decoded and not checked further; of flat parameters every value is a
 * string, the first of a name counts, and a name that is both a value and a parent keeps what came first.
 * TG_INVALID: neither, or not base64; TG_TOOBIG: too many parameters. */
TG_MUST_CHECK int tg_pixel_event(struct tg_buf *out, struct tg_str query);

#endif
