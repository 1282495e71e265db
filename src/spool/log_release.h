/* Giving disk space back: segments that are settled, the reserve. Loop thread; the files are the helper's. */
#ifndef TG_SPOOL_LOG_RELEASE_H
#define TG_SPOOL_LOG_RELEASE_H

#include <stdint.h>

struct tg_log;

/* Everything below `seq` is durably settled for every destination (tg_cursors_saved_low): unlinks whole
 * segments beneath it (on the helper thread). */
void tg_log_release(struct tg_log *log, uint64_t seq);

/* What is stored up to `upto` shall go from the disk as soon as it is released: the open segment ends if it
 * holds any of that, although it is not full. Not while there is no room for another one; call it now and
 * then. */
void tg_log_end_segment(struct tg_log *log, uint64_t upto);

/* Frees the reserve at once (a state write met ENOSPC). The log itself restores it before appends are taken
 * again. */
void tg_log_free_reserve(struct tg_log *log);

#endif
