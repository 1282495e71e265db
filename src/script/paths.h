/* Values of an event by dotted path, from its bytes while they were not made tables; what get, first and map
 * share.
 *
 * A path's steps are member names; a numeric step indexes an array from 0. Within a member, a key that is the
 * whole remaining path wins over descending, so names with dots are found. JSON null is no value. */
#ifndef TG_SCRIPT_PATHS_H
#define TG_SCRIPT_PATHS_H

#include "base/str.h"

#include <lua.h>
#include <stdbool.h>

/* Pushes what the path leads to from the table at `from`, or nil. `build`: tables on the way are filled, so
 * that a table that comes out is the one that scripts see. */
void tg_path_push(lua_State *L, int from, struct tg_str path, bool build);
/* Whether the value at the top is nothing: nil, an empty string, an empty table. */
bool tg_value_is_empty(lua_State *L);

#endif
