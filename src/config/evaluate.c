#include "config/evaluate.h"

#include "base/file.h"
#include "base/mem.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INSTRUCTIONS = 50 * 1000 * 1000 };

struct evaluation {
    struct tg_config_text *text;
    struct tg_problems *problems;
    void (*use)(lua_State *L, void *arg);
    void *arg;
};

/* Says what env() or file() has no answer to, and lets the rest of the file be read all the same: everything
 * that is wrong with it is told at once. The stand-in is at the top then. */
static void stand_in(lua_State *L, const struct evaluation *e, const char *name, const char *reason)
{
    luaL_where(L, 1);
    const char *where = lua_tostring(L, -1);
    size_t n = strlen(where);
    char place[512];
    (void)snprintf(place, sizeof place, "%.*s", (int)(n > 2 ? n - 2 : 0), where);
    tg_problem_add(e->problems, place[0] ? place : NULL, NULL, "%s", reason);
    lua_pushfstring(L, TG_CONFIG_STAND_IN "%s", name);
    e->text->stood_in = true;
}

/* --- what the file can call --- */

/* env(name [, default]) */
static int lua_env(lua_State *L)
{
    const struct evaluation *e = lua_touserdata(L, lua_upvalueindex(1));
    struct tg_config_text *t = e->text;
    const char *name = luaL_checkstring(L, 1);
    struct tg_config_input *in = tg_config_input_find(t, TG_INPUT_ENV, name);
    if (!in && !t->sealed) {
        const char *value = getenv(name);
        char *copy = value ? tg_strdup(value) : NULL;
        in = value && !copy ? NULL
                            : tg_config_input_add(t, TG_INPUT_ENV, name, copy, value ? strlen(value) : 0);
        if (!in)
            return luaL_error(L, "env(\"%s\"): out of memory", name);
    }
    if (in && in->value)
        lua_pushlstring(L, in->value, in->len);
    else if (lua_gettop(L) >= 2)
        lua_pushvalue(L, 2);
    else if (t->unset_is_empty)
        lua_pushfstring(L, TG_CONFIG_STAND_IN "%s", name);
    else
        stand_in(L, e, name,
                 lua_pushfstring(L,
                                 "env(\"%s\"): the environment variable is not set; set it or give a "
                                 "default: env(\"%s\", \"…\")",
                                 name, name));
    return 1;
}

/* file(path): its contents, without white space at the end */
static int lua_file(lua_State *L)
{
    const struct evaluation *e = lua_touserdata(L, lua_upvalueindex(1));
    struct tg_config_text *t = e->text;
    const char *name = luaL_checkstring(L, 1);
    struct tg_config_input *in = tg_config_input_find(t, TG_INPUT_FILE, name);
    if (!in && !t->sealed) {
        char path[4096], *value = NULL;
        size_t len = 0;
        struct tg_err err = {0};
        if (!tg_config_text_resolve(t, name, path, sizeof path))
            return luaL_error(L, "file(\"%s\"): the path is too long", name);
        if (tg_file_read(path, &value, &len, &err)) {
            stand_in(L, e, name, lua_pushfstring(L, "file(\"%s\"): %s", name, err.msg));
            return 1;
        }
        while (len && (value[len - 1] == '\n' || value[len - 1] == '\r' || value[len - 1] == ' ' ||
                       value[len - 1] == '\t'))
            len--;
        in = tg_config_input_add(t, TG_INPUT_FILE, name, value, len);
    }
    if (!in)
        return luaL_error(L, "file(\"%s\"): out of memory", name);
    lua_pushlstring(L, in->value, in->len);
    return 1;
}

/* --- the state and its bounds --- */

struct cap {
    size_t used, max;
    bool born; /* lua_newstate has returned; it does not survive a refusal */
};

static void *capped_alloc(void *ud, void *p, size_t old, size_t size)
{
    struct cap *cap = ud;
    if (!p)
        old = 0;
    if (size == 0) {
        cap->used -= old;
        tg_free(p);
        return NULL;
    }
    if (size > old && cap->used + (size - old) > cap->max)
        return NULL;
    void *q = cap->born ? tg_realloc(p, size) : tg_realloc_vital(p, size);
    if (q)
        cap->used += size - old;
    return q;
}

static void too_long(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    (void)luaL_error(L, "the configuration runs too long: an endless loop?");
}

/* Compiles and runs the file, leaves its value on the stack. */
static void run(lua_State *L, struct evaluation *e)
{
    struct tg_config_text *t = e->text;
    char name[4096];
    (void)snprintf(name, sizeof name, "@%s", t->path);
    if (luaL_loadbufferx(L, t->text, t->len, name, "t"))
        (void)lua_error(L);
    lua_createtable(L, 0, 2);
    lua_pushlightuserdata(L, e);
    lua_pushcclosure(L, lua_env, 1);
    lua_setfield(L, -2, "env");
    lua_pushlightuserdata(L, e);
    lua_pushcclosure(L, lua_file, 1);
    lua_setfield(L, -2, "file");
    (void)lua_setfenv(L, -2);
    lua_call(L, 0, 1);
}

/* All of it, inside one protected call (lua_cpcall: even to push a function can fail for want of memory). */
static int evaluate(lua_State *L)
{
    struct evaluation *e = lua_touserdata(L, 1);
    (void)luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    luaL_checkstack(L, 64, "configuration");
    lua_sethook(L, too_long, LUA_MASKCOUNT, MAX_INSTRUCTIONS);
    run(L, e);
    lua_sethook(L, NULL, 0, 0);
    e->use(L, e->arg);
    return 0;
}

bool tg_config_evaluate(struct tg_config_text *t, struct tg_problems *problems,
                        void (*use)(lua_State *L, void *arg), void *arg)
{
    struct evaluation e = {t, problems, use, arg};
    struct cap cap = {0, (size_t)4 * TG_FILE_MAX, false};
    lua_State *L = lua_newstate(capped_alloc, &cap);
    if (!L) {
        tg_problem_add(problems, NULL, NULL, "out of memory");
        return false;
    }
    cap.born = true;
    t->stood_in = false;
    bool good = lua_cpcall(L, evaluate, &e) == 0;
    if (!good) {
        const char *why = lua_tostring(L, -1);
        tg_problem_add(problems, NULL, NULL, "%s", why ? why : "the configuration failed");
    }
    lua_close(L);
    return good;
}
