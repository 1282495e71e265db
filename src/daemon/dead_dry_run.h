/* `tidegate dead replay --dry-run`: what would be sent instead, for each that the request picks. */
#ifndef TG_DAEMON_DEAD_DRY_RUN_H
#define TG_DAEMON_DEAD_DRY_RUN_H

#include "daemon/dead_request.h"

/* The exit status. s NULL: there are no dead letters. */
int tg_dead_dry_run(struct tg_state *s, struct tg_dead_request *r);

#endif
