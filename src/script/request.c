#include "script/request.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/form.h"
#include "script/json_codec.h"
#include "script/names.h"
#include "script/nearest.h"
#include "script/scalar.h"
#include "script/unwind.h"

#include <ctype.h>

enum { HEADERS_MAX = 128, URL_MAX = 64 * 1024 };

/* The value of an item, outside the Lua state: a batch may wait longer than the state lives. */
struct item {
    bool text; /* a string as it is; else JSON */
    size_t n;
    char bytes[];
};

__attribute__((noreturn)) static void no_memory(lua_State *L)
{
    tg_host_of(L)->heap.refused = true;
    (void)luaL_error(L, "out of memory");
    __builtin_unreachable();
}

static void must(lua_State *L, int rc, const char *what)
{
    if (rc == TG_NOMEM)
        no_memory(L);
    if (rc)
        luaL_error(L, "%s: %s", what, tg_code_text(rc));
}

static char *copy(lua_State *L, struct tg_str s)
{
    char *text = tg_strndup(s.n ? s.p : "", s.n);
    if (!text)
        no_memory(L);
    return text;
}

void tg_request_free(struct tg_request **request)
{
    struct tg_request *r = *request;
    if (!r)
        return;
    for (size_t i = 0; i < r->n_headers; i++) {
        tg_free(r->headers[i].name);
        tg_free(r->headers[i].value);
    }
    tg_free(r->headers);
    tg_free(r->method);
    tg_free(r->url);
    tg_free(r->body);
    tg_free(r->rate);
    tg_free(r->batch);
    tg_free(r->key);
    tg_free((void *)(uintptr_t)r->item);
    tg_free(r);
    *request = NULL;
}

static struct tg_request *begin(lua_State *L)
{
    struct tg_host *h = tg_host_of(L);
    tg_request_free(&h->building); /* what an error left behind */
    h->building = tg_calloc(1, sizeof *h->building);
    if (!h->building)
        no_memory(L);
    return h->building;
}

struct tg_request *tg_request_claim(struct tg_host *h)
{
    struct tg_request *r = h->building;
    h->building = NULL;
    return r;
}

static bool is_null(lua_State *L, int idx)
{
    return lua_isnil(L, idx) || (lua_type(L, idx) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx));
}

/* Adds the form of the table at idx. */
static void add_form(lua_State *L, int idx, const char *what, struct tg_buf *out)
{
    size_t n;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: a table { name = value } expected, got %s", what, luaL_typename(L, idx));
    tg_lua_push_form(L, idx, false, what);
    const char *text = lua_tolstring(L, -1, &n);
    must(L, tg_buf_add(out, text, n), what);
    lua_pop(L, 1);
}

/* --- headers --- */

static bool is_token(struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("!#$%&'*+-.^_`|~", s.p[i], 15))
            return false;
    return s.n > 0;
}

/* Those that belong to the connection. */
static const char *const reserved[] = {"Host",    "Content-Length",  "Transfer-Encoding", "Connection",
                                       "Expect",  "Upgrade",         "Accept-Encoding",   "TE",
                                       "Trailer", "Content-Encoding"};

static void check_header(lua_State *L, struct tg_str name, struct tg_str value)
{
    if (!is_token(name))
        luaL_error(L, "deliver: headers: '%s' is not a header name", name.p);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (tg_str_ieq(name, reserved[i]))
            luaL_error(L, "deliver: headers: '%s' is set by the relay itself", name.p);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 127) {
            const char *message = lua_pushfstring(L, "header %s would hold a control character", name.p);
            tg_lua_end(L, TG_UNWIND_REJECT, "invalid_header_value", message, 0);
        }
    }
}

static bool has_header(const struct tg_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return true;
    return false;
}

static void add_header(lua_State *L, struct tg_request *r, struct tg_str name, struct tg_str value)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (!tg_str_ieq(name, r->headers[i].name))
            continue;
        tg_free(r->headers[i].value);
        r->headers[i].value = NULL;
        r->headers[i].value = copy(L, value);
        return;
    }
    struct tg_header *more = tg_realloc(r->headers, (r->n_headers + 1) * sizeof *more);
    if (!more)
        no_memory(L);
    r->headers = more;
    more[r->n_headers] = (struct tg_header){NULL, NULL};
    r->n_headers++; /* so that it is freed even when the value cannot be copied */
    more[r->n_headers - 1].name = copy(L, name);
    more[r->n_headers - 1].value = copy(L, value);
}

/* Pushes a userdata that holds the sorted names of the table at idx. */
static struct tg_names *header_names(lua_State *L, int idx)
{
    if (!lua_istable(L, idx))
        luaL_error(L, "deliver: headers: a table { name = value } expected, got %s", luaL_typename(L, idx));
    struct tg_names *names = tg_lua_names(L, idx);
    if (names->other != LUA_TNIL)
        luaL_error(L, "deliver: headers: names must be text, got a %s", lua_typename(L, names->other));
    if (names->n > HEADERS_MAX)
        luaL_error(L, "deliver: headers: more than %d", HEADERS_MAX);
    return names;
}

static void read_headers(lua_State *L, int idx, struct tg_request *r)
{
    int top = lua_gettop(L);
    struct tg_names *names = header_names(L, idx);
    for (size_t i = 0; i < names->n; i++) {
        char room[TG_SCALAR_MAX];
        struct tg_str value;
        lua_pushlstring(L, names->v[i].p, names->v[i].n);
        lua_rawget(L, idx);
        if (!is_null(L, -1)) {
            if (!tg_lua_scalar(L, lua_gettop(L), room, &value))
                luaL_error(L, "deliver: headers: '%s' is a %s, text is wanted", names->v[i].p,
                           luaL_typename(L, -1));
            value = tg_str_trim(value);
            if (value.n == 0)
                value = TG_STR("");
            check_header(L, names->v[i], value);
            add_header(L, r, names->v[i], value);
        }
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
}

/* --- bodies --- */

static void take_scratch(lua_State *L, struct tg_request *r, const struct tg_buf *b)
{
    r->body = tg_strndup(b->data ? b->data : "", b->len);
    if (!r->body)
        no_memory(L);
    r->body_len = b->len;
}

static void encode(lua_State *L, int idx, const char *what, struct tg_buf *out)
{
    char why[256];
    int rc = tg_lua_encode_json(L, idx, out, why, sizeof why);
    if (rc == TG_NOMEM)
        no_memory(L);
    if (rc)
        luaL_error(L, "deliver: %s: %s", what, why);
}

static void read_body(lua_State *L, int idx, struct tg_request *r)
{
    static const struct {
        const char *name, *type;
        enum tg_body_kind kind;
    } kinds[] = {{"json", "application/json", TG_BODY_JSON},
                 {"form", "application/x-www-form-urlencoded", TG_BODY_FORM},
                 {"body", "application/octet-stream", TG_BODY_RAW}};
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    const char *type = NULL;
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, idx, kinds[i].name);
        if (!lua_isnil(L, -1)) {
            if (type)
                luaL_error(L, "deliver: only one of json, form and body may be given");
            type = kinds[i].type;
            r->body_kind = kinds[i].kind;
            tg_buf_clear(scratch);
            int value = lua_gettop(L);
            if (r->body_kind == TG_BODY_JSON)
                encode(L, value, "json", scratch);
            else if (r->body_kind == TG_BODY_FORM)
                add_form(L, value, "deliver: form", scratch);
            else if (lua_type(L, value) != LUA_TSTRING)
                luaL_error(L, "deliver: body: text expected, got %s", luaL_typename(L, value));
            else
                must(L, tg_buf_add(scratch, lua_tostring(L, value), lua_objlen(L, value)), "deliver: body");
            take_scratch(L, r, scratch);
        }
        lua_pop(L, 1);
    }
    if (type && !has_header(r, "Content-Type"))
        add_header(L, r, TG_STR("Content-Type"), tg_str_of(type));
}

static void read_item(lua_State *L, int idx, struct tg_request *r)
{
    lua_getfield(L, idx, "item");
    if (lua_isnil(L, -1))
        luaL_error(L, "deliver: a batch needs an item, the value that join gets");
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    struct tg_str bytes;
    bool text = lua_type(L, -1) == LUA_TSTRING;
    if (text) {
        bytes.p = lua_tolstring(L, -1, &bytes.n);
    } else {
        tg_buf_clear(scratch);
        encode(L, lua_gettop(L), "item", scratch);
        bytes = tg_buf_str(scratch);
    }
    struct item *item = tg_malloc(sizeof *item + bytes.n);
    if (!item)
        no_memory(L);
    item->text = text;
    item->n = bytes.n;
    if (bytes.n)
        memcpy(item->bytes, bytes.p, bytes.n);
    r->item = (uintptr_t)item;
    r->item_bytes = bytes.n;
    lua_pop(L, 1);
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

/* --- URL --- */

static bool host_allowed(const struct tg_dest *dest, struct tg_str host)
{
    for (char **h = dest->hosts; h && *h; h++) {
        if (tg_str_ieq(host, *h))
            return true;
        size_t n = strlen(*h); /* "*.example.com": any name below */
        if ((*h)[0] == '*' && host.n >= n && strncasecmp(host.p + host.n - (n - 1), *h + 1, n - 1) == 0)
            return true;
    }
    return false;
}

static void check_url(lua_State *L, struct tg_str text, const struct tg_dest *dest, struct tg_url *url)
{
    struct tg_err err;
    if (tg_url_parse(text, url, &err))
        luaL_error(L, "deliver: url: %s", err.msg);
    if (url->fragment.n)
        luaL_error(L, "deliver: url: a fragment (#) is never sent: encode it or leave it out");
    if (!url->https && !tg_host_of(L)->options.allow_private)
        luaL_error(L, "deliver: url: https only (http needs egress.allow_private)");
    if (!host_allowed(dest, url->host)) {
        lua_pushlstring(L, url->host.p, url->host.n);
        luaL_error(L,
                   "deliver: url: the script does not name host '%s': add it to hosts, or give the address "
                   "by a setting "
                   "of type url",
                   lua_tostring(L, -1));
    }
}

static void read_url(lua_State *L, int idx, struct tg_request *r, const struct tg_dest *dest)
{
    struct tg_url url;
    struct tg_str text = {NULL, 0};
    lua_getfield(L, idx, "url");
    if (lua_type(L, -1) == LUA_TSTRING)
        text.p = lua_tolstring(L, -1, &text.n);
    if (!text.n) {
        (void)luaL_error(L, "deliver: url: text expected, got %s", text.p ? "nothing" : luaL_typename(L, -1));
        return;
    }
    check_url(L, text, dest, &url);
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    tg_buf_clear(scratch);
    must(L, tg_buf_addstr(scratch, text), "deliver: url");
    lua_getfield(L, idx, "query");
    if (!lua_isnil(L, -1)) {
        char last = text.p[text.n - 1];
        bool bare = !memchr(text.p, '?', text.n);
        must(L, tg_buf_adds(scratch, bare ? "?" : last == '?' || last == '&' ? "" : "&"), "deliver: url");
        size_t before = scratch->len;
        add_form(L, lua_gettop(L), "deliver: query", scratch);
        if (scratch->len == before)
            scratch->len = text.n; /* nothing came: no mark either */
    }
    if (scratch->len > URL_MAX) { /* the event's doing, not the script's */
        lua_pushfstring(L, "the address would have more than %d bytes", URL_MAX);
        tg_lua_end(L, TG_UNWIND_REJECT, "url_too_long", lua_tostring(L, -1), 0);
    }
    lua_pop(L, 2);
    r->url = copy(L, tg_buf_str(scratch));
}

/* --- the rest --- */

static const char *const fields[] = {"method", "url",   "query", "headers", "json",       "form", "body",
                                     "rate",   "batch", "key",   "item",    "repeatable", "gzip", NULL};

static void check_fields(lua_State *L, int idx)
{
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        struct tg_str name = {"?", 1};
        if (lua_type(L, -1) == LUA_TSTRING)
            name.p = lua_tolstring(L, -1, &name.n);
        int i = 0;
        while (fields[i] && !tg_str_is(name, fields[i]))
            i++;
        if (fields[i])
            continue;
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "deliver: fields have names, this table has a %s as key", luaL_typename(L, -1));
        const char *near = tg_nearest_of(name, fields);
        luaL_error(L, "deliver: unknown field '%s'%s%s%s", name.p, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
    }
}

/* The text field `name`, or NULL when it is absent. */
static char *read_text(lua_State *L, int idx, const char *name)
{
    struct tg_str text = {NULL, 0};
    lua_getfield(L, idx, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return NULL;
    }
    char room[TG_SCALAR_MAX];
    if (lua_isboolean(L, -1) || !tg_lua_scalar(L, lua_gettop(L), room, &text) || !text.n)
        luaL_error(L, "deliver: %s: text expected", name);
    char *c = copy(L, text);
    lua_pop(L, 1);
    return c;
}

static bool read_flag(lua_State *L, int idx, const char *name)
{
    lua_getfield(L, idx, name);
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        luaL_error(L, "deliver: %s: true or false expected, got %s", name, luaL_typename(L, -1));
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

static void read_method(lua_State *L, int idx, struct tg_request *r)
{
    r->method = read_text(L, idx, "method");
    if (!r->method) {
        r->method = copy(L, r->body_kind != TG_BODY_NONE || r->batch ? TG_STR("POST") : TG_STR("GET"));
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
    struct tg_request *r = begin(L);
    if (!lua_istable(L, idx))
        luaL_error(L, "deliver: a table { method, url, … } expected, got %s", luaL_typename(L, idx));
    check_fields(L, idx);
    lua_getfield(L, idx, "headers");
    if (!lua_isnil(L, -1))
        read_headers(L, lua_gettop(L), r);
    lua_pop(L, 1);
    read_url(L, idx, r, dest);
    read_body(L, idx, r);
    r->rate = read_text(L, idx, "rate");
    r->batch = read_text(L, idx, "batch");
    r->key = read_text(L, idx, "key");
    r->repeatable = read_flag(L, idx, "repeatable");
    r->gzip = read_flag(L, idx, "gzip");
    check_names(L, r, dest);
    read_method(L, idx, r);
    if (!r->batch)
        return r;
    if (r->body_kind != TG_BODY_NONE)
        luaL_error(L,
                   "deliver: with batch the body comes from join: give item instead of json, form or body");
    read_item(L, idx, r);
    return r;
}

static void copy_model(lua_State *L, struct tg_request *r, const struct tg_request *model)
{
    r->call = model->call;
    r->method = copy(L, tg_str_of(model->method));
    r->url = copy(L, tg_str_of(model->url));
    r->rate = model->rate ? copy(L, tg_str_of(model->rate)) : NULL;
    r->batch = model->batch ? copy(L, tg_str_of(model->batch)) : NULL;
    r->gzip = model->gzip;
    r->repeatable = model->repeatable;
    for (size_t i = 0; i < model->n_headers; i++)
        add_header(L, r, tg_str_of(model->headers[i].name), tg_str_of(model->headers[i].value));
}

struct tg_request *tg_request_join(lua_State *L, int idx, const struct tg_request *model)
{
    static const char *const known[] = {"json", "form", "body", "headers", NULL};
    struct tg_request *r = begin(L);
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
    copy_model(L, r, model);
    lua_getfield(L, idx, "headers");
    if (!lua_isnil(L, -1))
        read_headers(L, lua_gettop(L), r);
    lua_pop(L, 1);
    read_body(L, idx, r);
    if (r->body_kind == TG_BODY_NONE)
        luaL_error(L, "join: returned no json, form or body");
    return r;
}
