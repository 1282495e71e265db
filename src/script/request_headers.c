#include "script/request_headers.h"

#include "script/names.h"
#include "script/scalar.h"
#include "script/state.h"
#include "script/unwind.h"

#include <ctype.h>

enum { HEADERS_MAX = 128 };

static bool is_null(lua_State *L, int idx)
{
    return lua_isnil(L, idx) || (lua_type(L, idx) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx));
}

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

void tg_request_put_header(lua_State *L, struct tg_request *r, struct tg_str name, struct tg_str value)
{
    if (tg_request_set_header(r, name, value))
        tg_lua_no_memory(L);
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

void tg_request_read_headers(lua_State *L, int idx, struct tg_request *r)
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
            tg_request_put_header(L, r, names->v[i], value);
        }
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
}
