#include "ingest/arena.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What was allocated keeps its place and contents while more is allocated, and is aligned for any type. */
static void test_stays(void **state)
{
    (void)state;
    enum { PIECES = 500 };
    struct tg_arena a = TG_ARENA_INIT;
    unsigned char *piece[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        piece[i] = tg_arena_alloc(&a, i * 7);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % _Alignof(max_align_t), 0);
        memset(piece[i], (int)(i & 0xff), i * 7);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < i * 7; k++)
            assert_int_equal(piece[i][k], i & 0xff);
    }
    tg_arena_fini(&a);
}

/* After a clear the ordinary chunk serves again: a steady load allocates nothing more. */
static void test_clear_keeps_a_chunk(void **state)
{
    (void)state;
    struct tg_arena a = TG_ARENA_INIT;
    assert_non_null(tg_arena_alloc(&a, 100));
    assert_non_null(tg_arena_alloc(&a, 1 << 20));
    tg_arena_clear(&a);
    tg_mem_fail_after(1);
    assert_non_null(tg_arena_alloc(&a, 100));
    assert_null(tg_arena_alloc(&a, 1 << 20));
    assert_null(tg_arena_alloc(&a, SIZE_MAX));
    tg_mem_fail_after(0);
    tg_arena_clear(&a);
    tg_arena_fini(&a);
}

/* A copy has bytes of its own; an empty one is told apart from a failed one. */
static void test_copy(void **state)
{
    (void)state;
    struct tg_arena a = TG_ARENA_INIT;
    char text[] = "abc";
    struct tg_str copy = tg_arena_copy(&a, tg_str_of(text));
    text[0] = 'x';
    assert_true(tg_str_is(copy, "abc"));
    assert_non_null(tg_arena_copy(&a, (struct tg_str){0}).p);
    tg_arena_fini(&a);
    tg_mem_fail_after(1);
    assert_null(tg_arena_copy(&a, TG_STR("abc")).p);
    tg_mem_fail_after(0);
    tg_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stays),
        cmocka_unit_test(test_clear_keeps_a_chunk),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
