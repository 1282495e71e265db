/* tidegate.core for a plain LuaJIT: the relay's own primitives, bound by the same files, and the fixture
 * runner.
 *
 *     fixed.now(ms), fixed.seed(n)      what time.now() and randomness say, for tests
 *     fixtures.list(folder)             paths of the fixtures of the script in that folder
 *     fixtures.run(library, path)       passed, name, report, JSON text of what came out (or nil)
 *     fixtures.render(library, folder, { settings, event, responses, at, allow_private })
 *                                       JSON text of what came out; nil, message
 *
 * A fixture runs in a Lua state of its own, made by the relay's script host: the sandbox, the budgets and
 * deliver are the relay's. In the state that loaded this module deliver, skip and the like raise. settings,
 * event and responses are JSON text here; lua/tidegate/fixtures.lua takes tables. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/fixture_run.h"
#include "daemon/preview.h"
#include "script/api.h"
#include "script/event_view.h"
#include "script/folders.h"
#include "script/primitives.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 4096, JSON_MAX = 64 << 20 };

/* ".../slack" -> folder "..." and name "slack". Raises. */
static const char *split_path(lua_State *L, const char *path, char parent[PATH_SIZE])
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= PATH_SIZE - 2)
        luaL_error(L, "'%s' is not a script's folder", path);
    lua_pushlstring(L, path, n);
    const char *trimmed = lua_tostring(L, -1), *slash = strrchr(trimmed, '/');
    (void)snprintf(parent, PATH_SIZE, "%.*s", slash ? (int)(slash - trimmed) : 1, slash ? trimmed : ".");
    return slash ? slash + 1 : trimmed;
}

/* The script in `folder` and the library; both empty after an error. */
struct sources {
    struct tg_script_source library, script;
};

static int read_sources(const char *library, const char *parent, const char *name, struct sources *s,
                        struct tg_err *err)
{
    *s = (struct sources){0};
    int rc = tg_script_library_find(library, &s->library, err);
    return rc ? rc : tg_script_source_find(&parent, 1, name, &s->script, err);
}

static void free_sources(struct sources *s)
{
    tg_script_source_free(&s->library);
    tg_script_source_free(&s->script);
}

static int fixtures_list(lua_State *L)
{
    char **paths;
    size_t n;
    if (tg_fixture_paths(luaL_checkstring(L, 1), &paths, &n))
        return luaL_error(L, "out of memory");
    /* A long jump of a push that finds no memory would lose the paths, at the end of a test run. */
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, paths[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    tg_fixture_paths_free(paths, n);
    return 1;
}

static int fixtures_run(lua_State *L)
{
    const char *library = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2);
    const char *end = strstr(path, "/fixtures/");
    char parent[PATH_SIZE];
    struct sources s;
    struct tg_err err;
    if (!end)
        return luaL_error(L, "fixtures.run: '%s' is not in a folder fixtures/ of a script", path);
    lua_pushlstring(L, path, (size_t)(end - path));
    const char *name = split_path(L, lua_tostring(L, -1), parent);
    if (read_sources(library, parent, name, &s, &err)) {
        free_sources(&s);
        return luaL_error(L, "fixtures.run: %s", err.msg);
    }
    struct tg_fixture_in in = {&s.library, &s.script, path, TG_BROKEN_FORMS, NULL};
    struct tg_fixture_result r;
    tg_fixture_run(&in, &r);
    free_sources(&s);
    lua_pushboolean(L, r.passed);
    lua_pushstring(L, r.name ? r.name : path);
    lua_pushlstring(L, r.report.data ? r.report.data : "", r.report.len);
    if (r.rendered)
        lua_pushlstring(L, r.got.data ? r.got.data : "", r.got.len);
    else
        lua_pushnil(L);
    tg_fixture_result_fini(&r);
    return 4;
}

/* The text of a field of the table at 3, lent by it; "" when there is none. */
static struct tg_str text_field(lua_State *L, const char *name)
{
    struct tg_str s = {"", 0};
    lua_getfield(L, 3, name);
    if (lua_isstring(L, -1))
        s.p = lua_tolstring(L, -1, &s.n);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "fixtures.render: %s: JSON text expected", name);
    lua_pop(L, 1);
    return s;
}

static int render(struct tg_preview_in *in, struct tg_str event, struct tg_str responses, struct tg_buf *json,
                  struct tg_err *err)
{
    struct tg_preview *preview = NULL;
    int rc = tg_preview_new(in, &preview, err);
    if (!rc)
        rc = tg_preview_run(preview, event, responses, true, json, err);
    tg_preview_free(&preview);
    return rc;
}

static int fixtures_render(lua_State *L)
{
    const char *library = luaL_checkstring(L, 1), *folder = luaL_checkstring(L, 2);
    char parent[PATH_SIZE];
    struct sources s;
    struct tg_err err = {0, ""};
    struct tg_buf json = TG_BUF_INIT(JSON_MAX);
    luaL_checktype(L, 3, LUA_TTABLE);
    const char *name = split_path(L, folder, parent);
    struct tg_str event = text_field(L, "event"), responses = text_field(L, "responses");
    struct tg_str at = text_field(L, "at");
    struct tg_preview_in in = {.settings = text_field(L, "settings"), .now = TG_NO_TIME};
    if (at.n && !tg_time_parse(at, &in.now))
        return luaL_error(L, "fixtures.render: at: '%s' is not a time", at.p);
    lua_getfield(L, 3, "allow_private");
    in.allow_private = lua_toboolean(L, -1);
    int rc = read_sources(library, parent, name, &s, &err);
    in.library = &s.library;
    in.script = &s.script;
    if (!rc)
        rc = render(&in, event, responses, &json, &err);
    free_sources(&s);
    if (rc) {
        lua_pushnil(L);
        lua_pushstring(L, err.msg);
    } else {
        lua_pushlstring(L, json.data ? json.data : "", json.len);
    }
    tg_buf_fini(&json);
    return rc ? 2 : 1;
}

static void put_fixtures(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"list", fixtures_list}, {"run", fixtures_run}, {"render", fixtures_render}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, "fixtures");
}

int luaopen_tidegate_core(lua_State *L);

int luaopen_tidegate_core(lua_State *L)
{
    tg_log_set_level(TG_LOG_ERROR);
    tg_event_view_open(L);
    tg_api_push(L);
    tg_lua_open_fixed(L);
    lua_getfield(L, -1, "fixed");
    lua_setfield(L, -3, "fixed");
    lua_pop(L, 1);
    put_fixtures(L);
    return 1;
}
