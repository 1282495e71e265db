/* How much a log holds. Loop thread. */
#ifndef TG_SPOOL_LOG_EXTENT_H
#define TG_SPOOL_LOG_EXTENT_H

#include <stdint.h>

struct tg_log;

/* First sequence that is still stored and last that is synced; first == last + 1 when empty. */
uint64_t tg_log_first(const struct tg_log *log);
uint64_t tg_log_last(const struct tg_log *log);
uint64_t tg_log_bytes(const struct tg_log *log); /* on disk, all segments */
/* Bytes of stored records with seq >= from, to the precision of a segment's average. */
uint64_t tg_log_bytes_from(const struct tg_log *log, uint64_t from);

#endif
