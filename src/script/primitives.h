/* The primitives that scripts get through `require "tidegate"`, apart from those that need the host (deliver,
 * skip …).
 *
 * Each tg_lua_open_… pushes one plain table, whose members go as they are into the table `tidegate`, and
 * returns 1. They need nothing but Lua and the base room, and so serve the daemon and the module for plain
 * LuaJIT alike.
 *
 * A primitive raises on misuse (a wrong type, an unknown option), naming itself, the argument and what it
 * got; on bad data it returns nil and a message. Where text is wanted a finite number does too, printed as
 * JSON would be. Like every function that touches a lua_State, all of these may raise when Lua is out of
 * memory. */
#ifndef TG_SCRIPT_PRIMITIVES_H
#define TG_SCRIPT_PRIMITIVES_H

#include "base/err.h"

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

struct tg_cache;

int tg_lua_open_json(lua_State *L); /* json.{decode,encode,…}, see lib_json.c */
int tg_lua_open_digest(
    lua_State *L); /* md5 sha1 sha256 sha512 hmac crc32 base64 base64url hex uuid random random_string */
int tg_lua_open_url(lua_State *L);  /* url.{encode,decode,parse,query} form.encode */
int tg_lua_open_time(lua_State *L); /* time.{now,parse,format} */
int tg_lua_open_wsse(lua_State *L); /* wsse */

/* Pushes the table { get, set, delete } over this cache, which must outlive the state. */
void tg_lua_push_cache(lua_State *L, struct tg_cache *cache);

/* What makes a run repeatable, for `try --at` and fixtures. The first call on a state allocates. */
void tg_lua_set_now(lua_State *L, int64_t ms); /* TG_NO_TIME: the real clock */
void tg_lua_set_random_seed(lua_State *L,
                            uint64_t seed); /* 0: the system's randomness; else the stream begins anew */
int tg_lua_open_fixed(
    lua_State *L); /* fixed.{now,seed}: the same two for a runner in Lua; never for scripts */

/* What the primitives read. */
int64_t tg_lua_now(lua_State *L);   /* the fixed time or the wall clock, ms */
int64_t tg_lua_ticks(lua_State *L); /* the fixed time or a clock that never goes back, ms: for ends of life */
TG_MUST_CHECK int tg_lua_random(lua_State *L, void *out, size_t n);

#endif
