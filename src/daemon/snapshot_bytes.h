/* A snapshot to and from bytes, and its digest. */
#ifndef TG_DAEMON_SNAPSHOT_BYTES_H
#define TG_DAEMON_SNAPSHOT_BYTES_H

#include "daemon/snapshot.h"

enum { TG_SNAPSHOT_MAX = 256 * 1024 * 1024 }; /* bytes */

/* What is read is a copy of everything. TG_CORRUPT: not whole, not a snapshot. */
TG_MUST_CHECK int tg_snapshot_write(const struct tg_snapshot *s, struct tg_buf *out);
TG_MUST_CHECK int tg_snapshot_parse(struct tg_str bytes, struct tg_snapshot **out, struct tg_err *err);
/* From the memory file. */
TG_MUST_CHECK int tg_snapshot_read(int fd, struct tg_snapshot **out, struct tg_err *err);

enum { TG_SNAPSHOT_DIGEST = 64 };
/* Of the configuration's text, what env() and file() gave, the library and the scripts, wherever they lie:
 * the same for the same contents. */
TG_MUST_CHECK int tg_snapshot_digest(const struct tg_snapshot *s, char hex[TG_SNAPSHOT_DIGEST + 1]);

#endif
