/* `tidegate dead ls` and `show`. */
#ifndef TG_DAEMON_DEAD_LIST_H
#define TG_DAEMON_DEAD_LIST_H

#include "daemon/dead_request.h"

/* The exit status. s NULL: there are no dead letters. */
int tg_dead_ls(struct tg_state *s, struct tg_dead_request *r);
int tg_dead_show(struct tg_state *s, struct tg_dead_request *r);

#endif
