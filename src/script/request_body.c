#include "script/request_body.h"

#include "base/mem.h"
#include "script/form.h"
#include "script/json_read.h"
#include "script/json_write.h"
#include "script/request_headers.h"
#include "script/state.h"

#include <string.h>

/* The value of an item, outside the Lua state: a batch may wait longer than the state lives. */
struct item {
    bool text; /* a string as it is; else JSON */
    size_t n;
    char bytes[];
};

void tg_request_must(lua_State *L, int rc, const char *what)
{
    if (rc == TG_NOMEM)
        tg_lua_no_memory(L);
    if (rc)
        luaL_error(L, "%s: %s", what, tg_code_text(rc));
}

void tg_request_add_form(lua_State *L, int idx, const char *what, struct tg_buf *out)
{
    size_t n;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: a table { name = value } expected, got %s", what, luaL_typename(L, idx));
    tg_lua_push_form(L, idx, false, what);
    const char *text = lua_tolstring(L, -1, &n);
    tg_request_must(L, tg_buf_add(out, text, n), what);
    lua_pop(L, 1);
}

static void take_scratch(lua_State *L, struct tg_request *r, const struct tg_buf *b)
{
    r->body = tg_strndup(b->data ? b->data : "", b->len);
    if (!r->body)
        tg_lua_no_memory(L);
    r->body_len = b->len;
}

static void encode(lua_State *L, int idx, const char *what, struct tg_buf *out)
{
    char why[256];
    int rc = tg_lua_encode_json(L, idx, out, why, sizeof why);
    if (rc == TG_NOMEM)
        tg_lua_no_memory(L);
    if (rc)
        luaL_error(L, "deliver: %s: %s", what, why);
}

void tg_request_read_body(lua_State *L, int first, struct tg_request *r)
{
    static const struct {
        const char *type;
        enum tg_body_kind kind;
    } kinds[] = {{"application/json", TG_BODY_JSON},
                 {"application/x-www-form-urlencoded", TG_BODY_FORM},
                 {"application/octet-stream", TG_BODY_RAW}};
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    const char *type = NULL;
    for (int i = 0; i < 3; i++) {
        int value = first + i;
        if (!lua_isnil(L, value)) {
            if (type)
                luaL_error(L, "deliver: only one of json, form and body may be given");
            type = kinds[i].type;
            r->body_kind = kinds[i].kind;
            tg_buf_clear(scratch);
            if (r->body_kind == TG_BODY_JSON)
                encode(L, value, "json", scratch);
            else if (r->body_kind == TG_BODY_FORM)
                tg_request_add_form(L, value, "deliver: form", scratch);
            else if (lua_type(L, value) != LUA_TSTRING)
                luaL_error(L, "deliver: body: text expected, got %s", luaL_typename(L, value));
            else
                tg_request_must(L, tg_buf_add(scratch, lua_tostring(L, value), lua_objlen(L, value)),
                                "deliver: body");
            take_scratch(L, r, scratch);
        }
    }
    if (type && !tg_request_has_header(r, "Content-Type"))
        tg_request_put_header(L, r, TG_STR("Content-Type"), tg_str_of(type));
}

void tg_request_read_item(lua_State *L, int at, struct tg_request *r)
{
    if (lua_isnil(L, at))
        luaL_error(L, "deliver: a batch needs an item, the value that join gets");
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    struct tg_str bytes;
    bool text = lua_type(L, at) == LUA_TSTRING;
    if (text) {
        bytes.p = lua_tolstring(L, at, &bytes.n);
    } else {
        tg_buf_clear(scratch);
        encode(L, at, "item", scratch);
        bytes = tg_buf_str(scratch);
    }
    struct item *item = tg_malloc(sizeof *item + bytes.n);
    if (!item)
        tg_lua_no_memory(L);
    item->text = text;
    item->n = bytes.n;
    if (bytes.n)
        memcpy(item->bytes, bytes.p, bytes.n);
    r->item = (uintptr_t)item;
    r->item_bytes = bytes.n;
}

void tg_request_push_item(lua_State *L, const struct tg_request *r)
{
    const struct item *item = (const struct item *)(uintptr_t)r->item;
    if (!item)
        lua_pushnil(L);
    else if (item->text)
        lua_pushlstring(L, item->bytes, item->n);
    else
        tg_lua_push_json(L, tg_str_n(item->bytes, item->n), TG_JSON_NULL_AS_NIL);
}
