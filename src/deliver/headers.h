/* A response's header lines as the partner sent them, split into names and values. */
#ifndef TG_DELIVER_HEADERS_H
#define TG_DELIVER_HEADERS_H

#include "base/buf.h"
#include "script/host.h"

#include <stddef.h>

/* Splits `raw` (lines that end with LF) in place: names and values are NUL-terminated strings in it, values
 * without white space around them. Lines without a colon are left out. Returns how many there are; *out is
 * freed by the caller with tg_free, and NULL with 0 when there are no lines or no memory. */
size_t tg_headers_split(struct tg_buf *raw, struct tg_header **out);

#endif
