/* What the JSON codec keeps in a Lua state: the metatables that mark arrays, and scratch that the next call
 * uses again. A Lua error is a long jump, so the codec holds no allocation of its own across calls that may
 * raise: it lives here, in a userdata of the registry. Any number of states, one thread per state. */
#ifndef TG_SCRIPT_JSON_STATE_H
#define TG_SCRIPT_JSON_STATE_H

#include "script/json_order.h"
#include "script/json_shape.h"

#include <lua.h>
#include <stdbool.h>

enum { TG_LUA_JSON_MAX_BYTES = 16 << 20 };

struct tg_json_state {
    struct tg_buf out;         /* what json.encode returns */
    struct tg_buf text;        /* a decoded string */
    struct tg_members members; /* of objects that are being written */
    struct tg_err err;         /* for json.decode and the like */
    struct tg_shapes shapes;   /* of objects that were read */
};

/* That of the Lua state, made at first use. Pushes its environment, which holds it alive. May raise. */
struct tg_json_state *tg_json_state_push(lua_State *L);
/* Gives back what a large text has left. */
void tg_json_state_trim(struct tg_json_state *s);

/* Slots of the environment; those of the shapes follow. */
enum { TG_JSON_ARRAY_MT = 1, TG_JSON_EMPTY_ARRAY_MT };
/* Whether the table at idx has the metatable of that slot of the environment at `env`. */
bool tg_json_is_marked(lua_State *L, int idx, int env, int slot);

/* Its address, as a light userdata, is json.empty_array. */
extern char tg_json_empty_array;

#endif
