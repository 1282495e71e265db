#include "tg_test.h"

#include "base/mem.h"

static int back_to_normal(void **state)
{
    (void)state;
    tg_mem_fail_after(0);
    return 0;
}

/* Nothing asked for is still a pointer that can be freed. */
static void zero_sizes_are_valid(void **state)
{
    (void)state;
    void *p[] = {tg_malloc(0), tg_calloc(0, 8), tg_calloc(8, 0), tg_realloc(NULL, 0), tg_memdup(NULL, 0)};
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++) {
        assert_non_null(p[i]);
        tg_free(p[i]);
    }
    tg_free(NULL);
}

/* Copies are equal and their own. */
static void copies(void **state)
{
    (void)state;
    char *a = tg_strdup("hello"), *b = tg_strndup("hello", 3), *c = tg_memdup("a\0b", 3);
    assert_string_equal(a, "hello");
    assert_string_equal(b, "hel");
    assert_memory_equal(c, "a\0b", 3);
    tg_free(a);
    tg_free(b);
    tg_free(c);
}

/* A product that overflows is refused, and so is a length to which no NUL can be added. */
static void overflow_is_refused(void **state)
{
    (void)state;
    volatile size_t half = SIZE_MAX / 2 + 2;
    assert_null(tg_calloc(half, 2));
    assert_null(tg_strndup("", SIZE_MAX));
}

/* calloc zeroes. */
static void calloc_zeroes(void **state)
{
    (void)state;
    unsigned char *p = tg_calloc(64, 2);
    for (int i = 0; i < 128; i++)
        assert_int_equal(p[i], 0);
    tg_free(p);
}

/* The n-th allocation from now and all after it fail, until it is switched off. */
static void fails_on_demand(void **state)
{
    (void)state;
    tg_mem_fail_after(3);
    void *a = tg_malloc(1), *b = tg_calloc(1, 1);
    assert_non_null(a);
    assert_non_null(b);
    assert_false(tg_mem_failed());
    assert_null(tg_malloc(1));
    assert_true(tg_mem_failed());
    assert_null(tg_calloc(1, 1));
    assert_null(tg_realloc(a, 100));
    assert_null(tg_strdup("x"));
    tg_mem_fail_after(0);
    assert_false(tg_mem_failed());
    a = tg_realloc(a, 100); /* still valid after the refused one */
    assert_non_null(a);
    tg_free(a);
    tg_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_sizes_are_valid),
        cmocka_unit_test(copies),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(calloc_zeroes),
        cmocka_unit_test_teardown(fails_on_demand, back_to_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
