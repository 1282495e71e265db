#include "script/filter_source.h"

#include "script/modules.h"
#include "script/sandbox.h"

#include <string.h>

static const struct tg_script_file *input(const struct tg_dest_impl *d, const char *kind, const char *name)
{
    size_t n = strlen(kind);
    for (size_t i = 1; i < d->config.n_files; i++) {
        const struct tg_script_file *f = &d->config.files[i];
        if (strncmp(f->name, kind, n) == 0 && strcmp(f->name + n, name) == 0)
            return f;
    }
    return NULL;
}

/* env(name [, default]) */
static int sealed_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct tg_script_file *f = input(lua_touserdata(L, lua_upvalueindex(1)), "env:", name);
    if (f)
        lua_pushlstring(L, f->text.p, f->text.n);
    else if (lua_gettop(L) >= 2)
        lua_pushvalue(L, 2);
    else
        return luaL_error(
            L, "env(\"%s\"): not known here; call it outside the filter function: local value = env(\"%s\")",
            name, name);
    return 1;
}

static int sealed_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct tg_script_file *f = input(lua_touserdata(L, lua_upvalueindex(1)), "file:", name);
    if (!f)
        return luaL_error(
            L, "file(\"%s\"): not known here; call it outside the filter function: local text = file(\"%s\")",
            name, name);
    lua_pushlstring(L, f->text.p, f->text.n);
    return 1;
}

static void push_environment(lua_State *L, struct tg_dest_impl *d)
{
    static const luaL_Reg functions[] = {{"env", sealed_env}, {"file", sealed_file}, {NULL, NULL}};
    tg_sandbox_push_env(L);
    tg_modules_put_require(L, d);
    lua_getmetatable(L, -1); /* its __index is its own table */
    lua_getfield(L, -1, "__index");
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushlightuserdata(L, d);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_pop(L, 2);
}

void tg_filter_push(lua_State *L, struct tg_dest_impl *d)
{
    int top = lua_gettop(L);
    push_environment(L, d);
    tg_lua_compile(L, NULL, &d->config.files[0]);
    if (tg_lua_pcall(L, 0, 1))
        lua_error(L);
    static const char *const into[] = {"destinations", NULL, "filter"};
    for (int i = 0; i < 3 && lua_istable(L, -1); i++)
        lua_getfield(L, -1, into[i] ? into[i] : d->pub.name);
    if (!lua_isfunction(L, -1))
        luaL_error(L,
                   "destinations.%s.filter: is no function when the configuration is read again; it must "
                   "not depend on anything but env and file",
                   d->pub.name);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}
