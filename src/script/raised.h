/* What a script raised while it was loaded, as a problem for the person. */
#ifndef TG_SCRIPT_RAISED_H
#define TG_SCRIPT_RAISED_H

#include "base/problems.h"

#include <lua.h>

/* The error is at the top of the stack. where: the file, when the message names no line of one. */
void tg_raised_add(lua_State *L, struct tg_problems *problems, const char *where, const char *path);

#endif
