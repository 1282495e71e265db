/* Settings: what a script declares, and what a configuration gives for it. */
#ifndef TG_SCRIPT_SCHEMA_H
#define TG_SCRIPT_SCHEMA_H

#include "base/problems.h"

#include <lua.h>

/* Checks the schema at idx (a table, or nil for none) itself; problems name `where` (the script's file). */
void tg_schema_check(lua_State *L, int idx, const char *where, struct tg_problems *problems);

struct tg_schema_in {
    struct tg_str json; /* text of an object; empty: {} */
    const char *path;   /* of the settings in the configuration */
    const char *where;  /* of the script */
    bool allow_private; /* http addresses */
};
/* Pushes the settings by the (checked) schema at idx: converted, defaults filled in, secrets registered for
 * masking. Every problem is added. May raise out of memory. */
void tg_schema_settings(lua_State *L, int idx, const struct tg_schema_in *in, struct tg_problems *problems);

/* Whether the setting at `name` is of type url. */
bool tg_schema_is_url(lua_State *L, int idx, struct tg_str name);

#endif
