/* A new Lua state for a host whose old one is used up. */
#ifndef TG_SCRIPT_REBUILD_H
#define TG_SCRIPT_REBUILD_H

#include "script/state.h"

/* Loads everything into a new state. What was there is lost: runs are ended as to be tried again. `culprit`
 * has been ended by its caller. */
void tg_host_rebuild(struct tg_host *h, struct tg_run *culprit);
/* A state is there, rebuilt if that was wanted. */
TG_MUST_CHECK int tg_host_ready(struct tg_host *h, struct tg_err *err);

#endif
