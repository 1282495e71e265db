/* JSON text into Lua values: objects and arrays become tables (arrays carry json.array_mt, so that an empty
 * one stays one), numbers Lua numbers or exact ones (json_exact.h), null json.null. A lone surrogate escape
 * (\ud800) becomes U+FFFD. */
#ifndef TG_SCRIPT_JSON_READ_H
#define TG_SCRIPT_JSON_READ_H

#include "base/str.h"

#include <lua.h>

enum {
    TG_JSON_NULL_AS_NIL = 1
}; /* members that are null are left out; items stay json.null, or positions would shift */

/* Pushes the value that `validated` (as tg_json_validate gave it) holds. Returns 1. Call it in protected
 * mode: it raises out of memory, and nesting deeper than TG_JSON_MAX_DEPTH. */
int tg_lua_push_json(lua_State *L, struct tg_str validated, unsigned flags);

/* Sets the members of a validated object in the table at `table` (an absolute index); those of that name are
 * replaced. Raises as tg_lua_push_json does. */
void tg_lua_fill_json(lua_State *L, int table, struct tg_str object, unsigned flags);

#endif
