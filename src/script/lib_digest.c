#include "script/primitives.h"

#include "base/digest.h"
#include "script/args.h"

#include <lauxlib.h>
#include <string.h>

enum { RANDOM_MAX = 65536 };

enum encoding { HEX, RAW, BASE64 };

static enum encoding arg_encoding(lua_State *L, int arg, const char *function)
{
    static const char *const names[] = {[HEX] = "hex", [RAW] = "raw", [BASE64] = "base64"};
    if (lua_isnoneornil(L, arg))
        return HEX;
    struct tg_str s = tg_arg_text(L, arg, function, "encoding");
    for (int i = HEX; i <= BASE64; i++) {
        if (tg_str_is(s, names[i]))
            return (enum encoding)i;
    }
    return (enum encoding)luaL_error(
        L, "%s: argument %d (encoding): \"hex\", \"raw\" or \"base64\" expected, got \"%s\"", function, arg,
        s.p);
}

static int push_encoded(lua_State *L, int rc, const unsigned char *p, size_t n, enum encoding encoding,
                        const char *function)
{
    struct tg_buf out = tg_scratch(L, rc ? 0 : 2 * n + 4);
    if (!rc && encoding == HEX)
        rc = tg_hex(&out, p, n);
    else if (!rc && encoding == BASE64)
        rc = tg_base64(&out, p, n, false, true);
    else if (!rc)
        rc = tg_buf_add(&out, p, n);
    return tg_push_result(L, rc, &out, function, "invalid");
}

static int push_digest(lua_State *L, enum tg_digest digest, const char *function)
{
    unsigned char out[TG_DIGEST_MAX];
    size_t n = 0;
    struct tg_str data = tg_arg_text(L, 1, function, "data");
    enum encoding encoding = arg_encoding(L, 2, function);
    int rc = tg_digest(digest, data, out, &n);
    return push_encoded(L, rc, out, n, encoding, function);
}

static int digest_md5(lua_State *L)
{
    return push_digest(L, TG_MD5, "md5");
}

static int digest_sha1(lua_State *L)
{
    return push_digest(L, TG_SHA1, "sha1");
}

static int digest_sha256(lua_State *L)
{
    return push_digest(L, TG_SHA256, "sha256");
}

static int digest_sha512(lua_State *L)
{
    return push_digest(L, TG_SHA512, "sha512");
}

/* hmac(algorithm, key, data, encoding?) */
static int digest_hmac(lua_State *L)
{
    enum tg_digest digest;
    unsigned char out[TG_DIGEST_MAX];
    size_t n = 0;
    struct tg_str algorithm = tg_arg_text(L, 1, "hmac", "algorithm");
    if (!tg_digest_parse(algorithm, &digest))
        return luaL_error(L, "hmac: argument 1 (algorithm): md5, sha1, sha256 or sha512 expected, got \"%s\"",
                          algorithm.p);
    struct tg_str key = tg_arg_text(L, 2, "hmac", "key");
    struct tg_str data = tg_arg_text(L, 3, "hmac", "data");
    enum encoding encoding = arg_encoding(L, 4, "hmac");
    int rc = tg_hmac(digest, key, data, out, &n);
    return push_encoded(L, rc, out, n, encoding, "hmac");
}

static int digest_crc32(lua_State *L)
{
    struct tg_str data = tg_arg_text(L, 1, "crc32", "data");
    lua_pushnumber(L, tg_crc32(0, data.p, data.n));
    return 1;
}

static int encode_base64(lua_State *L)
{
    struct tg_str data = tg_arg_text(L, 1, "base64.encode", "data");
    struct tg_buf out = tg_scratch(L, data.n / 3 * 4 + 4);
    return tg_push_result(L, tg_base64(&out, data.p, data.n, false, true), &out, "base64.encode", "invalid");
}

/* Without padding, as in JSON Web Tokens. */
static int encode_base64url(lua_State *L)
{
    struct tg_str data = tg_arg_text(L, 1, "base64url.encode", "data");
    struct tg_buf out = tg_scratch(L, data.n / 3 * 4 + 4);
    return tg_push_result(L, tg_base64(&out, data.p, data.n, true, false), &out, "base64url.encode",
                          "invalid");
}

static int push_unbase64(lua_State *L, const char *function)
{
    struct tg_str text = tg_arg_text(L, 1, function, "text");
    struct tg_buf out = tg_scratch(L, text.n);
    return tg_push_result(L, tg_unbase64(&out, text), &out, function, "not base64");
}

static int decode_base64(lua_State *L)
{
    return push_unbase64(L, "base64.decode");
}

static int decode_base64url(lua_State *L)
{
    return push_unbase64(L, "base64url.decode");
}

static int encode_hex(lua_State *L)
{
    struct tg_str data = tg_arg_text(L, 1, "hex.encode", "data");
    struct tg_buf out = tg_scratch(L, 2 * data.n);
    return tg_push_result(L, tg_hex(&out, data.p, data.n), &out, "hex.encode", "invalid");
}

static int decode_hex(lua_State *L)
{
    struct tg_str text = tg_arg_text(L, 1, "hex.decode", "text");
    struct tg_buf out = tg_scratch(L, text.n / 2);
    return tg_push_result(L, tg_unhex(&out, text), &out, "hex.decode", "not hexadecimal");
}

static int random_uuid(lua_State *L)
{
    unsigned char bytes[16];
    char text[TG_UUID_LEN + 1];
    if (tg_lua_random(L, bytes, sizeof bytes))
        return tg_push_failure(L, "uuid", "the system has no randomness");
    tg_uuid4_of(bytes, text);
    lua_pushlstring(L, text, TG_UUID_LEN);
    return 1;
}

/* random(n): n bytes. */
static int random_bytes(lua_State *L)
{
    size_t n = (size_t)tg_arg_integer(L, 1, "random", "n", 0, RANDOM_MAX);
    struct tg_buf out = tg_scratch(L, n);
    out.len = n;
    if (tg_lua_random(L, out.data, n))
        return tg_push_failure(L, "random", "the system has no randomness");
    lua_pushlstring(L, out.data, n);
    return 1;
}

/* Fills out with characters of the alphabet, each equally likely: bytes from the last, incomplete round over
 * the alphabet are thrown away. */
static int draw_characters(lua_State *L, char *out, size_t n, struct tg_str alphabet)
{
    unsigned limit = 256 - 256 % (unsigned)alphabet.n;
    unsigned char drawn[64];
    for (size_t have = 0; have < n;) {
        int rc = tg_lua_random(L, drawn, sizeof drawn);
        if (rc)
            return rc;
        for (size_t i = 0; i < sizeof drawn && have < n; i++) {
            if (drawn[i] < limit)
                out[have++] = alphabet.p[drawn[i] % alphabet.n];
        }
    }
    return TG_OK;
}

/* random_string(n, alphabet?): n characters of the alphabet (one byte each), by default A-Z, a-z and 0-9. */
static int random_string(lua_State *L)
{
    struct tg_str alphabet = TG_STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
    size_t n = (size_t)tg_arg_integer(L, 1, "random_string", "n", 0, RANDOM_MAX);
    if (!lua_isnoneornil(L, 2))
        alphabet = tg_arg_text(L, 2, "random_string", "alphabet");
    if (alphabet.n < 1 || alphabet.n > 256)
        return luaL_error(L, "random_string: argument 2 (alphabet): 1 to 256 characters expected, got %d",
                          (int)alphabet.n);
    struct tg_buf out = tg_scratch(L, n);
    if (draw_characters(L, out.data, n, alphabet))
        return tg_push_failure(L, "random_string", "the system has no randomness");
    lua_pushlstring(L, out.data, n);
    return 1;
}

static const luaL_Reg base64_functions[] = {
    {"encode", encode_base64},
    {"decode", decode_base64},
    {NULL, NULL},
};

static const luaL_Reg base64url_functions[] = {
    {"encode", encode_base64url},
    {"decode", decode_base64url},
    {NULL, NULL},
};

static const luaL_Reg hex_functions[] = {
    {"encode", encode_hex},
    {"decode", decode_hex},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"md5", digest_md5},
    {"sha1", digest_sha1},
    {"sha256", digest_sha256},
    {"sha512", digest_sha512},
    {"hmac", digest_hmac},
    {"crc32", digest_crc32},
    {"uuid", random_uuid},
    {"random", random_bytes},
    {"random_string", random_string},
    {NULL, NULL},
};

static void add_table(lua_State *L, const char *name, const luaL_Reg *members)
{
    lua_newtable(L);
    luaL_register(L, NULL, members);
    lua_setfield(L, -2, name);
}

int tg_lua_open_digest(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    add_table(L, "base64", base64_functions);
    add_table(L, "base64url", base64url_functions);
    add_table(L, "hex", hex_functions);
    return 1;
}
