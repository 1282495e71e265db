/* A file, whole. */
#ifndef TG_BASE_FILE_H
#define TG_BASE_FILE_H

#include "base/err.h"

#include <stddef.h>

enum { TG_FILE_MAX = 16 * 1024 * 1024 }; /* of what people write: scripts, configurations, keys */

/* Reads at most TG_FILE_MAX bytes; *text is the caller's (tg_free), *len long, and a 0 behind that.
 * TG_TOOBIG, TG_NOMEM or what open and read say; err names the path. */
TG_MUST_CHECK int tg_file_read(const char *path, char **text, size_t *len, struct tg_err *err);

#endif
