/* join, split and judge: what a script says of batches and responses. Plain calls, no coroutine, nothing is
 * delivered. */
#include "script/batch.h"

#include "base/json.h"
#include "script/event_view.h"
#include "script/nearest.h"
#include "script/request_body.h"
#include "script/request_build.h"
#include "script/response.h"
#include "script/scalar.h"
#include "script/state.h"

#include <stdio.h>

struct verdict {
    struct tg_dest_impl *d;
    int function; /* its reference */
    struct tg_request *const *requests;
    size_t n;
    const struct tg_response *response;
    struct tg_verdict *each;
    bool decided;
};

static int find_batch(const struct tg_dest *dest, const char *name)
{
    for (size_t i = 0; name && i < dest->n_batches; i++)
        if (strcmp(dest->batches[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void push_items(lua_State *L, const struct verdict *v)
{
    lua_createtable(L, (int)v->n, 0);
    for (size_t i = 0; i < v->n; i++) {
        tg_request_push_item(L, v->requests[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_settings(lua_State *L, const struct tg_dest_impl *d)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->settings);
    tg_settings_view_push(L, -1, d->n_settings);
    lua_remove(L, -2);
}

/* Calls the function with what has been pushed above it; its errors get a traceback and go on. */
static void call(lua_State *L, int args, int results)
{
    if (tg_lua_pcall(L, args, results))
        lua_error(L);
}

static enum tg_outcome to_outcome(lua_State *L, int at, const char *function)
{
    static const struct {
        const char *word;
        enum tg_outcome outcome;
    } words[] = {{"ok", TG_OUTCOME_OK},
                 {"retry", TG_OUTCOME_RETRY},
                 {"reject", TG_OUTCOME_REJECT},
                 {"park", TG_OUTCOME_PARK}};
    const char *word = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : luaL_typename(L, at);
    for (int i = 0; i < 4; i++)
        if (lua_type(L, at) == LUA_TSTRING && strcmp(words[i].word, word) == 0)
            return words[i].outcome;
    luaL_error(L, "%s: an outcome is \"ok\", \"retry\", \"reject\" or \"park\", not %s", function, word);
    return TG_OUTCOME_REJECT;
}

/* A text, cut to n bytes with its NUL. What is none counts as absent: scripts pass on what partners say. */
static void to_text(lua_State *L, int at, char *out, size_t n)
{
    struct tg_str text = {NULL, 0};
    char room[TG_SCALAR_MAX];
    if (!tg_lua_scalar(L, at, room, &text))
        text.n = 0;
    size_t used = text.n < n ? text.n : tg_json_utf8(text.p, n - 1);
    snprintf(out, n, "%.*s", (int)used, text.n ? text.p : "");
}

/* Outcome, reason and message from three slots of the stack. */
static void to_verdict(lua_State *L, int at, const char *function, struct tg_verdict *v)
{
    *v = (struct tg_verdict){.outcome = to_outcome(L, at, function), .by_script = true};
    to_text(L, at + 1, v->reason, sizeof v->reason);
    to_text(L, at + 2, v->message, sizeof v->message);
}

/* --- join --- */

static int join_body(lua_State *L)
{
    struct verdict *v = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->function);
    push_items(L, v);
    push_settings(L, v->d);
    call(L, 2, 1);
    tg_request_join(L, lua_gettop(L), v->requests[0]);
    return 0;
}

static int ready(struct tg_dest_impl *d, struct tg_err *err)
{
    /* Not tg_host_ready: a rebuild here would end runs from within a call that does not say so. */
    if (!d->host->L)
        return tg_fail(err, TG_NOMEM, "no memory for a Lua state");
    if (!d->linked)
        return tg_fail(err, TG_SCRIPT, "destination %s: its script is not loaded", d->pub.name);
    return TG_OK;
}

int tg_dest_join(struct tg_dest *dest, struct tg_request *const *requests, size_t n, struct tg_request **out,
                 struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    int batch = n ? find_batch(dest, requests[0]->batch) : -1, rc = ready(d, err);
    if (rc)
        return rc;
    if (batch < 0)
        return tg_fail(err, TG_INVALID, "destination %s: the script has no batch '%s'", dest->name,
                       n && requests[0]->batch ? requests[0]->batch : "");
    struct verdict v = {.d = d, .function = d->joins[batch], .requests = requests, .n = n};
    rc = tg_lua_enter(d->host, d, 0, TG_PHASE_VERDICT, join_body, &v, err);
    *out = tg_request_claim(d->host);
    if (rc) {
        tg_request_free(out);
        (void)tg_err_prefix(err, "destination %s: batch %s: join", dest->name, requests[0]->batch);
        return rc == TG_NOMEM ? rc : TG_SCRIPT;
    }
    return TG_OK;
}

/* --- outcomes --- */

/* The parts of an outcome that is a table, by name or by place. */
static const char *const parts[] = {"outcome", "reason", "message", NULL};

static int unknown_part(lua_State *L, const char *function)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_error(L, "%s: an outcome is { outcome, reason, message }, without a fourth member",
                          function);
    const char *name = lua_tostring(L, -1), *near = tg_nearest_of(tg_str_of(name), parts);
    return luaL_error(L, "%s: an outcome has no '%s'%s%s%s", function, name, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

static void check_parts(lua_State *L, int row, const char *function)
{
    for (lua_pushnil(L); lua_next(L, row);) {
        lua_pop(L, 1);
        bool known = lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 && lua_tonumber(L, -1) <= 3;
        for (int i = 0; parts[i] && !known; i++)
            known = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), parts[i]) == 0;
        if (!known)
            unknown_part(L, function);
    }
}

/* The value on top: "ok", { "reject", "reason", "message" } or the same by name. */
static void read_outcome(lua_State *L, const char *function, struct tg_verdict *v)
{
    int row = lua_gettop(L);
    if (lua_istable(L, row)) {
        check_parts(L, row, function);
        for (int i = 0; parts[i]; i++) {
            lua_getfield(L, row, parts[i]);
            if (!lua_isnil(L, -1))
                continue;
            lua_pop(L, 1);
            lua_rawgeti(L, row, i + 1);
        }
    } else {
        lua_pushvalue(L, row);
        lua_settop(L, row + 3);
    }
    to_verdict(L, row + 1, function, v);
    lua_settop(L, row);
}

/* --- split --- */

static int split_body(lua_State *L)
{
    struct verdict *v = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->function);
    tg_lua_push_response(L, v->response, false);
    push_items(L, v);
    push_settings(L, v->d);
    call(L, 3, 1);
    v->decided = !lua_isnil(L, -1);
    if (!v->decided)
        return 0; /* the call failed as a whole */
    if (!lua_istable(L, -1) || lua_objlen(L, -1) != v->n)
        return luaL_error(L, "split: nil or a list of %d outcomes is wanted, one per item", (int)v->n);
    for (size_t i = 0; i < v->n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        read_outcome(L, "split", &v->each[i]);
        lua_pop(L, 1);
    }
    return 0;
}

int tg_dest_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                  const struct tg_response *response, struct tg_verdict *each, struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    int batch = n ? find_batch(dest, requests[0]->batch) : -1, rc = ready(d, err);
    if (rc)
        return rc;
    if (batch < 0 || !dest->batches[batch].has_split)
        return tg_fail(err, TG_SCRIPT, "destination %s: there is no split", dest->name);
    struct verdict v = {d, d->splits[batch], requests, n, response, each, false};
    rc = tg_lua_enter(d->host, d, 0, TG_PHASE_VERDICT, split_body, &v, err);
    if (rc)
        (void)tg_err_prefix(err, "destination %s: batch %s", dest->name, requests[0]->batch);
    return rc ? TG_SCRIPT : v.decided;
}

/* --- judge --- */

static void push_request(lua_State *L, const struct tg_request *r)
{
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)r->call);
    lua_setfield(L, -2, "call");
    lua_pushstring(L, r->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, r->url);
    lua_setfield(L, -2, "url");
    lua_pushlstring(L, r->body ? r->body : "", r->body_len);
    lua_setfield(L, -2, "body");
    if (r->batch)
        lua_pushstring(L, r->batch);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, "batch");
    tg_lua_push_headers(L, r->headers, r->n_headers);
    lua_setfield(L, -2, "headers");
}

static int judge_body(lua_State *L)
{
    struct verdict *v = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->function);
    tg_lua_push_response(L, v->response, false);
    push_request(L, v->requests[0]);
    push_settings(L, v->d);
    call(L, 3, 3);
    v->decided = !lua_isnil(L, -3);
    if (lua_istable(L, -3)) {
        lua_pop(L, 2);
        read_outcome(L, "judge", v->each);
    } else if (v->decided) {
        to_verdict(L, lua_gettop(L) - 2, "judge", v->each);
    }
    return 0;
}

int tg_dest_judge(struct tg_dest *dest, const struct tg_request *request, const struct tg_response *response,
                  struct tg_verdict *verdict, struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    struct tg_request *const one[1] = {(struct tg_request *)request};
    int rc = ready(d, err);
    if (rc)
        return rc;
    if (d->judge == LUA_REFNIL)
        return 0;
    struct verdict v = {d, d->judge, one, 1, response, verdict, false};
    rc = tg_lua_enter(d->host, d, 0, TG_PHASE_VERDICT, judge_body, &v, err);
    if (rc) {
        (void)tg_err_prefix(err, "destination %s: judge", dest->name);
        return TG_SCRIPT;
    }
    return v.decided ? 1 : 0;
}
