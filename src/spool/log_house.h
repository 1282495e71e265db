/* Whether a log takes appends, and what is done so that it does: the spare segment, the reserve. Work on
 * files is a job of the helper thread. */
#ifndef TG_SPOOL_LOG_HOUSE_H
#define TG_SPOOL_LOG_HOUSE_H

#include "spool/log_state.h"

extern const char tg_log_ceiling_text[];
void tg_log_show_metrics(struct tg_log *log);
/* No appends from now on: TG_FULL or TG_IO. Probed for every second. */
void tg_log_shut(struct tg_log *log, int status, const char *why);
/* Whether `more` bytes on disk stay beneath the ceiling. */
bool tg_log_beneath_ceiling(const struct tg_log *log, uint64_t more);
/* Whether `bytes` more than what is pending will find a segment. */
bool tg_log_has_room(const struct tg_log *log, uint64_t bytes);
/* Gives the helper what there is to restore. While the log is shut only when `now`: the probe decides the
 * pace. */
void tg_log_keep_house(struct tg_log *log, bool now);
void tg_log_first_upkeep(struct tg_log *log); /* blocking, when opening */
void tg_log_on_probe(evutil_socket_t fd, short what, void *arg);

#endif
