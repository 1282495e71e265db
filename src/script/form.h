/* Query strings and forms of Lua tables. */
#ifndef TG_SCRIPT_FORM_H
#define TG_SCRIPT_FORM_H

#include <lua.h>
#include <stdbool.h>

/* Pushes "a=1&b=2" of the table at idx (absolute): sorted by name, percent-encoded, a list repeats its name,
 * numbers in decimals (76.0 is 76), nil and json.null omitted, and empty texts too unless keep_empty. Raises
 * on what a form cannot hold; `what` begins the message. */
void tg_lua_push_form(lua_State *L, int idx, bool keep_empty, const char *what);

#endif
