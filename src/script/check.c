#include "script/check.h"

#include "script/event_view.h"
#include "script/raised.h"
#include "script/state.h"

#include <stdio.h>
#include <string.h>

/* One message, at the top of the stack. "key: …" names the setting. */
static void check_message(lua_State *L, struct tg_contract_reader *r)
{
    struct tg_str text = tg_contract_text(L, r, "check");
    const char *colon = text.n ? memchr(text.p, ':', text.n) : NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", r->settings_path);
    if (colon && lua_istable(L, r->schema)) {
        lua_pushlstring(L, text.p, (size_t)(colon - text.p));
        lua_rawget(L, r->schema);
        if (lua_istable(L, -1)) {
            snprintf(path, sizeof path, "%s.%.*s", r->settings_path, (int)(colon - text.p), text.p);
            text = tg_str_trim(tg_str_n(colon + 1, text.n - (size_t)(colon + 1 - text.p)));
        }
        lua_pop(L, 1);
    }
    if (text.n)
        tg_problem_add(r->problems, NULL, path, "%.*s", TG_STR_ARG(text));
}

void tg_check_run(lua_State *L, struct tg_contract_reader *r)
{
    int top = lua_gettop(L);
    lua_getfield(L, r->module, "check");
    if (!lua_isfunction(L, -1)) {
        lua_settop(L, top);
        return;
    }
    tg_settings_view_push(L, r->settings, 1);
    if (tg_lua_pcall(L, 1, 1)) {
        tg_raised_add(L, r->problems, r->where, "check");
    } else if (lua_istable(L, -1)) {
        for (int i = 1; i <= (int)lua_objlen(L, top + 1); i++) {
            lua_rawgeti(L, top + 1, i);
            check_message(L, r);
            lua_pop(L, 1);
        }
    } else if (!lua_isnil(L, -1)) {
        check_message(L, r);
    }
    lua_settop(L, top);
}
