#include "lua_case.h"

/* The digest is the base64 of hexadecimal text: a vector with known nonce, time and secret. */
static void vector(void **state)
{
    (void)state;
    lua_case("eq(t.wsse('customer', 'customersecret', {nonce = 'd36e316282959a9ed4c89851497a717f',"
             " created = '2014-03-20T12:51:45Z'}),\n"
             "'UsernameToken Username=\"customer\", "
             "PasswordDigest=\"YWQyNWE5Y2JkOTY2ZTU1ODg2M2QzNzVhNDZlZGQwZjg5YjZlZTk4"
             "Yw==\", Nonce=\"d36e316282959a9ed4c89851497a717f\", Created=\"2014-03-20T12:51:45Z\"')");
}

/* Nonce and time are made when they are not given: fresh each time, the time without milliseconds. */
static void made_when_absent(void **state)
{
    (void)state;
    lua_case("t.fixed.now(t.time.parse('2014-03-20T12:51:45.678Z'))\n"
             "local header = t.wsse('u', 's')\n"
             "local digest, nonce, created = header:match("
             "'^UsernameToken Username=\"u\", PasswordDigest=\"(.-)\", Nonce=\"(%x+)\", Created=\"(.-)\"$')\n"
             "eq(#nonce, 32)\n"
             "eq(created, '2014-03-20T12:51:45Z')\n"
             "eq(digest, t.base64.encode(t.sha1(nonce .. created .. 's')))\n"
             "assert(t.wsse('u', 's') ~= header)\n"
             "t.fixed.seed(5) local a = t.wsse('u', 's', {})\n"
             "t.fixed.seed(5) eq(t.wsse('u', 's', nil), a)\n"
             "assert(t.wsse('u', 's', {nonce = 'n'}):find('Nonce=\"n\", Created=\"2014-03-20T12:51:45Z\"', "
             "1, true))");
}

/* What would break out of the header's quotes is bad data; wrong types are misuse. */
static void refused(void **state)
{
    (void)state;
    lua_case("fails('wsse: a quote', t.wsse('a\"b', 's'))\n"
             "fails('wsse: a quote', t.wsse('a\\r\\nb', 's'))\n"
             "fails('wsse: a quote', t.wsse('a\\0b', 's'))\n"
             "fails('wsse: a quote', t.wsse('u', 's', {nonce = '\\\\'}))\n"
             "fails('wsse: a quote', t.wsse('u', 's', {created = '\\127'}))\n"
             "assert(t.wsse('u', 'any \"secret\"\\n\\0'))\n"
             "raises('wsse: argument 1 (user): text expected, got no value', t.wsse)\n"
             "raises('wsse: argument 2 (secret): text expected, got no value', t.wsse, 'u')\n"
             "raises('wsse: argument 3 (options): a table expected, got string', t.wsse, 'u', 's', 'n')\n"
             "raises('wsse: argument 3 (options): nonce: text expected, got number', t.wsse, 'u', 's', "
             "{nonce = 1})");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector),
        cmocka_unit_test(made_when_absent),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
