#include "script/request.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/url.h"
#include "script/form.h"
#include "script/json_read.h"
#include "script/json_write.h"
#include "script/names.h"
#include "script/nearest.h"
#include "script/scalar.h"
#include "script/unwind.h"

#include <ctype.h>

enum { HEADERS_MAX = 128, URL_MAX = 64 * 1024, TEXT_ROOM = 512 };

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

/* A request and room for its short texts, which nearly always suffices: one allocation instead of ten. */
struct roomy {
    struct tg_request pub;
    size_t used;
    _Alignas(struct tg_header) char room[TEXT_ROOM];
};

/* n bytes of the request that is being built; NULL when there is no memory. */
static void *take_room(struct tg_request *r, size_t n)
{
    struct roomy *own = (struct roomy *)r;
    size_t at = (own->used + _Alignof(struct tg_header) - 1) & ~(_Alignof(struct tg_header) - 1);
    if (n > TEXT_ROOM || at > TEXT_ROOM - n)
        return tg_malloc(n);
    own->used = at + n;
    return own->room + at;
}

static void free_text(struct tg_request *r, void *p)
{
    const struct roomy *own = (struct roomy *)r;
    if ((uintptr_t)p - (uintptr_t)own->room >= TEXT_ROOM)
        tg_free(p);
}

static char *copy(lua_State *L, struct tg_request *r, struct tg_str s)
{
    char *text = take_room(r, s.n + 1);
    if (!text)
        no_memory(L);
    if (s.n)
        memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return text;
}

void tg_request_free(struct tg_request **request)
{
    struct tg_request *r = *request;
    if (!r)
        return;
    for (size_t i = 0; i < r->n_headers; i++) {
        free_text(r, r->headers[i].name);
        free_text(r, r->headers[i].value);
    }
    free_text(r, r->headers);
    free_text(r, r->method);
    free_text(r, r->url);
    free_text(r, r->rate);
    free_text(r, r->batch);
    free_text(r, r->key);
    free_text(r, r->secret);
    tg_free(r->body);
    tg_free((void *)(uintptr_t)r->item);
    tg_free(r);
    *request = NULL;
}

static struct tg_request *begin(lua_State *L)
{
    struct tg_host *h = tg_host_of(L);
    tg_request_free(&h->building); /* what an error left behind */
    struct roomy *own = tg_malloc(sizeof *own);
    if (!own)
        no_memory(L);
    own->pub = (struct tg_request){0};
    own->used = 0;
    h->building = &own->pub;
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

/* A new header, which is freed even when nothing comes into it. Room grows at 4, 8, 16 … headers. */
static struct tg_header *next_header(lua_State *L, struct tg_request *r)
{
    size_t n = r->n_headers;
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
        struct tg_header *more = take_room(r, (n ? 2 * n : 4) * sizeof *more);
        if (!more)
            no_memory(L);
        if (n)
            memcpy(more, r->headers, n * sizeof *more);
        free_text(r, r->headers);
        r->headers = more;
    }
    r->headers[n] = (struct tg_header){NULL, NULL};
    r->n_headers++;
    return &r->headers[n];
}

static void add_header(lua_State *L, struct tg_request *r, struct tg_str name, struct tg_str value)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (!tg_str_ieq(name, r->headers[i].name))
            continue;
        free_text(r, r->headers[i].value);
        r->headers[i].value = NULL;
        r->headers[i].value = copy(L, r, value);
        return;
    }
    struct tg_header *header = next_header(L, r);
    header->name = copy(L, r, name);
    header->value = copy(L, r, value);
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

/* json, form and body are in the slots from `first` on. */
static void read_body(lua_State *L, int first, struct tg_request *r)
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
                add_form(L, value, "deliver: form", scratch);
            else if (lua_type(L, value) != LUA_TSTRING)
                luaL_error(L, "deliver: body: text expected, got %s", luaL_typename(L, value));
            else
                must(L, tg_buf_add(scratch, lua_tostring(L, value), lua_objlen(L, value)), "deliver: body");
            take_scratch(L, r, scratch);
        }
    }
    if (type && !has_header(r, "Content-Type"))
        add_header(L, r, TG_STR("Content-Type"), tg_str_of(type));
}

static void read_item(lua_State *L, int at, struct tg_request *r)
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
        no_memory(L);
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

static void read_url(lua_State *L, int base, struct tg_request *r, const struct tg_dest *dest)
{
    struct tg_url url;
    struct tg_str text = {NULL, 0};
    if (lua_type(L, base + URL) == LUA_TSTRING)
        text.p = lua_tolstring(L, base + URL, &text.n);
    if (!text.n) {
        (void)luaL_error(L, "deliver: url: text expected, got %s",
                         text.p ? "nothing" : luaL_typename(L, base + URL));
        return;
    }
    check_url(L, text, dest, &url);
    struct tg_buf *scratch = &tg_host_of(L)->scratch;
    tg_buf_clear(scratch);
    must(L, tg_buf_addstr(scratch, text), "deliver: url");
    if (!lua_isnil(L, base + QUERY)) {
        char last = text.p[text.n - 1];
        bool bare = !memchr(text.p, '?', text.n);
        must(L, tg_buf_adds(scratch, bare ? "?" : last == '?' || last == '&' ? "" : "&"), "deliver: url");
        size_t before = scratch->len;
        add_form(L, base + QUERY, "deliver: query", scratch);
        if (scratch->len == before)
            scratch->len = text.n; /* nothing came: no mark either */
    }
    if (scratch->len > URL_MAX) { /* the event's doing, not the script's */
        lua_pushfstring(L, "the address would have more than %d bytes", URL_MAX);
        tg_lua_end(L, TG_UNWIND_REJECT, "url_too_long", lua_tostring(L, -1), 0);
    }
    r->url = copy(L, r, tg_buf_str(scratch));
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
        read_headers(L, base + HEADERS, r);
    read_url(L, base, r, dest);
    read_body(L, base + JSON, r);
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
        read_item(L, base + ITEM, r);
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
        add_header(L, r, tg_str_of(model->headers[i].name), tg_str_of(model->headers[i].value));
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
        read_headers(L, top + 4, r);
    read_body(L, top + 1, r);
    lua_settop(L, top);
    if (r->body_kind == TG_BODY_NONE)
        luaL_error(L, "join: returned no json, form or body");
    return r;
}
