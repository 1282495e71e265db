/* Tables that are filled when they are first looked at: everything in C that walks a table of a script fills
 * it first. */
#ifndef TG_SCRIPT_FILL_H
#define TG_SCRIPT_FILL_H

#include <lua.h>

/* Who can fill them: the script host. One for the process; NULL: there are no such tables. */
void tg_lua_set_fill(void (*fill)(lua_State *L, int idx));
/* Fills the table at idx if it is one. May raise. */
void tg_lua_fill(lua_State *L, int idx);

#endif
