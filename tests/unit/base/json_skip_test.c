#include "base/json_skip.h"

#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The same, byte by byte. */
static size_t expected(const char *p, size_t n)
{
    size_t depth = 0;
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        if (inside && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            inside = !inside;
        else if (!inside && (p[i] == '{' || p[i] == '['))
            depth++;
        else if (!inside && (p[i] == '}' || p[i] == ']') && --depth == 0)
            return i + 1;
    }
    return n;
}

/* On a copy of exactly that size, so that the sanitizers see a read past the end. */
static size_t skipped(const char *p, size_t n)
{
    char *copy = tg_memdup(p, n);
    assert_non_null(copy);
    size_t at = (size_t)(tg_json_container_end(copy, copy + n) - copy);
    tg_free(copy);
    return at;
}

static void check(const char *text)
{
    assert_int_equal(skipped(text, strlen(text)), expected(text, strlen(text)));
}

/* The end is found whatever stands in strings and behind the container. */
static void test_finds_the_end(void **state)
{
    (void)state;
    check("{}");
    check("[]x");
    check("{\"a\":\"}\"},{}");
    check("{\"a\\\"}\":[1,{\"b\":\"]\\\\\"}]}]]]");
    check("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],[]");
    check("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\",1]]");
}

/* A string or an escape that crosses the border of a block is seen on both sides, at every offset. */
static void test_borders_of_blocks(void **state)
{
    (void)state;
    char text[400];
    for (size_t pad = 0; pad < 150; pad++) {
        size_t n = 0;
        text[n++] = '[';
        memset(text + n, ' ', pad);
        n += pad;
        static const char rest[] = "\"\\\\\\\"]\\\\\",{\"}\":\"\\u005d\"}],\"]\"]";
        memcpy(text + n, rest, sizeof rest);
        check(text);
    }
}

/* Text that was never validated: the answer stays inside. */
static void test_unclosed_text_ends_at_its_end(void **state)
{
    static const char *const texts[] = {"{", "[\"", "[\"\\", "{{{{]", "[\"abc]", "[[]"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(skipped(texts[i], strlen(texts[i])), expected(texts[i], strlen(texts[i])));
}

/* Any mix of quotes, backslashes and brackets gives what the simple loop gives. A backslash outside strings
 * is no JSON, and is not in the mix. */
static void test_agrees_with_the_simple_loop(void **state)
{
    static const char mix[] = "{}[]\"\"ab ,:{[";
    uint64_t seed = 88172645463325252ULL;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[300];
        size_t n = 1 + (size_t)(seed % 290);
        bool inside = false;
        text[0] = '{';
        for (size_t i = 1; i < n; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            text[i] = inside && seed % 7 == 0 && i + 1 < n ? '\\' : mix[seed % (sizeof mix - 1)];
            if (text[i] == '\\')
                text[++i] = seed % 2 ? '"' : '\\';
            else if (text[i] == '"')
                inside = !inside;
        }
        assert_int_equal(skipped(text, n), expected(text, n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_end),
        cmocka_unit_test(test_borders_of_blocks),
        cmocka_unit_test(test_unclosed_text_ends_at_its_end),
        cmocka_unit_test(test_agrees_with_the_simple_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
