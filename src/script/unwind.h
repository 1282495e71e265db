/* The ways in which a handler ends itself: skip, reject, retry. They unwind by an error that no pcall may
 * keep. */
#ifndef TG_SCRIPT_UNWIND_H
#define TG_SCRIPT_UNWIND_H

#include <lua.h>
#include <stdint.h>

/* kind: an enumerator of struct tg_unwind. reason is cut to TG_WORD_MAX - 1 bytes; message may be NULL.
 * Raises when no handler runs. Never returns; the int is for `return`. */
int tg_lua_end(lua_State *L, int kind, const char *reason, const char *message, int64_t retry_ms);

/* Raises again what is under way. Never returns. */
int tg_lua_unwind(lua_State *L);

/* Adds skip, reject and retry to the table at the top of the stack. */
void tg_unwind_register(lua_State *L);

#endif
