#include "script/fill.h"

#include <stddef.h>

static void (*filler)(lua_State *L, int idx);

void tg_lua_set_fill(void (*fill)(lua_State *L, int idx))
{
    filler = fill;
}

void tg_lua_fill(lua_State *L, int idx)
{
    if (filler)
        filler(L, idx);
}
