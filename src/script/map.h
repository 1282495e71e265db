/* map(event, rows): a table filled by rows { to, from, as, required, default }. */
#ifndef TG_SCRIPT_MAP_H
#define TG_SCRIPT_MAP_H

#include <lua.h>

/* The function. Its upvalue is a weak table from lists of rows to what was made of them. */
int tg_map(lua_State *L);

#endif
