/* get, first and map for scripts. */
#ifndef TG_SCRIPT_LIB_EVENT_H
#define TG_SCRIPT_LIB_EVENT_H

#include <lua.h>

/* Adds them to the table at the top of the stack. */
void tg_lib_event_register(lua_State *L);

#endif
