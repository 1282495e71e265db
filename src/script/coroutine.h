/* The coroutine of a run: one that has finished before serves again. */
#ifndef TG_SCRIPT_COROUTINE_H
#define TG_SCRIPT_COROUTINE_H

#include "script/run_impl.h"

/* Gives the run one, pushes it, and keeps it in the registry. May raise. */
void tg_coroutine_begin(lua_State *L, struct tg_run *run);
/* It is not needed any more, and the event's view with it. Raises nothing: the registry's slots are there. */
void tg_coroutine_end(struct tg_run *run);

#endif
