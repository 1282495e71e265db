#include "lua_case.h"

/* Only what RFC 3986 calls unreserved stays. */
static void encode_and_decode(void **state)
{
    (void)state;
    lua_case("eq(t.url.encode('AZaz09-._~'), 'AZaz09-._~')\n"
             "eq(t.url.encode('a b&c=d/e+\\0\\195\\169'), 'a%20b%26c%3Dd%2Fe%2B%00%C3%A9')\n"
             "eq(t.url.encode(''), '')\n"
             "eq(t.url.encode(76.0), '76')\n"
             "eq(t.url.decode('a%20b+c%2b%zz%'), 'a b+c+%zz%')\n"
             "local all = ''\n"
             "for i = 0, 255 do all = all .. string.char(i) end\n"
             "eq(t.url.decode(t.url.encode(all)), all)\n"
             "raises('url.encode: argument 1 (text): text expected, got nil', t.url.encode, nil)\n"
             "raises('url.decode: argument 1 (text): text expected, got table', t.url.decode, {})");
}

/* A URL comes apart into its members; what is none gives the reason. */
static void parse(void **state)
{
    (void)state;
    lua_case("local u = t.url.parse('HTTPS://api.example.com/v2/a?x=1#f')\n"
             "eq(u.scheme, 'https') eq(u.host, 'api.example.com') eq(u.port, 443)\n"
             "eq(u.path, '/v2/a') eq(u.query, 'x=1') eq(u.fragment, 'f')\n"
             "u = t.url.parse('http://[::1]:8080')\n"
             "eq(u.host, '::1') eq(u.port, 8080) eq(u.path, '') eq(u.query, '')\n"
             "fails('must begin with', t.url.parse('example.com'))\n"
             "fails('user and password', t.url.parse('https://a:b@c/'))\n"
             "fails('byte 0x0d', t.url.parse('https://a/\\r\\nX: y'))\n"
             "raises('url.parse: argument 1 (text): text expected, got no value', t.url.parse)");
}

/* Of each name the first value counts, decoded. */
static void query(void **state)
{
    (void)state;
    lua_case("local q = t.url.query('a=1&b=x+y%26z&a=2&c&=e&%61b=%00')\n"
             "eq(q.a, '1') eq(q.b, 'x y&z') eq(q.c, '') eq(q[''], 'e') eq(q.ab, '\\0')\n"
             "eq(t.url.query('?x=1').x, '1')\n"
             "eq(next(t.url.query('')), nil)\n"
             "local long = {}\n"
             "for i = 1, 2000 do long[i] = 'k' .. i .. '=' .. ('v'):rep(i % 50) end\n"
             "q = t.url.query(table.concat(long, '&'))\n"
             "eq(q.k2000, '') eq(q.k1999, ('v'):rep(49))\n"
             "raises('url.query: argument 1 (text)', t.url.query, false)");
}

/* Names in order of their bytes, values by the rules for numbers, booleans, nulls and empty text. */
static void form(void **state)
{
    (void)state;
    lua_case("eq(t.form.encode{b = 'x y', a = 1, Z = true, ab = false}, 'Z=true&a=1&ab=false&b=x%20y')\n"
             "eq(t.form.encode{price = 76.0, big = 9007199254740991, small = 0.00001, neg = -0.5, e = 1e15},"
             " 'big=9007199254740991&e=1000000000000000&neg=-0.5&price=76&small=0.00001')\n"
             "eq(t.form.encode{}, '')\n"
             "eq(t.form.encode{a = null, b = '', c = 'x'}, 'c=x')\n"
             "eq(t.form.encode({a = null, b = '', c = 'x'}, {empty = true}), 'b=&c=x')\n"
             "eq(t.form.encode({a = ''}, {}), '')\n"
             "eq(t.form.encode{['a&b'] = '=', ['\\195\\169'] = '\\0'}, 'a%26b=%3D&%C3%A9=%00')\n"
             "eq(t.form.encode{[''] = 'v'}, '=v')");
}

/* No number has an exponent, from the smallest to the greatest, and they read back as they were. */
static void plain_numbers(void **state)
{
    (void)state;
    lua_case("eq(t.form.encode{a = 1e-7, b = 1e21, c = -1.5e22, d = -1.25e-10, e = -0.0, f = 123456.789},"
             " 'a=0.0000001&b=1000000000000000000000&c=-15000000000000000000000&d=-0.000000000125&e=0&f="
             "123456.789')\n"
             "for _, n in ipairs{5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 4.9e-7, 1e20, "
             "1e22, 9.999e21, 0.5, 1/3,"
             " 2^53, 2^63, 1e100, 3.14e-100} do\n"
             "  for _, v in ipairs{n, -n} do\n"
             "    local text = t.form.encode{v = v}:match('^v=(%-?%d+%.?%d*)$')\n"
             "    assert(text, t.form.encode{v = v})\n"
             "    eq(tonumber(text), v)\n"
             "  end\n"
             "end");
}

/* A list repeats its name; an empty one is omitted. */
static void lists(void **state)
{
    (void)state;
    lua_case(
        "eq(t.form.encode{ids = {1, 'b', null, true, ''}, z = 1}, 'ids=1&ids=b&ids=true&z=1')\n"
        "eq(t.form.encode{ids = {}, z = 1}, 'z=1')\n"
        "raises('form.encode: field ids: a list within a list', t.form.encode, {ids = {{1}}})\n"
        "raises('form.encode: field o: an object has no place in a form', t.form.encode, {o = {x = 1}})");
}

/* What cannot be written raises and names the field. */
static void form_misuse(void **state)
{
    (void)state;
    lua_case("raises('form.encode: argument 1 (fields): a table expected, got no value', t.form.encode)\n"
             "raises('form.encode: argument 2 (options): a table expected, got boolean', t.form.encode, {}, "
             "true)\n"
             "raises('names must be text, got a number', t.form.encode, {'x'})\n"
             "raises('form.encode: field f: text, number, boolean or a list of them expected, got function', "
             "t.form.encode,"
             " {f = print})\n"
             "raises('form.encode: field n: a finite number expected', t.form.encode, {n = 0/0})\n"
             "raises('form.encode: field n: a finite number expected', t.form.encode, {n = {1/0}})");
}

/* Forms of any size: many fields, long names and values across the pieces in which they are encoded. */
static void large_forms(void **state)
{
    (void)state;
    lua_case("local fields, want = {}, {}\n"
             "for i = 1, 3000 do\n"
             "  local name, value = ('n%05d'):format(i), ('v&'):rep(i % 600)\n"
             "  fields[name] = value\n"
             "  if value ~= '' then want[#want + 1] = name .. '=' .. ('v%26'):rep(i % 600) end\n"
             "end\n"
             "eq(t.form.encode(fields), table.concat(want, '&'))\n"
             "local list = {}\n"
             "for i = 1, 20000 do list[i] = i end\n"
             "eq(select(2, t.form.encode{l = list}:gsub('l=', '')), 20000)");
}

/* Collections while a form is written take nothing away that is still needed. */
static void form_under_collection(void **state)
{
    (void)state;
    lua_case("collectgarbage('setpause', 1) collectgarbage('setstepmul', 10000)\n"
             "for round = 1, 50 do\n"
             "  local fields, want = {}, {}\n"
             "  for i = 1, 50 do\n"
             "    local name = ('n%02d-%d'):format(i, round)\n"
             "    fields[name] = i + 0.5\n"
             "    want[i] = name .. '=' .. (i + 0.5)\n"
             "  end\n"
             "  eq(t.form.encode(fields), table.concat(want, '&'))\n"
             "end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_and_decode),
        cmocka_unit_test(parse),
        cmocka_unit_test(query),
        cmocka_unit_test(form),
        cmocka_unit_test(plain_numbers),
        cmocka_unit_test(lists),
        cmocka_unit_test(form_misuse),
        cmocka_unit_test(large_forms),
        cmocka_unit_test(form_under_collection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
