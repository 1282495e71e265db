/* What a script sees: globals by allow-list, bounded string functions, shared tables that nobody changes. */
#ifndef TG_SCRIPT_SANDBOX_H
#define TG_SCRIPT_SANDBOX_H

#include <lua.h>

void tg_sandbox_open(lua_State *L);     /* keeps the table of globals in the registry */
void tg_sandbox_push_env(lua_State *L); /* a new environment */
/* Replaces the table at the top by a read-only view of it, its tables too. */
void tg_sandbox_freeze(lua_State *L);
enum { TG_SUBJECT_MAX = 256 * 1024, TG_PATTERN_MAX = 1024, TG_REP_MAX = 8 * 1024 * 1024 };

#endif
