/* Exact numbers: JSON numbers that no double holds.
 *
 * A number whose text a double holds (see tg_json_exact) is a Lua number. Any other (12345678901234567, a
 * decimal of 20 digits, 1e400) becomes an exact number: a userdata that keeps the digits. It is written back
 * digit for digit; tostring and .. give the digits; equal digits are the same value, so == and table keys
 * work between exact numbers; + - * / % ^ work on it as a double and give plain numbers, and so do < and <=
 * between two of them. Against a plain number compare json.tonumber(v), or v + 0. */
#ifndef TG_SCRIPT_JSON_EXACT_H
#define TG_SCRIPT_JSON_EXACT_H

#include "base/str.h"

#include <lua.h>
#include <stdbool.h>

/* Pushes the exact number of these digits: the one that there is, or a new one. May raise. */
void tg_exact_push(lua_State *L, struct tg_str digits);
/* Whether an exact number is at idx. Its digits are lent by the value. */
bool tg_exact_at(lua_State *L, int idx, struct tg_str *digits);
/* The nearest double, or an infinity. */
double tg_exact_double(struct tg_str digits);

#endif
