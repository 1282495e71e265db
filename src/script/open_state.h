/* Making a host's Lua state: capped memory, compiler off, the sandbox's libraries.
 *
 * The compiler is off because a hook, the only thing that stops a loop from inside, does not fire in compiled
 * code. */
#ifndef TG_SCRIPT_OPEN_STATE_H
#define TG_SCRIPT_OPEN_STATE_H

#include "script/state.h"

TG_MUST_CHECK int tg_lua_open_state(struct tg_host *h, struct tg_err *err);
void tg_lua_close_state(struct tg_host *h);

#endif
