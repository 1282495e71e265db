/* Lua's memory is capped, so that every primitive may find itself without any: the error must be clean, with
 * nothing lost outside of Lua's heap (which the asan flavour checks) and the state usable. */
#include "lua_case.h"

struct heap {
    size_t left; /* allocations that are still granted; 0: all */
    bool limited;
    bool refused;
};

static void *allocate(void *arg, void *p, size_t old_size, size_t new_size)
{
    struct heap *h = arg;
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    if (h->limited && new_size > old_size) {
        if (h->left == 0) {
            h->refused = true;
            return NULL;
        }
        h->left--;
    }
    return realloc(p, new_size);
}

/* Runs the chunk with its allocations refused from the first, from the second … until
 * it passes. */
static void starve(const char *chunk)
{
    struct heap heap = {0};
    lua_State *L = lua_newstate(allocate, &heap);
    if (!L) /* a build whose allocator cannot be replaced */
        skip();
    luaL_openlibs(L);
    lua_newtable(L);
    lua_case_merge(L, tg_lua_open_digest);
    lua_case_merge(L, tg_lua_open_url);
    lua_case_merge(L, tg_lua_open_time);
    lua_case_merge(L, tg_lua_open_wsse);
    lua_case_merge(L, tg_lua_open_fixed);
    lua_setglobal(L, "t");
    assert_int_equal(luaL_loadstring(L, chunk), 0);
    for (size_t n = 0; n < 10000; n++) {
        lua_pushvalue(L, -1);
        heap = (struct heap){.left = n, .limited = true};
        int rc = lua_pcall(L, 0, 0, 0);
        heap.limited = false;
        if (rc == 0 && !heap.refused) {
            lua_close(L);
            return;
        }
        if (rc && rc != LUA_ERRMEM)
            fail_msg("not the error of missing memory: %s", lua_tostring(L, -1));
        lua_settop(L, 1);
    }
    fail_msg("never passes");
}

/* Each library, with results larger than any cache of the allocator. */
static void digests(void **state)
{
    (void)state;
    starve("local s = ('x'):rep(5000) .. os.time() .. tostring({})\n"
           "t.sha256(s) t.hmac('sha1', s, s, 'base64') t.base64.decode(t.base64.encode(s)) "
           "t.hex.decode(t.hex.encode(s))\n"
           "t.base64.decode('!') t.uuid() t.random(3000) t.random_string(3000) t.md5(os.clock())");
}

static void urls(void **state)
{
    (void)state;
    starve(
        "local s = ('x'):rep(9000) .. ('&y'):rep(50) .. tostring({})\n"
        "t.url.decode(t.url.encode(s)) t.url.parse('https://a.example/b?c=d') t.url.parse('nonsense' .. s)\n"
        "t.url.query('a=' .. s .. '&b=' .. s)\n"
        "local fields = {}\n"
        "for i = 1, 100 do fields['f' .. i] = i end\n"
        "fields.s, fields.list = s, {1, 2, s}\n"
        "t.form.encode(fields)");
}

static void times_and_wsse(void **state)
{
    (void)state;
    starve("t.time.format(t.time.now(), ('%Y-%s '):rep(500)) t.time.parse({}) t.wsse('u', tostring({}))\n"
           "t.fixed.now(5) t.fixed.seed(5) t.wsse('u', 's') t.fixed.now() t.fixed.seed()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(urls),
        cmocka_unit_test(times_and_wsse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
