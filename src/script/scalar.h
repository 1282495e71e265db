/* Text of Lua scalars as partners read them: integers without ".0", no number with an exponent, booleans as
 * true and false. */
#ifndef TG_SCRIPT_SCALAR_H
#define TG_SCRIPT_SCALAR_H

#include "base/buf.h"

#include <lua.h>

/* Long enough for every double without an exponent. */
enum { TG_SCALAR_MAX = 400 };
/* The text of the string, number or boolean at idx; `room` holds what is not a string. False for other types,
 * NaN and infinities. A string's text is lent by the Lua value; an exact number (of the JSON codec) is
 * replaced by its text, so idx may not be a key. May raise out of memory. */
bool tg_lua_scalar(lua_State *L, int idx, char room[TG_SCALAR_MAX], struct tg_str *out);
/* The number at idx, or in the text at idx (white space around it aside): decimal as JSON writes it, a
 * leading + allowed. */
bool tg_lua_numeric(lua_State *L, int idx, double *out);

#endif
