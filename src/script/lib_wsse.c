/* WSSE UsernameToken as Emarsys reads it: the digest is the base64 of the hexadecimal text of SHA-1, not of
 * its bytes. */
#include "script/primitives.h"

#include "base/digest.h"
#include "base/time.h"
#include "script/args.h"

#include <lauxlib.h>

enum { NONCE_BYTES = 16, CREATED_LEN = 20 };

/* A quote would end the value, a control character the header. */
static bool fits_quotes(struct tg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < ' ' || c == 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* Pushes options[name] as text; false when it is not given. */
static bool push_option(lua_State *L, const char *name)
{
    if (lua_isnil(L, 3))
        return false;
    lua_getfield(L, 3, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return luaL_error(L, "wsse: argument 3 (options): %s: text expected, got %s", name,
                          luaL_typename(L, -1));
    return true;
}

static struct tg_str top_text(lua_State *L)
{
    struct tg_str s;
    s.p = lua_tolstring(L, -1, &s.n);
    return s;
}

/* A new nonce for each attempt: partners refuse one that they have seen. */
static int push_nonce(lua_State *L)
{
    unsigned char random[NONCE_BYTES];
    int rc = tg_lua_random(L, random, sizeof random);
    struct tg_buf hex = tg_scratch(L, 2 * sizeof random);
    if (!rc)
        rc = tg_hex(&hex, random, sizeof random);
    if (!rc)
        lua_pushlstring(L, hex.data, hex.len);
    return rc;
}

static void push_created(lua_State *L)
{
    char text[TG_TIME_LEN + 1];
    tg_time_format(tg_lua_now(L), text);
    lua_pushlstring(L, text, CREATED_LEN - 1); /* without milliseconds */
    lua_pushliteral(L, "Z");
    lua_concat(L, 2);
}

static int add_digest(struct tg_buf *out, struct tg_str concatenated)
{
    unsigned char digest[TG_DIGEST_MAX];
    char text[2 * TG_DIGEST_MAX + 1];
    struct tg_buf hex = {.data = text, .cap = sizeof text, .max = sizeof text - 1};
    size_t n = 0;
    int rc = tg_digest(TG_SHA1, concatenated, digest, &n);
    if (!rc)
        rc = tg_hex(&hex, digest, n);
    return rc ? rc : tg_base64(out, hex.data, hex.len, false, true);
}

/* wsse(user, secret, { nonce?, created? }?) -> the value of the header X-WSSE. */
static int wsse(lua_State *L)
{
    struct tg_str user = tg_arg_text(L, 1, "wsse", "user");
    struct tg_str secret = tg_arg_text(L, 2, "wsse", "secret");
    lua_settop(L, 3); /* what is pushed from here on must not pass for the options */
    if (!lua_isnil(L, 3))
        tg_arg_table(L, 3, "wsse", "options");
    if (!push_option(L, "nonce") && push_nonce(L))
        return tg_push_failure(L, "wsse", "the system has no randomness");
    struct tg_str nonce = top_text(L);
    if (!push_option(L, "created"))
        push_created(L);
    struct tg_str created = top_text(L);
    if (!fits_quotes(user) || !fits_quotes(nonce) || !fits_quotes(created))
        return tg_push_failure(L, "wsse",
                               "a quote, backslash or control character in user, nonce or created");

    struct tg_buf text = tg_scratch(L, nonce.n + created.n + secret.n);
    struct tg_buf digest = tg_scratch(L, 64);
    int rc = tg_buf_addstr(&text, nonce);
    if (!rc)
        rc = tg_buf_addstr(&text, created);
    if (!rc)
        rc = tg_buf_addstr(&text, secret);
    if (!rc)
        rc = add_digest(&digest, tg_buf_str(&text));
    if (!rc)
        rc = tg_buf_addc(&digest, '\0');
    if (rc)
        return tg_push_failure(L, "wsse", tg_code_text(rc));
    lua_pushfstring(L, "UsernameToken Username=\"%s\", PasswordDigest=\"%s\", Nonce=\"%s\", Created=\"%s\"",
                    user.p, digest.data, nonce.p, created.p);
    return 1;
}

static const luaL_Reg functions[] = {
    {"wsse", wsse},
    {NULL, NULL},
};

int tg_lua_open_wsse(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
