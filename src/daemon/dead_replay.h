/* `tidegate dead replay`. */
#ifndef TG_DAEMON_DEAD_REPLAY_H
#define TG_DAEMON_DEAD_REPLAY_H

#include "daemon/dead_request.h"

/* The exit status. s NULL: there are no dead letters. */
int tg_dead_replay(struct tg_state *s, struct tg_dead_request *r);
/* Says which are not replayed, and what to do about them. */
void tg_dead_tell_left(const struct tg_dead_request *r, int64_t set_aside, int64_t unknown);

#endif
