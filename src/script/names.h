/* The text keys of a Lua table in order: pairs order changes between runs. */
#ifndef TG_SCRIPT_NAMES_H
#define TG_SCRIPT_NAMES_H

#include "base/str.h"

#include <lua.h>

struct tg_names {
    size_t n;
    int other;         /* type of a key that is not text, LUA_TNIL when there is none */
    struct tg_str v[]; /* keys of the table: they live as long as it is not changed */
};

/* Pushes a userdata that holds them, sorted by bytes. May raise out of memory. */
struct tg_names *tg_lua_names(lua_State *L, int idx);

/* Lets the names at the top of the stack hold their texts, for a caller who runs code of the script's, which
 * may change the table, while it goes through them. */
void tg_lua_names_hold(lua_State *L, const struct tg_names *names);

/* Whether `name` is in the NULL-terminated list. */
bool tg_name_in(struct tg_str name, const char *const *list);

#endif
