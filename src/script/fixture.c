#include "script/fixture.h"

#include "base/json.h"
#include "base/mem.h"
#include "script/json_write.h"
#include "script/names.h"
#include "script/nearest.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

enum { FIXTURE_BYTES = 16 << 20, STATE_BYTES = 64 << 20, INSTRUCTIONS = 10000000 };

struct reading {
    const char *path;
    struct tg_fixture *fixture;
    struct tg_buf text; /* outside the state: errors jump */
    int code;           /* when it is not the file's fault */
};

static void *allocate(void *ud, void *p, size_t old_size, size_t size)
{
    size_t *used = ud;
    if (size == 0) {
        tg_free(p);
        *used -= old_size;
        return NULL;
    }
    void *q = size > old_size && *used + size - old_size > STATE_BYTES ? NULL : tg_realloc(p, size);
    if (q)
        *used += size - old_size; /* wraps round when it shrinks, as it should */
    return q;
}

static void too_long(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    luaL_error(L, "it does not end");
}

static char *take(lua_State *L, struct reading *r)
{
    char *text = tg_buf_take(&r->text, NULL);
    if (!text) {
        r->code = TG_NOMEM;
        luaL_error(L, "out of memory");
    }
    return text;
}

enum form {
    TEXT,      /* taken as it is; a table as its JSON */
    JSON_TEXT, /* JSON, where a table cannot say it exactly: integers above 2^53 */
};

/* The text at the top of the stack. */
static char *text_field(lua_State *L, struct reading *r, const char *name, enum form form)
{
    struct tg_err err;
    struct tg_str text;
    text.p = lua_tolstring(L, -1, &text.n);
    if (form == JSON_TEXT && tg_json_validate(text, TG_JSON_MAX_DEPTH, NULL, &err))
        luaL_error(L, "%s: %s", name, err.msg);
    if (tg_buf_addstr(&r->text, text))
        luaL_error(L, "%s: too long", name);
    return take(L, r);
}

/* The field as JSON, or as the text that it is. NULL when it is absent. */
static char *field(lua_State *L, struct reading *r, const char *name, enum form form)
{
    char why[256];
    char *text = NULL;
    lua_getfield(L, 1, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        text = text_field(L, r, name, form);
    } else if (!lua_isnil(L, -1)) {
        if (!lua_istable(L, -1))
            luaL_error(L, "%s: a table is wanted, or JSON text, not a %s", name, luaL_typename(L, -1));
        int rc = tg_lua_encode_json(L, lua_gettop(L), &r->text, why, sizeof why);
        if (rc)
            luaL_error(L, "%s: %s", name, why);
        text = take(L, r);
    }
    lua_pop(L, 1);
    return text;
}

static bool has(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    bool there = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return there;
}

/* `events`, each a table or JSON text, as one array. NULL when there are none. */
static char *events(lua_State *L, struct reading *r)
{
    char why[256];
    if (!has(L, "events"))
        return NULL;
    lua_getfield(L, 1, "events");
    size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (n == 0)
        luaL_error(L, "events: a list of events is wanted");
    int list = lua_gettop(L), rc = TG_OK;
    for (size_t i = 1; i <= n && !rc; i++) {
        struct tg_str text;
        rc = tg_buf_addc(&r->text, i == 1 ? '[' : ',');
        lua_rawgeti(L, list, (int)i);
        text.p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &text.n) : NULL;
        if (!text.p && !lua_istable(L, -1))
            luaL_error(L, "events: item %d: a table or JSON text is wanted", (int)i);
        if (text.p && tg_json_validate(text, TG_JSON_MAX_DEPTH, NULL, NULL))
            luaL_error(L, "events: item %d is not JSON", (int)i);
        if (!rc && text.p)
            rc = tg_buf_addstr(&r->text, text);
        else if (!rc && tg_lua_encode_json(L, lua_gettop(L), &r->text, why, sizeof why))
            luaL_error(L, "events: item %d: %s", (int)i, why);
        lua_pop(L, 1);
    }
    if (rc || tg_buf_addc(&r->text, ']'))
        luaL_error(L, "events: too long");
    lua_pop(L, 1);
    return take(L, r);
}

static void check_keys(lua_State *L)
{
    static const char *const known[] = {"name",      "settings", "event",         "events", "at",
                                        "responses", "expect",   "allow_private", NULL};
    struct tg_names *names = tg_lua_names(L, 1);
    for (size_t i = 0; i < names->n; i++) {
        if (tg_name_in(names->v[i], known))
            continue;
        const char *near = tg_nearest_of(names->v[i], known);
        luaL_error(L, "unknown key '%s'%s%s%s", names->v[i].p, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
    }
    lua_pop(L, 1);
}

static void read_fields(lua_State *L, struct reading *r)
{
    struct tg_fixture *f = r->fixture;
    check_keys(L);
    f->name = field(L, r, "name", TEXT);
    f->settings = field(L, r, "settings", JSON_TEXT);
    f->event = field(L, r, "event", TEXT);
    f->at = field(L, r, "at", TEXT);
    f->responses = field(L, r, "responses", JSON_TEXT);
    f->expect = field(L, r, "expect", JSON_TEXT);
    lua_getfield(L, 1, "allow_private");
    f->allow_private = lua_toboolean(L, -1);
    if (!f->event)
        f->event = events(L, r);
    else if (has(L, "events"))
        luaL_error(L, "event, or events: not both");
    if (!f->event)
        luaL_error(L, "event: required, a table or JSON text; or events, a list of them");
}

static int body(lua_State *L)
{
    struct reading *r = lua_touserdata(L, 1);
    lua_settop(L, 0);
    const char *chunk = strrchr(r->path, '/');
    lua_pushfstring(L, "@%s", chunk ? chunk + 1 : r->path);
    struct tg_str text = tg_buf_str(&r->text);
    if (luaL_loadbufferx(L, text.n ? text.p : "", text.n, lua_tostring(L, 1), "t"))
        return lua_error(L);
    tg_buf_clear(&r->text);
    lua_newtable(L); /* it sees nothing */
    lua_setfenv(L, -2);
    lua_sethook(L, too_long, LUA_MASKCOUNT, INSTRUCTIONS);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    lua_remove(L, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L, "a fixture returns a table { name, settings, event, expect, … }");
    read_fields(L, r);
    return 0;
}

static int read_file(struct reading *r, struct tg_err *err)
{
    FILE *f = fopen(r->path, "re");
    if (!f)
        return tg_fail(err, TG_NOTFOUND, "%s: cannot be read", r->path);
    char part[8192];
    size_t n;
    int rc = TG_OK;
    while (!rc && (n = fread(part, 1, sizeof part, f)) > 0)
        rc = tg_buf_add(&r->text, part, n);
    if (!rc && ferror(f))
        rc = TG_IO;
    (void)fclose(f);
    return rc ? tg_fail(err, rc, "%s: %s", r->path, tg_code_text(rc)) : TG_OK;
}

static int evaluate(struct reading *r, struct tg_err *err)
{
    size_t used = 0;
    lua_State *L = lua_newstate(allocate, &used);
    if (!L)
        return tg_fail(err, TG_NOMEM, "%s: no memory", r->path);
    int status = lua_cpcall(L, body, r), rc = TG_OK;
    if (status) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "error without a message";
        rc = tg_fail(err,
                     r->code                ? r->code
                     : status == LUA_ERRMEM ? TG_NOMEM
                                            : TG_SCRIPT,
                     "%s: %s", r->path, text);
    }
    lua_close(L);
    return rc;
}

int tg_fixture_load(const char *path, struct tg_fixture *fixture, struct tg_err *err)
{
    *fixture = (struct tg_fixture){0};
    struct reading r = {path, fixture, TG_BUF_INIT(FIXTURE_BYTES), TG_OK};
    int rc = read_file(&r, err);
    if (!rc)
        rc = evaluate(&r, err);
    tg_buf_fini(&r.text);
    const char *file = strrchr(path, '/');
    if (!rc && !fixture->name)
        fixture->name = tg_strdup(file ? file + 1 : path);
    if (!rc && !fixture->settings)
        fixture->settings = tg_strdup("{}");
    if (!rc && (!fixture->name || !fixture->settings))
        rc = tg_fail(err, TG_NOMEM, "%s: no memory", path);
    if (rc)
        tg_fixture_fini(fixture);
    return rc;
}

void tg_fixture_fini(struct tg_fixture *f)
{
    tg_free(f->name);
    tg_free(f->settings);
    tg_free(f->event);
    tg_free(f->at);
    tg_free(f->responses);
    tg_free(f->expect);
    *f = (struct tg_fixture){0};
}
