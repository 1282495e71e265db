/* Values of an event by path; what get, first and map share. */
#ifndef TG_SCRIPT_EVENT_READ_H
#define TG_SCRIPT_EVENT_READ_H

#include "base/str.h"

#include <lua.h>
#include <stdbool.h>

/* Pushes what the path leads to from the table at `from`, or nil. `build`: tables on the way are filled, so
 * that a table that comes out is the one that scripts see. */
void tg_path_push(lua_State *L, int from, struct tg_str path, bool build);
/* Whether the value at the top is nothing: nil, an empty string, an empty table. */
bool tg_value_is_empty(lua_State *L);

/* Adds get, first and map to the table at the top of the stack. */
void tg_event_read_register(lua_State *L);
/* map.c: the function map. Its upvalue is a weak table from lists of rows to what was made of them. */
int tg_map(lua_State *L);

#endif
