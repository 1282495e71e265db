/* Lua values into JSON text.
 *
 * A table with json.array_mt is an array. Any other is an array when its first key is a number, and an object
 * when it is a string; an empty one is {}. An array's keys are 1 to n without holes, an object's are strings:
 * everything else is an error. Members are written sorted by the bytes of their names. Metamethods are not
 * consulted. A number is written as the shortest text that reads back as itself, an exact one
 * (json_exact.h) digit for digit. Strings are UTF-8; others are refused. / is not escaped.
 *
 * Nesting is bounded by TG_JSON_MAX_DEPTH, which also stops tables that contain themselves. */
#ifndef TG_SCRIPT_JSON_WRITE_H
#define TG_SCRIPT_JSON_WRITE_H

#include "base/buf.h"

#include <lua.h>
#include <stddef.h>

/* Adds the value at `index` as JSON. TG_INVALID for what JSON cannot say, TG_TOOBIG, TG_NOMEM: then `why`
 * (cut at why_size) says where and what, for the person, and `out` is as it was. The stack stays level. Bad
 * data never raises, but Lua may be out of memory: call it in protected mode, with `out` owned from outside.
 */
TG_MUST_CHECK int tg_lua_encode_json(lua_State *L, int index, struct tg_buf *out, char *why, size_t why_size);

#endif
