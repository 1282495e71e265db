/* join, split and judge: what a script says of batches and responses. Plain calls, no coroutine, nothing is
 * delivered. */
#include "base/mem.h"
#include "script/event_view.h"
#include "script/host_impl.h"
#include "script/request.h"
#include "script/response.h"

#include <stdio.h>

struct verdict {
    struct tg_dest_impl *d;
    int function; /* its reference */
    struct tg_request *const *requests;
    size_t n;
    const struct tg_response *response;
    enum tg_outcome *outcomes;
    char (*reasons)[TG_REASON_MAX];
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

static void to_reason(lua_State *L, int at, char reason[TG_REASON_MAX])
{
    const char *text = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "";
    snprintf(reason, TG_REASON_MAX, "%s", text);
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

/* --- split --- */

static void split_row(lua_State *L, struct verdict *v, size_t i)
{
    int row = lua_gettop(L);
    if (lua_istable(L, row)) { /* { "reject", "reason" } or { outcome = …, reason = … } */
        lua_getfield(L, row, "outcome");
        lua_getfield(L, row, "reason");
        if (lua_isnil(L, -2)) {
            lua_settop(L, row);
            lua_rawgeti(L, row, 1);
            lua_rawgeti(L, row, 2);
        }
    } else {
        lua_pushvalue(L, row);
        lua_pushnil(L);
    }
    v->outcomes[i] = to_outcome(L, row + 1, "split");
    to_reason(L, row + 2, v->reasons[i]);
    lua_settop(L, row);
}

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
        split_row(L, v, i);
        lua_pop(L, 1);
    }
    return 0;
}

int tg_dest_split(struct tg_dest *dest, struct tg_request *const *requests, size_t n,
                  const struct tg_response *response, enum tg_outcome *outcomes,
                  char (*reasons)[TG_REASON_MAX], struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    int batch = n ? find_batch(dest, requests[0]->batch) : -1, rc = ready(d, err);
    if (rc)
        return rc;
    if (batch < 0 || !dest->batches[batch].has_split)
        return tg_fail(err, TG_SCRIPT, "destination %s: there is no split", dest->name);
    struct verdict v = {d, d->splits[batch], requests, n, response, outcomes, reasons, false};
    rc = tg_lua_enter(d->host, d, 0, TG_PHASE_VERDICT, split_body, &v, err);
    if (rc)
        (void)tg_err_prefix(err, "destination %s: batch %s", dest->name, requests[0]->batch);
    return rc ? TG_SCRIPT : v.decided;
}

/* --- judge --- */

static void push_request(lua_State *L, const struct tg_request *r)
{
    lua_createtable(L, 0, 5);
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
}

static int judge_body(lua_State *L)
{
    struct verdict *v = lua_touserdata(L, 1);
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->function);
    tg_lua_push_response(L, v->response, false);
    push_request(L, v->requests[0]);
    push_settings(L, v->d);
    call(L, 3, 2);
    v->decided = !lua_isnil(L, -2);
    if (!v->decided)
        return 0;
    v->outcomes[0] = to_outcome(L, lua_gettop(L) - 1, "judge");
    to_reason(L, lua_gettop(L), v->reasons[0]);
    return 0;
}

int tg_dest_judge(struct tg_dest *dest, const struct tg_request *request, const struct tg_response *response,
                  enum tg_outcome *outcome, char reason[TG_REASON_MAX], struct tg_err *err)
{
    struct tg_dest_impl *d = dest->impl;
    struct tg_request *const one[1] = {(struct tg_request *)request};
    int rc = ready(d, err);
    if (rc)
        return rc;
    if (d->judge == LUA_REFNIL)
        return 0;
    struct verdict v = {d, d->judge, one, 1, response, outcome, (char(*)[TG_REASON_MAX])reason, false};
    rc = tg_lua_enter(d->host, d, 0, TG_PHASE_VERDICT, judge_body, &v, err);
    if (rc) {
        (void)tg_err_prefix(err, "destination %s: judge", dest->name);
        return TG_SCRIPT;
    }
    return v.decided ? 1 : 0;
}
