#include "deliver/headers.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct tg_buf raw_of(const char *text, size_t n)
{
    struct tg_buf raw = TG_BUF_INIT(1000);
    assert_int_equal(tg_buf_add(&raw, text, n), TG_OK);
    return raw;
}

/* Names and values come out trimmed; an empty value is one; lines without a colon or an end are none. */
static void splits(void **state)
{
    (void)state;
    static const char text[] = "A: b\r\nEmpty:\r\nSpaced: \t c d \r\nnothing\r\nX:y:z\n\r\n: v\r\nB: no end";
    struct tg_buf raw = raw_of(text, sizeof text - 1);
    struct tg_header *h;
    static const char *const want[][2] = {
        {"A", "b"}, {"Empty", ""}, {"Spaced", "c d"}, {"X", "y:z"}, {"", "v"}};
    assert_int_equal(tg_headers_split(&raw, &h), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(h[i].name, want[i][0]);
        assert_string_equal(h[i].value, want[i][1]);
    }
    tg_free(h);
    tg_buf_fini(&raw);
}

/* NUL bytes end a line's text and nothing more. */
static void keeps_within_lines(void **state)
{
    (void)state;
    static const char text[] = "A\0: b\nC: d\0e\n\0\n";
    struct tg_buf raw = raw_of(text, sizeof text - 1);
    struct tg_header *h;
    assert_int_equal(tg_headers_split(&raw, &h), 1);
    assert_string_equal(h[0].name, "C");
    assert_string_equal(h[0].value, "d");
    tg_free(h);
    tg_buf_fini(&raw);
}

/* Nothing, and no memory, are no headers. */
static void none(void **state)
{
    (void)state;
    struct tg_buf raw = TG_BUF_INIT(10);
    struct tg_header *h;
    assert_int_equal(tg_headers_split(&raw, &h), 0);
    assert_null(h);
    raw = raw_of("A: b\n", 5);
    tg_mem_fail_after(1);
    assert_int_equal(tg_headers_split(&raw, &h), 0);
    tg_mem_fail_after(0);
    assert_null(h);
    tg_buf_fini(&raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(splits), cmocka_unit_test(keeps_within_lines),
                                       cmocka_unit_test(none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
