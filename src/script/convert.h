/* The conversions that rows of `map` name: string, integer, number, boolean, iso_time, unix_time, unix_ms,
 * lower, upper, trim, md5, sha1, sha256. lua/README.md says what each does. */
#ifndef TG_SCRIPT_CONVERT_H
#define TG_SCRIPT_CONVERT_H

#include <lua.h>
#include <stdbool.h>

struct tg_converter;

/* Raises for a name that there is not, with the nearest that there is. */
const struct tg_converter *tg_converter_find(lua_State *L, const char *name);
/* Replaces the value at the top of the stack. False when it cannot be converted; tables never can. */
bool tg_convert(lua_State *L, const struct tg_converter *converter);

#endif
