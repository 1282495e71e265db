/* The JSON codec for Lua, with lua-cjson's interface and OpenResty's names: what scripts know as `json`.
 *
 *     json.decode(text)        the value; raises on text that is not JSON, naming the byte
 *     json.try_decode(text)    the value, or nil and the message
 *     json.encode(value)       the text; raises on what JSON cannot say, naming the path in the value
 *     json.try_encode(value)   the text, or nil and the message
 *     json.null                JSON's null (as lua-cjson's: a light userdata NULL)
 *     json.array([t])          marks t (or a new table) as an array, so that it is [] when empty; returns it
 *     json.is_array(t)         whether encode writes t as an array
 *     json.array_mt            the metatable that marks arrays; decoded arrays carry it
 *     json.empty_array_mt      the metatable of tables that are [] when empty and judged as usual otherwise
 *     json.empty_array         a value that encodes as []
 *     json.number(v)           the number that a text writes ("12345678901234567"), exact; nil when it is
 * none json.tonumber(v [, base])  Lua's tonumber that also takes exact numbers (rounding to the nearest
 * double)
 *
 * Tables. A table with array_mt is an array. Any other is an array when its first key is a number, and an
 * object when it is a string; an empty one is {}. An array's keys are 1 to n without holes, an object's are
 * strings: everything else is an error. Members are written sorted by the bytes of their names. Metamethods
 * are not consulted.
 *
 * Strings are UTF-8; encode refuses others. A lone surrogate escape (\ud800) decodes to U+FFFD. / is not
 * escaped.
 *
 * Numbers. A number whose text a double holds (see tg_json_exact) is a Lua number, and is written as the
 * shortest text that reads back as itself. Any other (12345678901234567, a decimal of 20 digits, 1e400)
 * becomes an exact number: a userdata that keeps the digits. It is written back digit for digit; tostring and
 * .. give the digits; equal digits are the same value, so == and table keys work between exact numbers; + - *
 * / % ^ work on it as a double and give plain numbers, and so do < and <= between two of them. Against a
 * plain number compare json.tonumber(v), or v + 0.
 *
 * Bounds: nesting TG_JSON_MAX_DEPTH, which also stops tables that contain themselves; text
 * TG_LUA_JSON_MAX_BYTES.
 *
 * This file needs lua.h and the base room only, so that it also serves as a module of a plain LuaJIT.
 * Everything is kept in the state's registry: any number of states, one thread per state. */
#ifndef TG_SCRIPT_JSON_CODEC_H
#define TG_SCRIPT_JSON_CODEC_H

#include "base/buf.h"
#include "base/json.h"

#include <lua.h>
#include <stddef.h>

enum { TG_LUA_JSON_MAX_BYTES = 16 << 20 };

/* Pushes a new table of the functions and values above. Returns 1. May raise out of memory. */
int tg_lua_open_json(lua_State *L);

enum {
    TG_JSON_NULL_AS_NIL = 1
}; /* members that are null are left out; items stay json.null, or positions would shift */

/* Pushes the value that `validated` (as tg_json_validate gave it) holds. Returns 1. Call it in protected
 * mode: it raises out of memory, and nesting deeper than TG_JSON_MAX_DEPTH. */
int tg_lua_push_json(lua_State *L, struct tg_str validated, unsigned flags);

/* Sets the members of a validated object in the table at `table` (an absolute index); those of that name are
 * replaced. Raises as tg_lua_push_json does. */
void tg_lua_fill_json(lua_State *L, int table, struct tg_str object, unsigned flags);

/* Adds the value at `index` as JSON. TG_INVALID for what JSON cannot say, TG_TOOBIG, TG_NOMEM: then `why`
 * (cut at why_size) says where and what, for the person, and `out` is as it was. The stack stays level. Bad
 * data never raises, but Lua may be out of memory: call it in protected mode, with `out` owned from outside.
 */
TG_MUST_CHECK int tg_lua_encode_json(lua_State *L, int index, struct tg_buf *out, char *why, size_t why_size);

#endif
