#include "script/response.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"

#include <ctype.h>
#include <lauxlib.h>

void tg_kept_fini(struct tg_kept *k)
{
    for (size_t i = 0; i < k->n_headers; i++) {
        tg_free(k->headers[i].name);
        tg_free(k->headers[i].value);
    }
    tg_free(k->headers);
    tg_free(k->body);
    k->headers = NULL;
    k->body = NULL;
    k->n_headers = k->body_len = 0;
}

void tg_kept_free(struct tg_kept *kept, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tg_kept_fini(&kept[i]);
    tg_free(kept);
}

static int add_header(struct tg_kept *k, struct tg_str name, struct tg_str value)
{
    struct tg_header *h = &k->headers[k->n_headers];
    h->name = tg_strndup(name.n ? name.p : "", name.n);
    h->value = tg_strndup(value.n ? value.p : "", value.n);
    k->n_headers++;
    return h->name && h->value ? TG_OK : TG_NOMEM;
}

int tg_kept_set(struct tg_kept *k, const struct tg_response *r)
{
    int rc = TG_OK;
    tg_kept_fini(k);
    k->status = r->status;
    k->cut = false;
    k->body = tg_strndup(r->body.n ? r->body.p : "", r->body.n);
    k->body_len = r->body.n;
    k->headers = tg_calloc(r->n_headers, sizeof *k->headers);
    if (!k->body || !k->headers)
        rc = TG_NOMEM;
    for (size_t i = 0; !rc && i < r->n_headers; i++)
        rc = add_header(k, tg_str_of(r->headers[i].name), tg_str_of(r->headers[i].value));
    if (rc)
        tg_kept_fini(k);
    return rc;
}

void tg_kept_lend(const struct tg_kept *k, struct tg_response *r)
{
    *r = (struct tg_response){.status = k->status,
                              .headers = k->headers,
                              .n_headers = k->n_headers,
                              .body = tg_str_n(k->body, k->body_len)};
}

uint32_t tg_kept_what(const struct tg_request *r)
{
    uint32_t hash = tg_crc32(0, r->method, strlen(r->method));
    const char *place = strstr(r->url, "://"); /* the address has been checked */
    place = place ? place + 3 : r->url;
    return tg_crc32(hash, place, strcspn(place, "?#")); /* the query may hold a time or a nonce */
}

/* --- as JSON --- */

static int write_body(const struct tg_kept *k, size_t limit, struct tg_buf *out)
{
    size_t n = k->body_len;
    bool cut = k->cut || n > limit, text = tg_json_utf8(k->body, k->body_len) == k->body_len;
    if (n > limit)
        n = text ? tg_json_utf8(k->body, limit) : limit;
    int rc = tg_buf_adds(out, text ? ",\"body\":" : ",\"body64\":\"");
    if (!rc && text)
        rc = tg_json_quote(out, tg_str_n(k->body, n));
    if (!rc && !text)
        rc = tg_base64(out, k->body, n, false, true);
    if (!rc && !text)
        rc = tg_buf_addc(out, '"');
    if (!rc && cut)
        rc = tg_buf_adds(out, ",\"cut\":true");
    return rc;
}

static int write_one(const struct tg_kept *k, size_t limit, struct tg_buf *out)
{
    int rc = tg_buf_printf(out, "{\"n\":%u,\"what\":%u,\"status\":%d,\"headers\":{", k->lasting, k->what,
                           k->status);
    for (size_t i = 0; !rc && limit && i < k->n_headers; i++) {
        if (i)
            rc = tg_buf_addc(out, ',');
        if (!rc)
            rc = tg_json_quote(out, tg_str_of(k->headers[i].name));
        if (!rc)
            rc = tg_buf_addc(out, ':');
        if (!rc)
            rc = tg_json_quote(out, tg_str_of(k->headers[i].value));
    }
    if (!rc)
        rc = tg_buf_addc(out, '}');
    if (!rc)
        rc = write_body(k, limit, out);
    return rc ? rc : tg_buf_addc(out, '}');
}

static int write_all(const struct tg_kept *kept, size_t n, size_t limit, struct tg_buf *out)
{
    bool first = true;
    int rc = tg_buf_addc(out, '[');
    for (size_t i = 0; !rc && i < n; i++) {
        if (!kept[i].lasting)
            continue;
        if (!first)
            rc = tg_buf_addc(out, ',');
        first = false;
        if (!rc)
            rc = write_one(&kept[i], limit, out);
    }
    return rc ? rc : tg_buf_addc(out, ']');
}

int tg_kept_write(const struct tg_kept *kept, size_t n, size_t max, struct tg_buf *json)
{
    for (size_t limit = max;; limit /= 2) { /* of one body */
        struct tg_buf b = TG_BUF_INIT(max);
        int rc = write_all(kept, n, limit, &b);
        if (!rc)
            rc = tg_buf_add(json, b.data, b.len);
        tg_buf_fini(&b);
        if (rc != TG_TOOBIG || limit == 0)
            return rc;
    }
}

static int read_headers(struct tg_kept *k, struct tg_str object)
{
    size_t n = 0;
    int rc = TG_OK;
    if (!object.n || tg_json_type(object) != TG_JSON_OBJECT)
        object = TG_STR("{}");
    struct tg_json_walk w = tg_json_walk(object);
    while (tg_json_next(&w))
        n++;
    k->headers = tg_calloc(n, sizeof *k->headers);
    if (!k->headers)
        return TG_NOMEM;
    struct tg_buf name = TG_BUF_INIT(1 << 20), value = TG_BUF_INIT(1 << 20);
    w = tg_json_walk(object);
    while (!rc && tg_json_next(&w)) {
        tg_buf_clear(&name);
        tg_buf_clear(&value);
        rc = tg_json_text(w.key, &name);
        if (!rc)
            rc = tg_json_text(w.value, &value);
        if (!rc)
            rc = add_header(k, tg_buf_str(&name), tg_buf_str(&value));
    }
    tg_buf_fini(&name);
    tg_buf_fini(&value);
    return rc;
}

static int read_body(struct tg_kept *k, struct tg_str object)
{
    struct tg_str text = tg_json_get(object, "body"), coded = tg_json_get(object, "body64"), plain;
    struct tg_buf b = TG_BUF_INIT(16 << 20);
    int rc = TG_OK;
    if (text.n)
        rc = tg_json_text(text, &b);
    else if (coded.n)
        rc = tg_json_plain(coded, &plain) ? tg_unbase64(&b, plain) : TG_INVALID;
    if (!rc) {
        k->body = tg_buf_take(&b, &k->body_len);
        rc = k->body ? TG_OK : TG_NOMEM;
    }
    tg_buf_fini(&b);
    return rc;
}

static int read_one(struct tg_kept *k, struct tg_str object)
{
    int64_t n, what, status;
    if (tg_json_type(object) != TG_JSON_OBJECT || !tg_json_int(tg_json_get(object, "n"), &n) ||
        !tg_json_int(tg_json_get(object, "status"), &status) ||
        !tg_json_int(tg_json_get(object, "what"), &what))
        return TG_INVALID;
    k->lasting = (unsigned)n;
    k->what = (uint32_t)what;
    k->status = (int)status;
    struct tg_str cut = tg_json_get(object, "cut");
    k->cut = tg_str_is(cut, "true");
    int rc = read_headers(k, tg_json_get(object, "headers"));
    return rc ? rc : read_body(k, object);
}

int tg_kept_read(struct tg_str json, struct tg_kept **kept, size_t *n)
{
    struct tg_str array;
    *kept = NULL;
    *n = 0;
    if (!json.n || tg_json_validate(json, TG_JSON_MAX_DEPTH, &array, NULL) ||
        tg_json_type(array) != TG_JSON_ARRAY)
        return TG_OK;
    struct tg_json_walk w = tg_json_walk(array);
    while (tg_json_next(&w)) {
        struct tg_kept k = {0}, *more;
        int rc = read_one(&k, w.value);
        more = rc == TG_OK ? tg_realloc(*kept, (*n + 1) * sizeof *more) : NULL;
        if (!more) {
            tg_kept_fini(&k);
            if (rc == TG_INVALID)
                continue;
            tg_kept_free(*kept, *n);
            *kept = NULL;
            *n = 0;
            return TG_NOMEM;
        }
        *kept = more;
        more[(*n)++] = k;
    }
    return TG_OK;
}

/* --- for Lua --- */

static void push_lower(lua_State *L, const char *name)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; *name; name++)
        luaL_addchar(&b, (char)tolower((unsigned char)*name));
    luaL_pushresult(&b);
}

void tg_lua_push_response(lua_State *L, const struct tg_response *r, bool cut)
{
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, r->body.n ? r->body.p : "", r->body.n);
    lua_setfield(L, -2, "body");
    if (r->error) {
        lua_pushstring(L, r->error);
        lua_setfield(L, -2, "error");
    }
    if (cut) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "cut");
    }
    tg_lua_push_headers(L, r->headers, r->n_headers);
    lua_setfield(L, -2, "headers");
}

void tg_lua_push_headers(lua_State *L, const struct tg_header *headers, size_t n)
{
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, 0, (int)n);
    for (size_t i = 0; i < n; i++) {
        push_lower(L, headers[i].name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushstring(L, headers[i].value);
        } else { /* given twice: one list, as HTTP reads it */
            lua_pushliteral(L, ", ");
            lua_pushstring(L, headers[i].value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

void tg_kept_push(lua_State *L, const struct tg_kept *k)
{
    struct tg_response r;
    tg_kept_lend(k, &r);
    tg_lua_push_response(L, &r, k->cut);
}
