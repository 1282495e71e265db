#include "script/request_build.h"

#include "script/nearest.h"
#include "script/request_body.h"
#include "script/request_headers.h"
#include "script/request_url.h"
#include "script/scalar.h"
#include "script/state.h"

#include <string.h>

static char *copy(lua_State *L, struct tg_request *r, struct tg_str s)
{
    char *text = tg_request_text(r, s);
    if (!text)
        tg_lua_no_memory(L);
    return text;
}

static struct tg_request *begin(lua_State *L)
{
    struct tg_host *h = tg_host_of(L);
    tg_request_free(&h->building); /* what an error left behind */
    h->building = tg_request_new();
    if (!h->building)
        tg_lua_no_memory(L);
    return h->building;
}

struct tg_request *tg_request_claim(struct tg_host *h)
{
    struct tg_request *r = h->building;
    h->building = NULL;
    return r;
}

/* --- fields --- */

/* Those of deliver's table, in the order of `fields`. All are read in one walk and wait on the stack, each in
 * its slot above `base`. */
enum field {
    METHOD,
    URL,
    QUERY,
    HEADERS,
    JSON,
    FORM,
    BODY,
    RATE,
    BATCH,
    KEY,
    ITEM,
    REPEATABLE,
    GZIP,
    SECRET,
    SHARE,
    FIELDS
};
static const char *const fields[] = {"method", "url",    "query", "headers", "json", "form",
                                     "body",   "rate",   "batch", "key",     "item", "repeatable",
                                     "gzip",   "secret", "share", NULL};

static int unknown_field(lua_State *L, int key)
{
    if (lua_type(L, key) != LUA_TSTRING)
        return luaL_error(L, "deliver: fields have names, this table has a %s as key", luaL_typename(L, key));
    struct tg_str name;
    name.p = lua_tolstring(L, key, &name.n);
    const char *near = tg_nearest_of(name, fields);
    return luaL_error(L, "deliver: unknown field '%s'%s%s%s", name.p, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

static int field_of(lua_State *L, int key)
{
    const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tostring(L, key) : "";
    for (int i = 0; i < FIELDS; i++)
        if (name[0] == fields[i][0] && lua_objlen(L, key) == strlen(fields[i]) &&
            strcmp(name, fields[i]) == 0)
            return i;
    return unknown_field(L, key);
}

/* Pushes the fields of the table at idx; returns the first one's slot. */
static int push_fields(lua_State *L, int idx)
{
    int base = lua_gettop(L) + 1;
    luaL_checkstack(L, FIELDS + 16, "deliver");
    lua_settop(L, base + FIELDS); /* the last one is lua_next's first key */
    while (lua_next(L, idx)) {
        int i = field_of(L, base + FIELDS);
        lua_replace(L, base + i);
    }
    if (!lua_getmetatable(L, idx))
        return base;
    for (int i = 0; i < FIELDS; i++) { /* what the script lets the table inherit */
        lua_getfield(L, idx, fields[i]);
        lua_replace(L, base + i);
    }
    lua_settop(L, base + FIELDS);
    return base;
}

/* --- the rest --- */

/* The text of the field in slot idx, or NULL when it is absent. */
static char *read_text(lua_State *L, int base, enum field field, struct tg_request *r)
{
    struct tg_str text = {NULL, 0};
    int at = base + (int)field;
    char room[TG_SCALAR_MAX];
    if (lua_isnil(L, at))
        return NULL;
    if (lua_isboolean(L, at) || !tg_lua_scalar(L, at, room, &text) || !text.n)
        luaL_error(L, "deliver: %s: text expected", fields[field]);
    return copy(L, r, text);
}

static bool read_flag(lua_State *L, int base, enum field field)
{
    int at = base + (int)field;
    if (!lua_isnil(L, at) && !lua_isboolean(L, at))
        luaL_error(L, "deliver: %s: true or false expected, got %s", fields[field], luaL_typename(L, at));
    return lua_toboolean(L, at);
}

static void read_method(lua_State *L, int base, struct tg_request *r)
{
    r->method = read_text(L, base, METHOD, r);
    if (!r->method) {
        r->method = copy(L, r, r->body_kind != TG_BODY_NONE || r->batch ? TG_STR("POST") : TG_STR("GET"));
        return;
    }
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", NULL};
    for (const char *const *m = methods; *m; m++)
        if (strcmp(*m, r->method) == 0)
            return;
    luaL_error(L, "deliver: method: '%s' is none of GET POST PUT PATCH DELETE HEAD OPTIONS", r->method);
}

static void check_names(lua_State *L, const struct tg_request *r, const struct tg_dest *dest)
{
    bool rate = !r->rate, batch = !r->batch;
    for (size_t i = 0; i < dest->n_rates; i++)
        rate = rate || strcmp(r->rate, dest->rates[i].name) == 0;
    for (size_t i = 0; i < dest->n_batches; i++)
        batch = batch || strcmp(r->batch, dest->batches[i].name) == 0;
    if (!rate)
        luaL_error(L, "deliver: rate: the script's rates have no '%s'", r->rate);
    if (!batch)
        luaL_error(L, "deliver: batch: the script's batches have no '%s'", r->batch);
}

struct tg_request *tg_request_build(lua_State *L, int idx, const struct tg_dest *dest)
{
    if (!lua_istable(L, idx))
        luaL_error(L, "deliver: a table { method, url, … } expected, got %s", luaL_typename(L, idx));
    int top = lua_gettop(L), base = push_fields(L, idx);
    struct tg_request *r = begin(L); /* only now: a metamethod of the script's may have called deliver */
    if (!lua_isnil(L, base + HEADERS))
        tg_request_read_headers(L, base + HEADERS, r);
    tg_request_read_url(L, base + URL, base + QUERY, r, dest);
    tg_request_read_body(L, base + JSON, r);
    r->rate = read_text(L, base, RATE, r);
    r->batch = read_text(L, base, BATCH, r);
    r->key = read_text(L, base, KEY, r);
    r->repeatable = read_flag(L, base, REPEATABLE);
    r->gzip = read_flag(L, base, GZIP);
    r->secret = read_text(L, base, SECRET, r);
    r->share = read_flag(L, base, SHARE);
    check_names(L, r, dest);
    read_method(L, base, r);
    if (r->batch && r->body_kind != TG_BODY_NONE)
        luaL_error(L,
                   "deliver: with batch the body comes from join: give item instead of json, form or body");
    if (r->batch && r->share)
        luaL_error(L, "deliver: share: requests of a batch go out together anyway");
    if (r->batch && r->secret)
        luaL_error(L, "deliver: secret: a batch has none, its bodies belong to many");
    if (r->batch)
        tg_request_read_item(L, base + ITEM, r);
    lua_settop(L, top);
    return r;
}

static void copy_model(lua_State *L, struct tg_request *r, const struct tg_request *model)
{
    r->call = model->call;
    r->method = copy(L, r, tg_str_of(model->method));
    r->url = copy(L, r, tg_str_of(model->url));
    r->rate = model->rate ? copy(L, r, tg_str_of(model->rate)) : NULL;
    r->batch = model->batch ? copy(L, r, tg_str_of(model->batch)) : NULL;
    r->gzip = model->gzip;
    r->repeatable = model->repeatable;
    for (size_t i = 0; i < model->n_headers; i++)
        tg_request_put_header(L, r, tg_str_of(model->headers[i].name), tg_str_of(model->headers[i].value));
}

struct tg_request *tg_request_join(lua_State *L, int idx, const struct tg_request *model)
{
    static const char *const known[] = {"json", "form", "body", "headers", NULL};
    if (!lua_istable(L, idx))
        luaL_error(L, "join: a table { json | form | body, headers } expected, got %s",
                   luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        int i = 0;
        while (known[i] && !(lua_type(L, -1) == LUA_TSTRING && strcmp(known[i], lua_tostring(L, -1)) == 0))
            i++;
        if (!known[i])
            luaL_error(L, "join: unknown field '%s': json, form, body or headers",
                       lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1));
    }
    int top = lua_gettop(L);
    for (int i = 0; known[i]; i++)
        lua_getfield(L, idx, known[i]);
    struct tg_request *r = begin(L);
    copy_model(L, r, model);
    if (!lua_isnil(L, top + 4))
        tg_request_read_headers(L, top + 4, r);
    tg_request_read_body(L, top + 1, r);
    lua_settop(L, top);
    if (r->body_kind == TG_BODY_NONE)
        luaL_error(L, "join: returned no json, form or body");
    return r;
}
