/* Giving disk space back: segments that are settled, the reserve. Loop thread; the files are the helper's. */
#ifndef TG_SPOOL_LOG_RELEASE_H
#define TG_SPOOL_LOG_RELEASE_H

#include <stdint.h>

struct tg_log;

/* Everything below `seq` is durably settled for every destination (tg_cursors_saved_low): unlinks whole
 * segments beneath it (on the helper thread). */
void tg_log_release(struct tg_log *log, uint64_t seq);

/* Frees the reserve at once (a state write met ENOSPC). The log itself restores it before appends are taken
 * again. */
void tg_log_free_reserve(struct tg_log *log);

#endif
