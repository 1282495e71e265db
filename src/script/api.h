/* What `require "tidegate.core"` returns. */
#ifndef TG_SCRIPT_API_H
#define TG_SCRIPT_API_H

#include <lua.h>

void tg_api_push(lua_State *L);

#endif
