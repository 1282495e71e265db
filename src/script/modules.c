/* require, for scripts and for the library.
 *
 *     require "tidegate"        the primitives          } one copy for all scripts of the state, read-only
 *     require "tidegate.NAME"   lua/tidegate/NAME.lua   }
 *     require "cjson"           lua-cjson, a configuration of its own for each destination
 *     require ".helpers"        helpers.lua of the script's own folder
 *     require "tidegate.core"   what C gives; for the library only */
#include "script/modules.h"

#include "script/api.h"
#include "script/event_view.h"
#include "script/nearest.h"
#include "script/sandbox.h"
#include "script/state.h"

#include <dlfcn.h>
#include <glob.h>
#include <string.h>

static const char library_key; /* registry: modules of the library that are loaded */

/* --- lua-cjson --- */

static const char *const cjson_places[] = {"/usr/lib/*/lua/5.1/cjson.so", "/usr/lib/lua/5.1/cjson.so",
                                           "/usr/local/lib/*/lua/5.1/cjson.so",
                                           "/usr/local/lib/lua/5.1/cjson.so"};

/* luaopen_cjson, or NULL. Looked for once; the library stays for the life of the process. */
static lua_CFunction find_cjson(void)
{
    static lua_CFunction found;
    glob_t files;
    for (size_t i = 0; !found && i < sizeof cjson_places / sizeof *cjson_places; i++) {
        if (glob(cjson_places[i], 0, NULL, &files) != 0)
            continue;
        for (size_t j = 0; !found && j < files.gl_pathc; j++) {
            void *library = dlopen(files.gl_pathv[j], RTLD_NOW | RTLD_LOCAL);
            void *symbol = library ? dlsym(library, "luaopen_cjson") : NULL;
            memcpy(&found, &symbol, sizeof found); /* ISO C has no cast from object to function pointers */
        }
        globfree(&files);
    }
    return found;
}

/* cjson.encode that sees events whole. Upvalue: the original. */
static int cjson_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    tg_lazy_build_deep(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void push_cjson(lua_State *L)
{
    lua_CFunction open = find_cjson();
    if (!open)
        luaL_error(L, "require \"cjson\": lua-cjson is not installed (Debian: apt-get install lua-cjson); "
                      "the relay's own codec "
                      "is require(\"tidegate\").json");
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "new"); /* its encode would not see events */
    lua_getfield(L, -1, "encode");
    lua_pushcclosure(L, cjson_encode, 1);
    lua_setfield(L, -2, "encode");
}

/* --- files --- */

/* Pushes what the chunk `file` returns, run in the environment at the top of the stack, which it replaces. */
static void run_file(lua_State *L, const char *script, const struct tg_script_file *file, const char *name)
{
    tg_lua_compile(L, script, file);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    (void)name;
}

static void push_library_env(lua_State *L)
{
    tg_sandbox_push_env(L);
    tg_modules_put_require(L, NULL);
}

/* "a.b" -> "a/b.lua" into path. */
static bool module_path(const char *name, char *path, size_t size)
{
    size_t n = strlen(name);
    if (n == 0 || n + 5 > size || name[0] == '.' || strstr(name, "..") || strchr(name, '/') ||
        name[n - 1] == '.')
        return false;
    memcpy(path, name, n);
    memcpy(path + n, ".lua", 5);
    for (size_t i = 0; i < n; i++)
        if (path[i] == '.')
            path[i] = '/';
    return true;
}

/* Pushes the library's module; false when it has none of that name. */
static bool push_library(lua_State *L, const char *name)
{
    struct tg_host *h = tg_host_of(L);
    char path[128];
    lua_pushlightuserdata(L, (void *)&library_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1)) {
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 1);
    const struct tg_script_file *file =
        module_path(name, path, sizeof path) ? tg_script_source_file(&h->library, path) : NULL;
    if (!file) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushboolean(L, 0); /* while it loads */
    lua_setfield(L, -2, name);
    push_library_env(L);
    run_file(L, "", file, name);
    if (lua_istable(L, -1) && !luaL_getmetafield(L, -1, "__metatable"))
        tg_sandbox_freeze(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
    lua_remove(L, -2);
    return true;
}

/* Pushes the script's own module; raises when there is none. */
static void push_own(lua_State *L, struct tg_dest_impl *d, const char *name)
{
    char path[128];
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->loaded);
    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    const struct tg_script_file *file =
        module_path(name + 1, path, sizeof path) ? tg_script_source_file(&d->source, path) : NULL;
    if (!file)
        luaL_error(L, "require \"%s\": the script has no file %s", name,
                   module_path(name + 1, path, sizeof path) ? path : "of that name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->env);
    run_file(L, d->source.name, file, name);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
}

static void push_own_cjson(lua_State *L, struct tg_dest_impl *d)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->loaded);
    lua_getfield(L, -1, "cjson");
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    push_cjson(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "cjson");
}

static int unknown_module(lua_State *L, const char *name)
{
    struct tg_host *h = tg_host_of(L);
    struct tg_nearest near;
    tg_nearest_init(&near, tg_str_of(name));
    tg_nearest_try(&near, TG_STR("cjson"));
    for (size_t i = 0; i < h->library.n_files; i++) {
        char module[128];
        size_t n = strlen(h->library.files[i].name);
        if (n < 5 || n >= sizeof module)
            continue;
        memcpy(module, h->library.files[i].name, n - 4); /* without ".lua" */
        module[n - 4] = '\0';
        for (char *p = module; *p; p++)
            *p = *p == '/' ? '.' : *p;
        tg_nearest_try(&near, tg_str_of(module));
    }
    return luaL_error(L,
                      "require \"%s\": there is no such module%s%s%s (scripts may require \"tidegate\", "
                      "\"tidegate.…\", \"cjson\" and "
                      "\".name\" for a file beside init.lua)",
                      name, near.best[0] ? "; did you mean \"" : "", near.best, near.best[0] ? "\"?" : "");
}

/* Upvalue: the destination, NULL in the library. */
static int require(lua_State *L)
{
    struct tg_dest_impl *d = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    if (strcmp(name, "tidegate.core") == 0 && !d)
        tg_api_push(L);
    else if (name[0] == '.' && d)
        push_own(L, d, name);
    else if (strcmp(name, "cjson") == 0 && d)
        push_own_cjson(L, d);
    else if (!push_library(L, name))
        return unknown_module(L, name);
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
        return luaL_error(L, "require \"%s\": it requires itself", name);
    return 1;
}

void tg_modules_put_require(lua_State *L, struct tg_dest_impl *dest)
{
    lua_getmetatable(L, -1); /* the environment's: __index is its own table */
    lua_getfield(L, -1, "__index");
    lua_pushlightuserdata(L, dest);
    lua_pushcclosure(L, require, 1);
    lua_setfield(L, -2, "require");
    lua_pop(L, 2);
}

void tg_modules_open(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&library_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}
