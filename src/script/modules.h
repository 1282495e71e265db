/* require, for scripts and for the library. */
#ifndef TG_SCRIPT_MODULES_H
#define TG_SCRIPT_MODULES_H

#include <lua.h>

struct tg_dest_impl;

void tg_modules_open(lua_State *L);
/* Gives the environment at the top of the stack its require. dest: NULL for the library. */
void tg_modules_put_require(lua_State *L, struct tg_dest_impl *dest);

#endif
