/* Where a filter function comes from. It stands in the configuration, whose evaluated form ends with the
 * process that checked it, so the sealed text is evaluated again here, in an environment of its own beside
 * the script's: env and file answer what they answered then (so a function may use what they gave, but not
 * call them for something new), and at the time of a call it has what every script has. */
#ifndef TG_SCRIPT_FILTER_SOURCE_H
#define TG_SCRIPT_FILTER_SOURCE_H

#include "script/state.h"

/* Pushes the filter function: evaluates the configuration. Raises. */
void tg_filter_push(lua_State *L, struct tg_dest_impl *d);

#endif
