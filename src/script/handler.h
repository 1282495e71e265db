/* What only a handler may call: deliver and :wait() on what it returns, raw, token_used. */
#ifndef TG_SCRIPT_HANDLER_H
#define TG_SCRIPT_HANDLER_H

#include <lua.h>

/* Makes what deliver returns known to a new state. */
void tg_handler_open(lua_State *L);
/* Adds these functions to the table at the top of the stack. */
void tg_handler_register(lua_State *L);

#endif
