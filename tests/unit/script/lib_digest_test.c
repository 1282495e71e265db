#include "lua_case.h"

/* Digests are lower-case hex unless told, over published vectors. */
static void digests(void **state)
{
    (void)state;
    lua_case("eq(t.md5('abc'), '900150983cd24fb0d6963f7d28e17f72')\n"
             "eq(t.md5(''), 'd41d8cd98f00b204e9800998ecf8427e')\n"
             "eq(t.sha1('abc'), 'a9993e364706816aba3e25717850c26c9cd0d89d')\n"
             "eq(t.sha256('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')\n"
             "eq(t.sha512('abc'), 'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
             "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f')\n"
             "eq(t.sha1('abc', 'hex'), t.sha1('abc'))\n"
             "eq(t.sha1('abc', nil), t.sha1('abc'))\n"
             "eq(#t.sha1('abc', 'raw'), 20)\n"
             "eq(t.hex.encode(t.sha512('abc', 'raw')), t.sha512('abc'))\n"
             "eq(t.md5('', 'base64'), '1B2M2Y8AsgTpgAmY7PhCfg==')\n"
             "eq(t.base64.encode(t.sha256('x\\0y', 'raw')), t.sha256('x\\0y', 'base64'))");
}

/* Vectors of RFC 2202 and RFC 4231. */
static void hmac(void **state)
{
    (void)state;
    lua_case("local data = 'what do ya want for nothing?'\n"
             "eq(t.hmac('md5', 'Jefe', data), '750c783e6ab0b503eaa86e310a5db738')\n"
             "eq(t.hmac('sha1', 'Jefe', data), 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')\n"
             "eq(t.hmac('sha256', 'Jefe', data), "
             "'5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')\n"
             "eq(t.hmac('sha512', ('\\11'):rep(20), 'Hi There'), "
             "'87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b3"
             "0545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854')\n"
             "eq(t.hmac('md5', '', ''), '74e6f7298a9c2d168935f58c001bad88')\n"
             "eq(#t.hmac('sha256', 'k', 'd', 'raw'), 32)\n"
             "eq(t.hmac('sha1', 'Jefe', data, 'base64'), t.base64.encode(t.hex.decode(t.hmac('sha1', 'Jefe', "
             "data))))\n"
             "raises('hmac: argument 1 (algorithm): md5, sha1, sha256 or sha512 expected, got \"SHA1\"', "
             "t.hmac, 'SHA1', 'k', 'd')\n"
             "raises('hmac: argument 2 (key): text expected, got nil', t.hmac, 'sha1', nil, 'd')\n"
             "raises('hmac: argument 3 (data): text expected, got no value', t.hmac, 'sha1', 'k')");
}

/* A number is hashed as JSON prints it, not as Lua does. */
static void numbers_are_text(void **state)
{
    (void)state;
    lua_case("eq(t.md5(76.0), t.md5('76'))\n"
             "eq(t.md5(9007199254740991), t.md5('9007199254740991'))\n"
             "eq(t.md5(0.1), t.md5('0.1'))\n"
             "raises('md5: argument 1 (data): a finite number expected', t.md5, 0/0)\n"
             "raises('md5: argument 1 (data): a finite number expected', t.md5, 1/0)");
}

/* Wrong types raise and say who, where and what. */
static void misuse(void **state)
{
    (void)state;
    lua_case("raises('sha1: argument 1 (data): text expected, got nil', t.sha1, nil)\n"
             "raises('sha1: argument 1 (data): text expected, got no value', t.sha1)\n"
             "raises('sha256: argument 1 (data): text expected, got table', t.sha256, {})\n"
             "raises('md5: argument 1 (data): text expected, got boolean', t.md5, true)\n"
             "raises('argument 2 (encoding): \"hex\", \"raw\" or \"base64\" expected, got \"HEX\"', t.md5, "
             "'a', 'HEX')\n"
             "raises('crc32: argument 1 (data)', t.crc32, {})\n"
             "raises('base64.encode: argument 1 (data)', t.base64.encode)\n"
             "raises('base64url.decode: argument 1 (text)', t.base64url.decode, {})\n"
             "raises('hex.decode: argument 1 (text)', t.hex.decode)\n"
             "local ok, msg = pcall(function() t.sha1(nil) end)\n"
             "eq(msg, 'case:10: sha1: argument 1 (data): text expected, got nil')");
}

/* The CRC catalogue's check value, as a number. */
static void crc32(void **state)
{
    (void)state;
    lua_case("eq(t.crc32('123456789'), 0xcbf43926)\n"
             "eq(t.crc32(''), 0)");
}

/* RFC 4648 section 10. */
static void text_forms(void **state)
{
    (void)state;
    lua_case("for plain, text in pairs{['']='', f='Zg==', fo='Zm8=', foo='Zm9v', foob='Zm9vYg==', "
             "foobar='Zm9vYmFy'} do\n"
             "  eq(t.base64.encode(plain), text)\n"
             "  eq(t.base64.decode(text), plain)\n"
             "  eq(t.base64url.encode(plain), (text:gsub('=', '')))\n"
             "  eq(t.base64url.decode(t.base64url.encode(plain)), plain)\n"
             "end\n"
             "eq(t.base64url.encode('\\251\\255\\254'), '-__-')\n"
             "eq(t.base64.encode('\\251\\255\\254'), '+//+')\n"
             "eq(t.base64.decode('-__-'), '\\251\\255\\254')\n"
             "eq(t.base64.encode('segment:'), 'c2VnbWVudDo=')\n"
             "eq(t.hex.encode('\\0\\171\\255'), '00abff')\n"
             "eq(t.hex.decode('00ABff'), '\\0\\171\\255')\n"
             "eq(t.base64.encode(76), 'NzY=')\n"
             "local big = ('x'):rep(1000003)\n"
             "eq(t.base64.decode(t.base64.encode(big)), big)\n"
             "eq(t.hex.decode(t.hex.encode(big)), big)");
}

/* What is not base64 or hex is bad data, not a bug. */
static void bad_text(void **state)
{
    (void)state;
    lua_case("for _, text in ipairs{'Z', 'Zg=', '====', 'Zm9v\\n', 'Zm 9', '!!!!', 'Zh=='} do\n"
             "  fails('base64.decode: not base64', t.base64.decode(text))\n"
             "  fails('base64url.decode: not base64', t.base64url.decode(text))\n"
             "end\n"
             "for _, text in ipairs{'0', '0g', '0x00', ' 00'} do\n"
             "  fails('hex.decode: not hexadecimal', t.hex.decode(text))\n"
             "end");
}

/* Random values have their shape and differ. */
static void randomness(void **state)
{
    (void)state;
    lua_case("local a, b = t.uuid(), t.uuid()\n"
             "assert(a ~= b)\n"
             "assert(a:match('^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$')"
             ", a)\n"
             "eq(#t.random(0), 0)\n"
             "eq(#t.random(1000), 1000)\n"
             "assert(t.random(16) ~= t.random(16))\n"
             "eq(#t.random_string(0), 0)\n"
             "assert(t.random_string(40):match('^%w+$'))\n"
             "eq(#t.random_string(40), 40)\n"
             "assert(t.random_string(40) ~= t.random_string(40))\n"
             "eq(t.random_string(5, 'a'), 'aaaaa')\n"
             "assert(t.random_string(100, '01'):match('^[01]+$'))\n"
             "raises('random: argument 1 (n): a number expected, got no value', t.random)\n"
             "raises('a whole number from 0 to 65536 expected, got -1', t.random, -1)\n"
             "raises('a whole number from 0 to 65536 expected, got 1.5', t.random, 1.5)\n"
             "raises('a whole number from 0 to 65536', t.random, 0/0)\n"
             "raises('a whole number from 0 to 65536', t.random_string, 1e9)\n"
             "raises('argument 2 (alphabet): 1 to 256 characters expected, got 0', t.random_string, 1, '')\n"
             "raises('argument 2 (alphabet): 1 to 256 characters expected, got 257', t.random_string, 1, "
             "('a'):rep(257))");
}

/* Every character of an alphabet whose size does not divide 256 comes equally often: within 10 % over 200,000
 * draws of a fixed stream. */
static void alphabet_is_unbiased(void **state)
{
    (void)state;
    lua_case("t.fixed.seed(7)\n"
             "local alphabet = ''\n"
             "for i = 1, 200 do alphabet = alphabet .. string.char(i) end\n"
             "local seen = {}\n"
             "for round = 1, 20 do\n"
             "  for c in t.random_string(10000, alphabet):gmatch('.') do seen[c] = (seen[c] or 0) + 1 end\n"
             "end\n"
             "for i = 1, 200 do\n"
             "  local n = seen[string.char(i)]\n"
             "  assert(n > 850 and n < 1150, i .. ': ' .. n)\n"
             "end");
}

/* A seed makes all randomness repeatable from its beginning; 0 gives the system's back. */
static void fixed_randomness(void **state)
{
    (void)state;
    lua_case("local function draw() return t.uuid() .. t.random(33) .. t.random_string(9) end\n"
             "t.fixed.seed(42)\n"
             "local a = draw()\n"
             "local later = draw()\n"
             "t.fixed.seed(42)\n"
             "eq(draw(), a)\n"
             "assert(later ~= a)\n"
             "t.fixed.seed(43)\n"
             "assert(draw() ~= a)\n"
             "t.fixed.seed(0)\n"
             "assert(draw() ~= draw())\n"
             "t.fixed.seed(42)\n"
             "eq(draw(), a)\n"
             "t.fixed.seed()\n"
             "assert(draw() ~= a)\n"
             "raises('fixed.seed: argument 1 (seed)', t.fixed.seed, 'x')");
}

/* States do not share a stream. */
static void streams_belong_to_states(void **state)
{
    (void)state;
    lua_State *a = lua_case_new(), *b = lua_case_new();
    tg_lua_set_random_seed(a, 42);
    tg_lua_set_random_seed(b, 42);
    unsigned char x[8], y[8], z[8];
    assert_ok(tg_lua_random(a, x, 8));
    assert_ok(tg_lua_random(a, z, 8));
    assert_ok(tg_lua_random(b, y, 8));
    assert_memory_equal(x, y, 8);
    assert_memory_not_equal(x, z, 8);
    lua_close(a);
    lua_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(hmac),
        cmocka_unit_test(numbers_are_text),
        cmocka_unit_test(misuse),
        cmocka_unit_test(crc32),
        cmocka_unit_test(text_forms),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(randomness),
        cmocka_unit_test(alphabet_is_unbiased),
        cmocka_unit_test(fixed_randomness),
        cmocka_unit_test(streams_belong_to_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
