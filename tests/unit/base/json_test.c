#include "base/json.h"

#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Texts may hold NUL bytes, hence spans. */
#define S(lit) TG_STR(lit)

static int validate(struct tg_str text)
{
    /* A copy of exactly this size lets the sanitizers see a read past the end. */
    char *copy = tg_memdup(text.p, text.n);
    assert_non_null(copy);
    int rc = tg_json_validate(tg_str_n(copy, text.n), TG_JSON_MAX_DEPTH, NULL, NULL);
    tg_free(copy);
    return rc;
}

static const struct tg_str must_accept[] = {
    S("null"),
    S("true"),
    S("false"),
    S(" \t\r\n null \t\r\n"),
    S("\"\""),
    S("\"a\""),
    S("0"),
    S("-0"),
    S("-1"),
    S("10"),
    S("0.5"),
    S("-0.0"),
    S("1e1"),
    S("1E+1"),
    S("1e-1"),
    S("0e0"),
    S("0e+01"),
    S("1.5e300"),
    S("1e400"),
    S("-1e-400"),
    S("123456789012345678901234567890"),
    S("[]"),
    S("{}"),
    S("[ ]"),
    S("{ }"),
    S("[[]]"),
    S("[[],{}]"),
    S("[[[]],[]]"),
    S("[1]"),
    S("[1,2]"),
    S("[ 1 , 2 ]"),
    S("[null,true,false]"),
    S("{\"a\":1}"),
    S("{\"a\":1,\"b\":2}"),
    S("{ \"a\" : 1 , \"b\" : [ ] }"),
    S("{\"\":0}"),
    S("{\"a\":1,\"a\":2}"),
    S("{\"a\":{\"b\":{\"c\":[]}}}"),
    S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    S("\"\\u0000\""),
    S("\"\\u00e9\\uD83D\\uDE00\""),
    S("\"\\uABCD\\uabcd\""),
    S("\"\\ud800\""),
    S("\"\\udc00\""),
    S("\"\\ud800\\ud800\""),
    S("\"\\udc00\\ud800\""),
    S("\"\\ud800x\""),
    S("\"/\""),
    S("\"\x7f\""),
    S("\"\xc2\x80\""),
    S("\"\xdf\xbf\""),
    S("\"\xe0\xa0\x80\""),
    S("\"\xed\x9f\xbf\""),
    S("\"\xee\x80\x80\""),
    S("\"\xef\xbf\xbf\""),
    S("\"\xf0\x90\x80\x80\""),
    S("\"\xf4\x8f\xbf\xbf\""),
    S("\"\xe2\x80\xa8\xe2\x80\xa9\""),
    S("\"\xef\xbb\xbf\""),
    S("\"0123456789abcdef0123456789\xc3\xa9 0123456789abcde\""),
    S("\"0123456789abcde\""),
    S("\"0123456789abcdef\""),
    S("\"0123456789abcdef\\n\""),
    S("[\"a\",\"b\",\"\"]"),
};

static const struct tg_str must_reject[] = {
    S(""),
    S(" "),
    S("\0"),
    S("nul"),
    S("nulll"),
    S("null null"),
    S("True"),
    S("TRUE"),
    S("NaN"),
    S("nan"),
    S("Infinity"),
    S("-Infinity"),
    S("-"),
    S("+1"),
    S("--1"),
    S("-a"),
    S("01"),
    S("-01"),
    S("00"),
    S("0x10"),
    S("1."),
    S(".5"),
    S("-.5"),
    S("1.e1"),
    S("1e"),
    S("1e+"),
    S("1e-"),
    S("1e1.5"),
    S("1ee1"),
    S("1.2.3"),
    S("1 2"),
    S("1,"),
    S(",1"),
    S("1a"),
    S("1_000"),
    S("\xef\xbc\x91"),
    S("\""),
    S("\"a"),
    S("\"a\\\""),
    S("\"a\\"),
    S("'a'"),
    S("a"),
    S("\"a\"b"),
    S("\"a\"\"b\""),
    S("\"\\a\""),
    S("\"\\x41\""),
    S("\"\\'\""),
    S("\"\\0\""),
    S("\"\\\0\""),
    S("\"\\U0041\""),
    S("\"\\u\""),
    S("\"\\u1\""),
    S("\"\\u12\""),
    S("\"\\u123\""),
    S("\"\\u123g\""),
    S("\"\\u 123\""),
    S("\"\\u-123\""),
    S("\"\\u123"),
    S("\"\\ud800\\u\""),
    S("\"\n\""),
    S("\"\t\""),
    S("\"\0\""),
    S("\"\x1f\""),
    S("\"0123456789abcdef\n\""),
    S("["),
    S("]"),
    S("[1"),
    S("[1,"),
    S("[1,]"),
    S("[,1]"),
    S("[,]"),
    S("[1,,2]"),
    S("[1 2]"),
    S("[1:2]"),
    S("[1}"),
    S("[\"a\":1]"),
    S("[[]"),
    S("[]]"),
    S("[]["),
    S("[a]"),
    S("[1]x"),
    S("{"),
    S("}"),
    S("{\"a\""),
    S("{\"a\":"),
    S("{\"a\":1"),
    S("{\"a\":1,"),
    S("{\"a\":1,}"),
    S("{,}"),
    S("{\"a\"}"),
    S("{\"a\",1}"),
    S("{\"a\":}"),
    S("{\"a\" 1}"),
    S("{\"a\"::1}"),
    S("{\"a\":1 \"b\":2}"),
    S("{a:1}"),
    S("{'a':1}"),
    S("{1:1}"),
    S("{null:1}"),
    S("{[]:1}"),
    S("{\"a\":1]"),
    S("{}}"),
    S("{}{}"),
    S("{\"a\":1}\0"),
    S("null\0"),
    S("\0null"),
    S("[1\0]"),
    S("{\"a\\\":1}"),
    S("/**/1"),
    S("1//x"),
    S("[1]#"),
    S("\xef\xbb\xbf{}"),
    S("\xc2\xa0"
      "1"),
    S("\f1"),
    S("\v1"),
    S("1\f"),
    S("\xff\xfe[\0]\0"),
    S("\xe2\x80\xa8"
      "1"),
    /* UTF-8: a lone continuation, overlong forms, surrogates, past the end, cut sequences, bytes that never
       occur */
    S("\"\x80\""),
    S("\"\xbf\""),
    S("\"\xc0\x80\""),
    S("\"\xc0\xaf\""),
    S("\"\xc1\xbf\""),
    S("\"\xe0\x80\x80\""),
    S("\"\xe0\x9f\xbf\""),
    S("\"\xf0\x80\x80\x80\""),
    S("\"\xf0\x8f\xbf\xbf\""),
    S("\"\xed\xa0\x80\""),
    S("\"\xed\xbf\xbf\""),
    S("\"\xf4\x90\x80\x80\""),
    S("\"\xf5\x80\x80\x80\""),
    S("\"\xf8\x88\x80\x80\x80\""),
    S("\"\xfe\""),
    S("\"\xff\""),
    S("\"\xc3\""),
    S("\"\xc3"),
    S("\"\xe2\x82\""),
    S("\"\xe2\x82"),
    S("\"\xf0\x9f\x98\""),
    S("\"\xf0\x9f\x98"),
    S("\"\xf0\x9f\""),
    S("\"\xe2\x28\xa1\""),
    S("\"\xe2\x82\x28\""),
    S("\"\xf0\x28\x8c\xbc\""),
    S("\"\xf0\x90\x28\xbc\""),
    S("\"\xf0\x90\x8c\x28\""),
    S("\"\xc3\xc3\xa9\""),
    S("\xc3\xa9"),
    S("\"0123456789abcdef\xff"
      "0123456789abcdef\""),
    S("{\"\xff\":1}"),
};

/* Every text of the grammar passes. */
static void test_accepts_the_grammar(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(must_accept); i++) {
        if (validate(must_accept[i]) != TG_OK)
            fail_msg("case %zu is refused: %.*s", i, TG_STR_ARG(must_accept[i]));
    }
}

/* Nothing beside the grammar passes: near misses, NUL bytes, every class of bad UTF-8. */
static void test_rejects_all_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(must_reject); i++) {
        if (validate(must_reject[i]) != TG_INVALID)
            fail_msg("case %zu passes: %.*s", i, TG_STR_ARG(must_reject[i]));
    }
}

/* No proper beginning of a document passes, and none makes the scanner read past its end. */
static void test_rejects_every_beginning(void **state)
{
    (void)state;
    struct tg_str whole =
        S("{\"a\\u00e9\":[1.5e+3,true,false,null,\"\xe2\x82\xac\\\\\"],\"b\":{\"c\":[{},[]]}}");
    assert_int_equal(validate(whole), TG_OK);
    for (size_t n = 0; n < whole.n; n++)
        assert_int_equal(validate(tg_str_n(whole.p, n)), TG_INVALID);
}

/* One bad byte is found wherever it stands relative to the blocks that the scanner takes at a time. */
static void test_finds_a_bad_byte_at_any_place(void **state)
{
    (void)state;
    static const char bad[] = {0x00, 0x1f, '\n', (char)0x80, (char)0xff};
    char text[72];
    memset(text, 'x', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    assert_int_equal(validate(tg_str_n(text, sizeof text)), TG_OK);
    for (size_t at = 1; at < sizeof text - 1; at++) {
        for (size_t b = 0; b < sizeof bad; b++) {
            text[at] = bad[b];
            assert_int_equal(validate(tg_str_n(text, sizeof text)), TG_INVALID);
        }
        text[at] = '"';
        assert_int_equal(validate(tg_str_n(text, sizeof text)), TG_INVALID);
        text[at] = 'x';
    }
}

/* The message names the byte at fault. */
static void test_names_the_byte(void **state)
{
    (void)state;
    static const struct {
        struct tg_str text;
        const char *message;
    } cases[] = {
        {S(""), "JSON, byte 0: no value"},
        {S("{\"a\":tru}"), "JSON, byte 5: expected a value"},
        {S("[1,2"), "JSON, byte 4: the text ends inside an array"},
        {S("{\"a\":1"), "JSON, byte 6: the text ends inside an object"},
        {S("[1,"), "JSON, byte 3: the text ends where a value is expected"},
        {S("[1 2]"), "JSON, byte 3: expected ',' or ']'"},
        {S("{\"a\":1 2}"), "JSON, byte 7: expected ',' or '}'"},
        {S("{\"a\":1,}"), "JSON, byte 7: expected a member name in quotes"},
        {S("{\"a\" 1}"), "JSON, byte 5: expected ':' after a member name"},
        {S("[\"abc"), "JSON, byte 1: this string is not closed"},
        {S("\"a\nb\""), "JSON, byte 2: a control character in a string must be escaped"},
        {S("\"ab\\q\""), "JSON, byte 3: unknown escape in a string"},
        {S("\"\\u12\""), "JSON, byte 1: \\u must be followed by four hexadecimal digits"},
        {S("\"ab\xff\""), "JSON, byte 3: invalid UTF-8 in a string"},
        {S(" 01"), "JSON, byte 1: malformed number"},
        {S("{} x"), "JSON, byte 3: something follows the value"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tg_err err = {0};
        assert_int_equal(tg_json_validate(cases[i].text, TG_JSON_MAX_DEPTH, NULL, &err), TG_INVALID);
        assert_string_equal(err.msg, cases[i].message);
    }
}

/* The value comes back without the white space around it. */
static void test_trims_the_value(void **state)
{
    (void)state;
    struct tg_str value;
    assert_int_equal(tg_json_validate(S(" \n{ \"a\" : 1 }\t "), 1, &value, NULL), TG_OK);
    assert_true(tg_str_is(value, "{ \"a\" : 1 }"));
}

static void nest(char *text, unsigned depth, char open, char close)
{
    memset(text, open, depth);
    memset(text + depth, close, depth);
}

/* Depth is counted in containers; one level too many is "too big", not "invalid", and the limit itself is
 * bounded. */
static void test_limits_depth(void **state)
{
    (void)state;
    static char text[200000];
    struct tg_err err = {0};
    assert_int_equal(tg_json_validate(S("1"), 0, NULL, NULL), TG_OK);
    assert_int_equal(tg_json_validate(S("[]"), 0, NULL, NULL), TG_TOOBIG);
    assert_int_equal(tg_json_validate(S("[[],[[]]]"), 3, NULL, NULL), TG_OK);
    assert_int_equal(tg_json_validate(S("[[],[[]]]"), 2, NULL, &err), TG_TOOBIG);
    assert_string_equal(err.msg, "JSON, byte 5: nested deeper than 2 levels");
    assert_int_equal(tg_json_validate(S("{\"a\":{}}"), 1, NULL, NULL), TG_TOOBIG);
    nest(text, 128, '[', ']');
    assert_int_equal(validate(tg_str_n(text, 256)), TG_OK);
    nest(text, 129, '[', ']');
    assert_int_equal(validate(tg_str_n(text, 258)), TG_TOOBIG);
    nest(text, 1023, '[', ']');
    assert_int_equal(tg_json_validate(tg_str_n(text, 2046), 5000, NULL, NULL), TG_OK);
    nest(text, 100000, '[', ']');
    assert_int_equal(tg_json_validate(tg_str_n(text, sizeof text), UINT32_MAX, NULL, NULL), TG_TOOBIG);
}

/* The kind of each open container is remembered at every depth. */
static void test_remembers_kinds(void **state)
{
    (void)state;
    char text[2048];
    size_t n = 0;
    for (int i = 0; i < 100; i++)
        n += (size_t)sprintf(text + n, "{\"k\":[");
    for (int i = 0; i < 100; i++)
        n += (size_t)sprintf(text + n, "]}");
    assert_int_equal(tg_json_validate(tg_str_n(text, n), 200, NULL, NULL), TG_OK);
    for (size_t i = n - 200; i < n; i++) {
        char was = text[i];
        text[i] = was == ']' ? '}' : ']';
        assert_int_equal(tg_json_validate(tg_str_n(text, n), 200, NULL, NULL), TG_INVALID);
        text[i] = was;
    }
}

/* A string of megabytes is a string. */
static void test_takes_huge_strings(void **state)
{
    (void)state;
    size_t n = (size_t)3 << 20;
    char *text = tg_malloc(n);
    assert_non_null(text);
    memset(text, 'a', n);
    text[0] = text[n - 1] = '"';
    assert_int_equal(tg_json_validate(tg_str_n(text, n), 0, NULL, NULL), TG_OK);
    text[n - 2] = '\\';
    assert_int_equal(tg_json_validate(tg_str_n(text, n), 0, NULL, NULL), TG_INVALID);
    tg_free(text);
}

/* The first byte tells the type. */
static void test_tells_types(void **state)
{
    (void)state;
    assert_int_equal(tg_json_type(S("null")), TG_JSON_NULL);
    assert_int_equal(tg_json_type(S("true")), TG_JSON_BOOL);
    assert_int_equal(tg_json_type(S("false")), TG_JSON_BOOL);
    assert_int_equal(tg_json_type(S("-1")), TG_JSON_NUMBER);
    assert_int_equal(tg_json_type(S("7")), TG_JSON_NUMBER);
    assert_int_equal(tg_json_type(S("\"\"")), TG_JSON_STRING);
    assert_int_equal(tg_json_type(S("[]")), TG_JSON_ARRAY);
    assert_int_equal(tg_json_type(S("{}")), TG_JSON_OBJECT);
    assert_int_equal(tg_json_type((struct tg_str){0}), TG_JSON_NULL);
}

/* A walk gives every member's key and value as written, and the span from one to the other. */
static void test_walks_objects(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *whole;
    } want[] = {
        {"\"a\"", "1", "\"a\":1"},
        {"\"}\\\"\"", "\"]{\\\\\"", "\"}\\\"\" : \"]{\\\\\""},
        {"\"o\"", "{\"x\":[{\"]\":\"}\"}],\"y\":{}}", "\"o\":{\"x\":[{\"]\":\"}\"}],\"y\":{}}"},
        {"\"\"", "null", "\"\": null"},
        {"\"z\"", "[ ]", "\"z\":[ ]"},
    };
    struct tg_json_walk w = tg_json_walk(S(
        "{ \"a\":1, \"}\\\"\" : \"]{\\\\\",\"o\":{\"x\":[{\"]\":\"}\"}],\"y\":{}},\"\": null ,\"z\":[ ]\n}"));
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_true(tg_json_next(&w));
        assert_true(tg_str_is(w.key, want[i].key));
        assert_true(tg_str_is(w.value, want[i].value));
        assert_true(tg_str_is(w.whole, want[i].whole));
    }
    assert_false(tg_json_next(&w));
    assert_false(tg_json_next(&w));
}

/* A walk over an array gives items and no keys; one over a scalar gives nothing. */
static void test_walks_arrays(void **state)
{
    (void)state;
    static const char *const want[] = {"1", "\"a:b\"", "[2,[3]]", "{\"a\":1}", "false", "-1e5"};
    struct tg_json_walk w = tg_json_walk(S("[1 ,\"a:b\",[2,[3]] , {\"a\":1},false,\t-1e5 ]"));
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_true(tg_json_next(&w));
        assert_int_equal(w.key.n, 0);
        assert_true(tg_str_is(w.value, want[i]));
        assert_true(tg_str_is(w.whole, want[i]));
    }
    assert_false(tg_json_next(&w));
    w = tg_json_walk(S("[ ]"));
    assert_false(tg_json_next(&w));
    w = tg_json_walk(S("{}"));
    assert_false(tg_json_next(&w));
    w = tg_json_walk(S("\"[1]\""));
    assert_false(tg_json_next(&w));
    w = tg_json_walk((struct tg_str){0});
    assert_false(tg_json_next(&w));
}

/* A walk over text that was never validated stays inside it and ends. */
static void test_walk_survives_garbage(void **state)
{
    (void)state;
    static const struct tg_str texts[] = {S("{\"a"),  S("{]]}"), S("[}]"),         S("[\"\\]"),
                                          S("{:::}"), S("[[[["), S("{\"a\":\"\\"), S("[a b]")};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char *copy = tg_memdup(texts[i].p, texts[i].n);
        assert_non_null(copy);
        struct tg_json_walk w = tg_json_walk(tg_str_n(copy, texts[i].n));
        size_t steps = 0;
        while (tg_json_next(&w))
            steps++;
        assert_true(steps <= texts[i].n);
        tg_free(copy);
    }
}

/* The end of a string is found whatever stands inside, and escapes are noticed. */
static void test_finds_the_end_of_a_string(void **state)
{
    (void)state;
    bool escaped;
    struct tg_str plain = S("\"0123456789abcdef0\",1"), with = S("\"0123456789abcde\\\"f\\\\\",1");
    assert_ptr_equal(tg_json_string_end(plain.p, plain.p + plain.n, &escaped), plain.p + plain.n - 2);
    assert_false(escaped);
    assert_ptr_equal(tg_json_string_end(with.p, with.p + with.n, &escaped), with.p + with.n - 2);
    assert_true(escaped);
    assert_ptr_equal(tg_json_string_end(plain.p, plain.p + 5, &escaped), plain.p + 5);
    assert_false(escaped);
}

/* Keys compare by what they mean, not by how they are written. */
static void test_compares_keys(void **state)
{
    (void)state;
    assert_true(tg_json_key_is(S("\"type\""), "type"));
    assert_true(tg_json_key_is(S("\"\\u0074ype\""), "type"));
    assert_true(tg_json_key_is(S("\"\""), ""));
    assert_true(tg_json_key_is(S("\"a\\/b\""), "a/b"));
    assert_true(tg_json_key_is(S("\"\\ud83d\\ude00\""), "\xf0\x9f\x98\x80"));
    assert_true(tg_json_key_is(S("\"\\ud800\""), "\xef\xbf\xbd"));
    assert_false(tg_json_key_is(S("\"type\""), "Type"));
    assert_false(tg_json_key_is(S("\"type\""), "typ"));
    assert_false(tg_json_key_is(S("\"typ\""), "type"));
    assert_false(tg_json_key_is(S("\"\\n\""), "\\n"));
    assert_false(tg_json_key_is(S("\"a\\u0000\""), "a"));
    assert_false(tg_json_key_is((struct tg_str){0}, ""));
}

/* The last member of a name counts; what is not there is an empty span. */
static void test_gets_members(void **state)
{
    (void)state;
    struct tg_str o = S("{\"a\":1,\"b\":[2],\"\\u0061\":{\"b\":3},\"c\":null}");
    assert_true(tg_str_is(tg_json_get(o, "a"), "{\"b\":3}"));
    assert_true(tg_str_is(tg_json_get(o, "b"), "[2]"));
    assert_true(tg_str_is(tg_json_get(o, "c"), "null"));
    assert_int_equal(tg_json_get(o, "d").n, 0);
    assert_int_equal(tg_json_get(S("[\"a\",1]"), "a").n, 0);
    assert_int_equal(tg_json_get(S("\"a\""), "a").n, 0);
    assert_int_equal(tg_json_get((struct tg_str){0}, "a").n, 0);
}

/* A text without the name and without an escape that could hide it certainly has no such member; all others
 * may. */
static void test_may_have_is_certain_of_absence(void **state)
{
    (void)state;
    struct tg_str name = S("\"direct\"");
    assert_false(tg_json_may_have((struct tg_str){0}, name));
    assert_false(tg_json_may_have(S("{\"ip\":\"direct\\n\"}"), name));
    assert_true(tg_json_may_have(S("{\"direct\":true}"), name));
    assert_true(tg_json_may_have(S("{\"a\":{\"direct\":true}}"), name));
    assert_true(tg_json_may_have(S("{\"dir\\u0065ct\":true}"), name));
}

/* A name is found wherever it stands in texts of every length, and one that is cut off is none. */
static void test_may_have_finds_a_name_anywhere(void **state)
{
    (void)state;
    struct tg_str name = S("\"direct\"");
    char text[100];
    for (size_t n = 0; n <= sizeof text; n++) {
        memset(text, '"', sizeof text);
        assert_false(tg_json_may_have(tg_str_n(text, n), name));
        for (size_t at = 0; at < n; at++) {
            size_t there = n - at < name.n ? n - at : name.n;
            memset(text, '"', sizeof text);
            memcpy(text + at, name.p, there);
            assert_int_equal(tg_json_may_have(tg_str_n(text, n), name), there == name.n);
        }
    }
}

/* Paths descend through objects and arrays, and a key with dots in it is found by its whole name. */
static void test_follows_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value;
    } cases[] = {
        {"properties.products.0.sku", "\"s0\""},
        {"properties.products.1.sku", "\"s1\""},
        {"properties.products.2.sku", ""},
        {"properties.products.01.sku", ""},
        {"properties.products.-1", ""},
        {"properties.products.x", ""},
        {"properties.products.99999999999999999999", ""},
        {"properties.products.sku", ""},
        {"properties.dotted.name", "2"},
        {"properties.deep.dotted.name", "3"},
        {"a.b", "4"},
        {"a.c", "6"},
        {"a", "{\"b\":5,\"c\":6}"},
        {"a.", ""},
        {".a", ""},
        {"a..b", ""},
        {"a.b.c", ""},
        {"properties.products", "[{\"sku\":\"s0\"},{\"sku\":\"s1\"}]"},
        {"none.at.all", ""},
        {"", "7"},
    };
    struct tg_str event =
        S("{\"properties\":{\"products\":[{\"sku\":\"s0\"},{\"sku\":\"s1\"}],\"dotted\":{\"name\":1},"
          "\"dotted.name\":2,\"deep\":{\"dotted.name\":3}},\"a.b\":4,\"a\":{\"b\":5,\"c\":6},\"\":7}");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tg_str found = tg_json_path(event, tg_str_of(cases[i].path));
        if (!tg_str_is(found, cases[i].value))
            fail_msg("%s: %.*s", cases[i].path, TG_STR_ARG(found));
    }
    assert_int_equal(tg_json_path(S("1"), S("a")).n, 0);
    assert_int_equal(tg_json_path((struct tg_str){0}, S("a")).n, 0);
    assert_true(tg_str_is(tg_json_path(event, (struct tg_str){0}), "7"));
}

static void expect_text(struct tg_str string, struct tg_str want)
{
    struct tg_buf out = TG_BUF_INIT(1024);
    assert_int_equal(tg_json_text(string, &out), TG_OK);
    assert_true(tg_str_eq(tg_buf_str(&out), want));
    tg_buf_fini(&out);
}

/* Escapes are decoded, pairs joined, and a lone half becomes U+FFFD. */
static void test_decodes_strings(void **state)
{
    (void)state;
    expect_text(S("\"\""), S(""));
    expect_text(S("\"plain\""), S("plain"));
    expect_text(S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), S("\"\\/\b\f\n\r\t"));
    expect_text(S("\"a\\u0000b\""), S("a\0b"));
    expect_text(S("\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\""), S("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    expect_text(S("\"\\ud800\""), S("\xef\xbf\xbd"));
    expect_text(S("\"\\ud800\\ud83d\\ude00\""), S("\xef\xbf\xbd\xf0\x9f\x98\x80"));
    expect_text(S("\"\\ude00\\ud83d\""), S("\xef\xbf\xbd\xef\xbf\xbd"));
    expect_text(S("\"\\ud83d\\u0041\""), S("\xef\xbf\xbd"
                                           "A"));
    expect_text(S("\"\\ud83d\\n\""), S("\xef\xbf\xbd\n"));
    expect_text(S("\"\\udbff\\udfff\""), S("\xf4\x8f\xbf\xbf"));
}

/* Text is added to what the buffer holds; other values and full buffers are results. */
static void test_decodes_into_bounded_buffers(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(4);
    assert_int_equal(tg_json_text(S("12"), &out), TG_INVALID);
    assert_int_equal(tg_json_text(S("\""), &out), TG_INVALID);
    assert_int_equal(tg_json_text((struct tg_str){0}, &out), TG_INVALID);
    assert_int_equal(tg_json_text(S("\"abc\""), &out), TG_OK);
    assert_int_equal(tg_json_text(S("\"de\""), &out), TG_TOOBIG);
    assert_int_equal(tg_json_text(S("\"d\""), &out), TG_OK);
    assert_true(tg_str_is(tg_buf_str(&out), "abcd"));
    tg_buf_fini(&out);
    tg_mem_fail_after(1);
    assert_int_equal(tg_json_text(S("\"abc\""), &out), TG_NOMEM);
    tg_mem_fail_after(0);
    tg_buf_fini(&out);
}

/* Text without escapes is lent instead of copied. */
static void test_lends_plain_text(void **state)
{
    (void)state;
    struct tg_str out;
    assert_true(tg_json_plain(S("\"abc\""), &out));
    assert_true(tg_str_is(out, "abc"));
    assert_true(tg_json_plain(S("\"\""), &out));
    assert_int_equal(out.n, 0);
    assert_false(tg_json_plain(S("\"a\\n\""), &out));
    assert_false(tg_json_plain(S("12"), &out));
    assert_false(tg_json_plain((struct tg_str){0}, &out));
}

static void expect_quoted(struct tg_str text, struct tg_str want)
{
    struct tg_buf out = TG_BUF_INIT(1024);
    assert_int_equal(tg_json_quote(&out, text), TG_OK);
    if (!tg_str_eq(tg_buf_str(&out), want))
        fail_msg("%.*s", TG_STR_ARG(tg_buf_str(&out)));
    assert_int_equal(validate(tg_buf_str(&out)), TG_OK);
    tg_buf_fini(&out);
}

/* Only what must be escaped is; bad UTF-8 becomes U+FFFD, one for each longest beginning of a sequence. */
static void test_quotes_text(void **state)
{
    (void)state;
    expect_quoted(S(""), S("\"\""));
    expect_quoted((struct tg_str){0}, S("\"\""));
    expect_quoted(S("a/b\"c\\d"), S("\"a/b\\\"c\\\\d\""));
    expect_quoted(S("\b\f\n\r\t"), S("\"\\b\\f\\n\\r\\t\""));
    expect_quoted(S("\0\x01\x0b\x1f\x7f"), S("\"\\u0000\\u0001\\u000b\\u001f\x7f\""));
    expect_quoted(S("\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80"), S("\"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\""));
    expect_quoted(S("\xff"), S("\"\xef\xbf\xbd\""));
    expect_quoted(S("a\xc3"), S("\"a\xef\xbf\xbd\""));
    expect_quoted(S("\xe2\x82z"), S("\"\xef\xbf\xbdz\""));
    expect_quoted(S("\xc0\x80"), S("\"\xef\xbf\xbd\xef\xbf\xbd\""));
    expect_quoted(S("\xed\xa0\x80"), S("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""));
    expect_quoted(S("0123456789abcdef0123456789abcdef\n"), S("\"0123456789abcdef0123456789abcdef\\n\""));
}

/* A string that does not fit leaves the buffer as it was. */
static void test_quote_adds_all_or_nothing(void **state)
{
    (void)state;
    struct tg_str text = S("ab\"\xff"
                           "cd");
    for (size_t max = 1; max < 13; max++) {
        struct tg_buf out = TG_BUF_INIT(max);
        assert_int_equal(tg_buf_addc(&out, 'x'), TG_OK);
        assert_int_equal(tg_json_quote(&out, text), max < 12 ? TG_TOOBIG : TG_OK);
        assert_int_equal(out.len, max < 12 ? 1 : 12);
        tg_buf_fini(&out);
    }
}

/* What is quoted decodes to the same bytes, for every byte below 0x80 at every place in a block. */
static void test_quote_and_text_are_inverse(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x80; c++) {
        for (unsigned at = 0; at < 34; at++) {
            char text[34];
            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            struct tg_buf quoted = TG_BUF_INIT(256), back = TG_BUF_INIT(256);
            assert_int_equal(tg_json_quote(&quoted, tg_str_n(text, sizeof text)), TG_OK);
            assert_int_equal(validate(tg_buf_str(&quoted)), TG_OK);
            assert_int_equal(tg_json_text(tg_buf_str(&quoted), &back), TG_OK);
            assert_true(tg_str_eq(tg_buf_str(&back), tg_str_n(text, sizeof text)));
            tg_buf_fini(&quoted);
            tg_buf_fini(&back);
        }
    }
}

/* Plain text is told from other text at every length and for every byte at every place. */
static void test_tells_plain_text(void **state)
{
    (void)state;
    char text[50];
    for (size_t n = 0; n < sizeof text; n++) {
        memset(text, 'x', sizeof text);
        assert_true(tg_json_is_plain(tg_str_n(text, n)));
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_int_equal(tg_json_is_plain(tg_str_n(text, n)),
                                 c >= 0x20 && c < 0x80 && c != '"' && c != '\\');
            }
            text[at] = 'x';
        }
    }
}

/* The length of the valid beginning is counted in bytes. */
static void test_measures_utf8(void **state)
{
    (void)state;
    assert_int_equal(tg_json_utf8("", 0), 0);
    assert_int_equal(tg_json_utf8("a\"\\\n\0b", 6), 6);
    assert_int_equal(tg_json_utf8("\xc3\xa9\xf0\x9f\x98\x80", 6), 6);
    assert_int_equal(tg_json_utf8("ab\xc3", 3), 2);
    assert_int_equal(tg_json_utf8("ab\xed\xa0\x80", 5), 2);
    assert_int_equal(tg_json_utf8("0123456789abcdef\xff", 17), 16);
}

static const struct {
    double number;
    const char *text;
} printed[] = {
    {0, "0"},
    {-0.0, "-0"},
    {1, "1"},
    {-1, "-1"},
    {42, "42"},
    {100, "100"},
    {0.1, "0.1"},
    {-0.5, "-0.5"},
    {19.99, "19.99"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1.0 / 3, "0.3333333333333333"},
    {123456789.125, "123456789.125"},
    {1e15, "1000000000000000"},
    {999999999999999, "999999999999999"},
    {9007199254740991, "9007199254740991"},
    {9007199254740992, "9007199254740992"},
    {12345678901234567, "12345678901234568"},
    {1e20, "100000000000000000000"},
    {123456789012345680000.0, "123456789012345680000"},
    {999999999999999900000.0, "999999999999999900000"},
    {1e21, "1e21"},
    {1.5e21, "1.5e21"},
    {1e22, "1e22"},
    {0.001, "0.001"},
    {0.000001, "0.000001"},
    {0.0000015, "0.0000015"},
    {1e-7, "1e-7"},
    {-1.25e-7, "-1.25e-7"},
    {1e-10, "1e-10"},
    {0.000123456789012345, "0.000123456789012345"},
    {5e-324, "5e-324"},
    {1e-320, "1e-320"},
    {2.2250738585072014e-308, "2.2250738585072014e-308"},
    {1.7976931348623157e308, "1.7976931348623157e308"},
    {1700000000.123, "1700000000.123"},
    {1700000000123, "1700000000123"},
};

/* Numbers are printed as short as they can be and read back as themselves. */
static void test_prints_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(printed); i++) {
        struct tg_buf out = TG_BUF_INIT(64);
        double back = NAN;
        assert_int_equal(tg_json_number(&out, printed[i].number), TG_OK);
        if (!tg_str_is(tg_buf_str(&out), printed[i].text))
            fail_msg("%s is printed as %.*s", printed[i].text, TG_STR_ARG(tg_buf_str(&out)));
        assert_true(tg_json_double(tg_buf_str(&out), &back));
        assert_memory_equal(&back, &printed[i].number, sizeof back);
        assert_int_equal(validate(tg_buf_str(&out)), TG_OK);
        tg_buf_fini(&out);
    }
}

/* What JSON cannot say is refused, and a full buffer is a result. */
static void test_refuses_to_print(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(3);
    assert_int_equal(tg_json_number(&out, NAN), TG_INVALID);
    assert_int_equal(tg_json_number(&out, INFINITY), TG_INVALID);
    assert_int_equal(tg_json_number(&out, -INFINITY), TG_INVALID);
    assert_int_equal(tg_json_number(&out, 1234), TG_TOOBIG);
    assert_int_equal(out.len, 0);
    tg_buf_fini(&out);
}

static uint64_t scramble(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void expect_round_trip(double x)
{
    char text[TG_JSON_NUMBER_MAX + 1];
    double back = 0;
    size_t n = tg_json_format(text, x);
    assert_in_range(n, 1, 25);
    text[n] = '\0';
    assert_true(strtod(text, NULL) == x);
    assert_true(tg_json_double(tg_str_n(text, n), &back));
    assert_true(back == x);
}

/* Any double reads back from its text, bit patterns and amounts of money alike; the C library agrees. */
static void test_round_trips_random_numbers(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = scramble(&seed);
        double x;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x))
            expect_round_trip(x);
        expect_round_trip((double)(int64_t)(bits >> 20) / 100);
        expect_round_trip((double)(bits >> 40) / 1e6);
    }
}

/* Reading agrees with the C library on decimals of every length and size. */
static void test_reads_as_the_c_library(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "%s%llu.%0*llue%d", i & 1 ? "-" : "",
                         (unsigned long long)(scramble(&seed) >> (scramble(&seed) % 64)),
                         (int)(scramble(&seed) % 20) + 1,
                         (unsigned long long)(scramble(&seed) >> (scramble(&seed) % 64)),
                         (int)(scramble(&seed) % 660) - 340);
        double want = strtod(text, NULL), got = 0;
        assert_int_equal(tg_json_double(tg_str_n(text, (size_t)n), &got), isfinite(want));
        if (isfinite(want) && got != want)
            fail_msg("%s", text);
    }
}

/* Hard cases: halfway points, hundreds of digits, long runs of zeros, exponents past any integer. */
static void test_reads_hard_numbers(void **state)
{
    (void)state;
    static char text[4096];
    double x = 0;
    assert_true(tg_json_double(S("9007199254740993"), &x) && x == 9007199254740992.0);
    assert_true(tg_json_double(S("9007199254740993.00000000000000000000000000001"), &x) &&
                x == 9007199254740994.0);
    assert_true(tg_json_double(S("2.4703282292062327208e-324"), &x) && x == 0);
    assert_true(tg_json_double(S("2.4703282292062328e-324"), &x) && x == 5e-324);
    assert_true(tg_json_double(S("1.7976931348623158e308"), &x) && x == 1.7976931348623157e308);
    assert_false(tg_json_double(S("1.7976931348623159e308"), &x));
    assert_false(tg_json_double(S("1e400"), &x));
    assert_false(tg_json_double(S("-1e99999999999999999999999"), &x));
    assert_true(tg_json_double(S("1e-99999999999999999999999"), &x) && x == 0);
    assert_true(tg_json_double(S("0e99999999999999999999999"), &x) && x == 0);
    assert_true(tg_json_double(S("-0"), &x) && x == 0 && signbit(x));
    /* 9007199254740993 with a thousand zeros and a one behind it: above the halfway point */
    size_t n = (size_t)sprintf(text, "9007199254740993.");
    memset(text + n, '0', 1000);
    text[n + 1000] = '1';
    assert_true(tg_json_double(tg_str_n(text, n + 1000), &x) && x == 9007199254740992.0);
    assert_true(tg_json_double(tg_str_n(text, n + 1001), &x) && x == 9007199254740994.0);
    /* 1000 ones with an exponent that brings them back */
    memset(text, '1', 1000);
    n = 1000 + (size_t)sprintf(text + 1000, "e-999");
    assert_true(tg_json_double(tg_str_n(text, n), &x) && x == 1.1111111111111112);
    /* 0.000…1e+2000 */
    n = (size_t)sprintf(text, "0.");
    memset(text + n, '0', 1999);
    n += 1999;
    n += (size_t)sprintf(text + n, "1e2000");
    assert_true(tg_json_double(tg_str_n(text, n), &x) && x == 1);
}

/* A double stands for a text only when the text is a print of it; everything up to 15 digits is. */
static void test_knows_what_a_double_holds(void **state)
{
    (void)state;
    static const char *const held[] = {"0",
                                       "-0",
                                       "0.0",
                                       "0e999",
                                       "1",
                                       "-1.5",
                                       "0.1",
                                       "19.99",
                                       "1e21",
                                       "123456789012345",
                                       "0.10000000000000001",
                                       "19.989999999999998",
                                       "0.30000000000000004",
                                       "1e308",
                                       "5e-324",
                                       "12345678901234568",
                                       "9007199254740992",
                                       "9007199254740994",
                                       "1.7976931348623157e308",
                                       "27.5000000000000000000000",
                                       "1000000000000000000000000",
                                       "4.9406564584124654e-324",
                                       "0.1000000000000000055511151231257827021181583404541015625",
                                       "1e-7",
                                       "100e-2"};
    static const char *const lost[] = {"12345678901234567",
                                       "-12345678901234567",
                                       "9007199254740993",
                                       "1e400",
                                       "1e-400",
                                       "-1e400",
                                       "3e-324",
                                       "3.14159265358979323846",
                                       "123456789012345678901234567890",
                                       "0.1000000000000000000000000000001",
                                       "9.007199254740992",
                                       "12345678901234567890"};
    double x;
    for (size_t i = 0; i < COUNT(held); i++) {
        x = NAN;
        if (!tg_json_exact(tg_str_of(held[i]), &x) || x != strtod(held[i], NULL))
            fail_msg("%s", held[i]);
    }
    for (size_t i = 0; i < COUNT(lost); i++) {
        if (tg_json_exact(tg_str_of(lost[i]), &x))
            fail_msg("%s", lost[i]);
    }
}

/* Strict quoting agrees with the lenient one on valid text and refuses the rest. */
static void test_quotes_exactly(void **state)
{
    (void)state;
    static const struct tg_str bad[] = {S("\xff"), S("ab\xc3"), S("\n\xed\xa0\x80"), S("\xc0\x80"),
                                        S("\xe2\x82z")};
    struct tg_buf out = TG_BUF_INIT(64);
    assert_int_equal(tg_json_quote_exact(&out, S("a\n\xc3\xa9\xef\xbf\xbd")), TG_OK);
    assert_true(tg_str_is(tg_buf_str(&out), "\"a\\n\xc3\xa9\xef\xbf\xbd\""));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(tg_json_quote_exact(&out, bad[i]), TG_INVALID);
    assert_int_equal(out.len, 10);
    tg_buf_fini(&out);
}

/* What is no number has no double. */
static void test_no_number_no_double(void **state)
{
    (void)state;
    double x;
    int64_t i;
    static const struct tg_str texts[] = {S("null"), S("true"), S("\"1\""), S("[1]"), S("{}"), {NULL, 0}};
    for (size_t t = 0; t < COUNT(texts); t++) {
        assert_false(tg_json_double(texts[t], &x));
        assert_false(tg_json_exact(texts[t], &x));
        assert_false(tg_json_int(texts[t], &i));
    }
}

/* Integers are read exactly up to both ends of the range, however they are written. */
static void test_reads_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"0.0", 0},
        {"0e99", 0},
        {"7", 7},
        {"-7", -7},
        {"1.0", 1},
        {"1e3", 1000},
        {"12.5e1", 125},
        {"1200e-2", 12},
        {"1.00000000000000000000000000", 1},
        {"12345678901234567", 12345678901234567},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"1e18", 1000000000000000000},
    };
    static const char *const bad[] = {"0.5",
                                      "1e-1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "1e19",
                                      "1e400",
                                      "1.5",
                                      "18446744073709551617",
                                      "123456789012345678901234567890",
                                      "1.00000000000000000000001"};
    int64_t x;
    for (size_t i = 0; i < COUNT(good); i++) {
        x = 99;
        if (!tg_json_int(tg_str_of(good[i].text), &x) || x != good[i].value)
            fail_msg("%s", good[i].text);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (tg_json_int(tg_str_of(bad[i]), &x))
            fail_msg("%s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_the_grammar),
        cmocka_unit_test(test_rejects_all_else),
        cmocka_unit_test(test_rejects_every_beginning),
        cmocka_unit_test(test_finds_a_bad_byte_at_any_place),
        cmocka_unit_test(test_names_the_byte),
        cmocka_unit_test(test_trims_the_value),
        cmocka_unit_test(test_limits_depth),
        cmocka_unit_test(test_remembers_kinds),
        cmocka_unit_test(test_takes_huge_strings),
        cmocka_unit_test(test_tells_types),
        cmocka_unit_test(test_walks_objects),
        cmocka_unit_test(test_walks_arrays),
        cmocka_unit_test(test_walk_survives_garbage),
        cmocka_unit_test(test_finds_the_end_of_a_string),
        cmocka_unit_test(test_compares_keys),
        cmocka_unit_test(test_gets_members),
        cmocka_unit_test(test_may_have_is_certain_of_absence),
        cmocka_unit_test(test_may_have_finds_a_name_anywhere),
        cmocka_unit_test(test_follows_paths),
        cmocka_unit_test(test_decodes_strings),
        cmocka_unit_test(test_decodes_into_bounded_buffers),
        cmocka_unit_test(test_lends_plain_text),
        cmocka_unit_test(test_quotes_text),
        cmocka_unit_test(test_quote_adds_all_or_nothing),
        cmocka_unit_test(test_quote_and_text_are_inverse),
        cmocka_unit_test(test_tells_plain_text),
        cmocka_unit_test(test_measures_utf8),
        cmocka_unit_test(test_prints_numbers),
        cmocka_unit_test(test_refuses_to_print),
        cmocka_unit_test(test_round_trips_random_numbers),
        cmocka_unit_test(test_reads_as_the_c_library),
        cmocka_unit_test(test_reads_hard_numbers),
        cmocka_unit_test(test_knows_what_a_double_holds),
        cmocka_unit_test(test_quotes_exactly),
        cmocka_unit_test(test_no_number_no_double),
        cmocka_unit_test(test_reads_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
