#include "lua_case.h"

#include "script/cache.h"

static void add_cache(lua_State *L, const char *name, struct tg_cache *cache)
{
    int before = lua_gettop(L);
    tg_lua_push_cache(L, cache);
    lua_setglobal(L, name);
    assert_int_equal(lua_gettop(L), before);
}

static void with_two_caches(const char *chunk)
{
    struct tg_cache *a, *b;
    lua_State *L = lua_case_new();
    assert_ok(tg_cache_new(3, 4096, &a));
    assert_ok(tg_cache_new(3, 4096, &b));
    add_cache(L, "a", a);
    add_cache(L, "b", b);
    lua_case_run(L, chunk);
    lua_close(L);
    tg_cache_free(&a);
    tg_cache_free(&b);
}

/* Text, numbers and booleans come back with their type; false is not nothing. */
static void types(void **state)
{
    (void)state;
    with_two_caches("eq(a.set('t', 'x\\0y'), true) eq(a.get('t'), 'x\\0y')\n"
                    "a.set('t', 12.5) eq(a.get('t'), 12.5)\n"
                    "a.set('t', false) eq(a.get('t'), false)\n"
                    "a.set('t', true) eq(a.get('t'), true)\n"
                    "eq(a.get('none'), nil)\n"
                    "a.set(76.0, 'n') eq(a.get('76'), 'n')\n"
                    "a.delete('t') eq(a.get('t'), nil)");
}

/* Each destination sees its own. */
static void caches_are_apart(void **state)
{
    (void)state;
    with_two_caches("a.set('k', 1) eq(b.get('k'), nil) b.set('k', 2) eq(a.get('k'), 1)");
}

/* An end of life is counted on the clock that fixtures can fix. */
static void ends_of_life(void **state)
{
    (void)state;
    with_two_caches("t.fixed.now(1000000)\n"
                    "a.set('k', 'v', 1.5)\n"
                    "a.set('zero', 'v', 0) eq(a.get('zero'), nil)\n"
                    "t.fixed.now(1001499) eq(a.get('k'), 'v')\n"
                    "t.fixed.now(1001500) eq(a.get('k'), nil)\n"
                    "a.set('k', 'v', 1e300) eq(a.get('k'), 'v')\n"
                    "a.set('k', 'v') t.fixed.now(900000000000000 / 3) eq(a.get('k'), 'v')\n"
                    "t.fixed.now() a.set('k', 'v', 60) eq(a.get('k'), 'v')");
}

/* Full, the least recently used goes; what is too big is bad data. */
static void bounds(void **state)
{
    (void)state;
    with_two_caches("for i = 1, 4 do a.set('k' .. i, i) end\n"
                    "eq(a.get('k1'), nil) eq(a.get('k2'), 2) eq(a.get('k4'), 4)\n"
                    "fails('cache.set: too big', a.set('k2', ('x'):rep(5000)))\n"
                    "eq(a.get('k2'), nil)");
}

/* Wrong types raise. */
static void misuse(void **state)
{
    (void)state;
    with_two_caches(
        "raises('cache.get: argument 1 (key): text expected, got no value', a.get)\n"
        "raises('cache.set: argument 1 (key): text expected, got table', a.set, {}, 1)\n"
        "raises('cache.set: argument 2 (value): text, a number or a boolean expected, got nil', a.set, 'k', "
        "nil)\n"
        "raises('got table', a.set, 'k', {})\n"
        "raises('cache.set: argument 3 (seconds): a number expected, got string', a.set, 'k', 1, '5')\n"
        "raises('0 or more expected, got -1', a.set, 'k', 1, -1)\n"
        "raises('0 or more expected', a.set, 'k', 1, 0/0)\n"
        "raises('cache.delete: argument 1 (key)', a.delete)");
}

/* What is cached outlives the state. */
static void outlives_the_state(void **state)
{
    (void)state;
    struct tg_cache *c;
    assert_ok(tg_cache_new(3, 4096, &c));
    lua_State *L = lua_case_new();
    add_cache(L, "c", c);
    lua_case_run(L, "c.set('k', 'kept')");
    lua_close(L);
    L = lua_case_new();
    add_cache(L, "c", c);
    lua_case_run(L, "eq(c.get('k'), 'kept')");
    lua_close(L);
    tg_cache_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),  cmocka_unit_test(caches_are_apart), cmocka_unit_test(ends_of_life),
        cmocka_unit_test(bounds), cmocka_unit_test(misuse),           cmocka_unit_test(outlives_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
