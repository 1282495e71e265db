/* The clock and the randomness of a state. They hang in the registry, which scripts do not see. */
#include "script/primitives.h"

#include "base/clock.h"
#include "base/digest.h"
#include "script/args.h"

#include <lauxlib.h>
#include <string.h>

struct fixed {
    int64_t now;    /* TG_NO_TIME: the real clock */
    uint64_t seed;  /* 0: the system's randomness */
    uint64_t count; /* how many words of the stream were drawn */
};

static const char registry_key; /* its address is the key */

/* NULL while nothing was ever fixed. */
static struct fixed *find(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&registry_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct fixed *f = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return f;
}

static struct fixed *find_or_make(lua_State *L)
{
    struct fixed *f = find(L);
    if (!f) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)&registry_key);
        f = lua_newuserdata(L, sizeof *f);
        *f = (struct fixed){.now = TG_NO_TIME};
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
    return f;
}

void tg_lua_set_now(lua_State *L, int64_t ms)
{
    find_or_make(L)->now = ms;
}

void tg_lua_set_random_seed(lua_State *L, uint64_t seed)
{
    struct fixed *f = find_or_make(L);
    f->seed = seed;
    f->count = 0;
}

int64_t tg_lua_now(lua_State *L)
{
    const struct fixed *f = find(L);
    return f && f->now != TG_NO_TIME ? f->now : tg_wall_ms();
}

int64_t tg_lua_ticks(lua_State *L)
{
    const struct fixed *f = find(L);
    return f && f->now != TG_NO_TIME ? f->now : tg_mono_ms();
}

/* Word number `count` of the stream: easily guessed by design, since a fixture must know it. */
static uint64_t draw(struct fixed *f)
{
    unsigned char key[16] = "tidegate fixture";
    uint64_t block[2] = {f->seed, f->count++};
    return tg_siphash(key, block, sizeof block);
}

int tg_lua_random(lua_State *L, void *out, size_t n)
{
    struct fixed *f = find(L);
    if (!f || f->seed == 0)
        return tg_random(out, n);
    for (unsigned char *p = out; n;) {
        uint64_t word = draw(f);
        size_t part = n < sizeof word ? n : sizeof word;
        memcpy(p, &word, part);
        p += part;
        n -= part;
    }
    return TG_OK;
}

/* fixed.now(ms): time.now() says so from now on; nil: the real clock. */
static int fixed_now(lua_State *L)
{
    int64_t day = INT64_C(86400000);
    tg_lua_set_now(L, lua_isnoneornil(L, 1)
                          ? TG_NO_TIME
                          : tg_arg_integer(L, 1, "fixed.now", "ms", -800000 * day, 4000000 * day));
    return 0;
}

/* fixed.seed(n): randomness is the stream of that number, from its beginning; 0 or nil: the system's. */
static int fixed_seed(lua_State *L)
{
    int64_t greatest = INT64_C(1) << 53;
    tg_lua_set_random_seed(
        L, lua_isnoneornil(L, 1) ? 0 : (uint64_t)tg_arg_integer(L, 1, "fixed.seed", "seed", 0, greatest));
    return 0;
}

static const luaL_Reg functions[] = {
    {"now", fixed_now},
    {"seed", fixed_seed},
    {NULL, NULL},
};

int tg_lua_open_fixed(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_setfield(L, -2, "fixed");
    return 1;
}
