#include "tg_test.h"

#include "base/buf.h"

/* What is added stands there in order, whatever the way in which it came. */
static void adds_in_order(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(100);
    assert_ok(tg_buf_add(&b, "ab\0", 3));
    b.len--;
    assert_ok(tg_buf_adds(&b, "cd"));
    assert_ok(tg_buf_addstr(&b, TG_STR("ef")));
    assert_ok(tg_buf_addc(&b, 'g'));
    assert_ok(tg_buf_printf(&b, "-%d-%s", 42, "x"));
    assert_buf(&b, "abcdefg-42-x");
    assert_string_equal(tg_buf_cstr(&b), "abcdefg-42-x");
    tg_buf_fini(&b);
    assert_null(b.data);
}

/* Up to the ceiling everything fits; the byte behind it is refused and changes nothing. */
static void ceiling_holds(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(4);
    assert_ok(tg_buf_adds(&b, "abcd"));
    assert_int_equal(tg_buf_addc(&b, 'e'), TG_TOOBIG);
    assert_int_equal(tg_buf_adds(&b, "efgh"), TG_TOOBIG);
    assert_int_equal(tg_buf_printf(&b, "%d", 1), TG_TOOBIG);
    assert_int_equal(tg_buf_reserve(&b, SIZE_MAX), TG_TOOBIG);
    assert_buf(&b, "abcd");
    tg_buf_fini(&b);
}

/* The NUL of a C string and of printf does not count against the ceiling. */
static void terminator_is_free(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(256);
    char text[257];
    memset(text, 'x', 256);
    text[256] = '\0';
    assert_ok(tg_buf_printf(&b, "%s", text));
    assert_int_equal(b.len, 256);
    assert_string_equal(tg_buf_cstr(&b), text);
    tg_buf_fini(&b);
}

/* A ceiling far above the contents costs no memory. */
static void grows_by_need(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(SIZE_MAX);
    for (int i = 0; i < 10000; i++)
        assert_ok(tg_buf_addc(&b, (char)('a' + i % 26)));
    assert_true(b.cap < 40000);
    assert_int_equal(b.data[9999], 'a' + 9999 % 26);
    tg_buf_fini(&b);
}

/* Consuming removes from the front; more than there is empties the buffer. */
static void consumes_from_the_front(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(100);
    assert_ok(tg_buf_adds(&b, "abcdef"));
    tg_buf_consume(&b, 0);
    tg_buf_consume(&b, 2);
    assert_buf(&b, "cdef");
    tg_buf_consume(&b, 100);
    assert_buf(&b, "");
    tg_buf_clear(&b);
    tg_buf_fini(&b);
}

/* Taking moves the storage out and leaves an empty buffer that works on. */
static void take_moves_the_storage(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(100);
    assert_ok(tg_buf_adds(&b, "abc"));
    size_t n = 0;
    char *p = tg_buf_take(&b, &n);
    assert_string_equal(p, "abc");
    assert_int_equal(n, 3);
    assert_ok(tg_buf_adds(&b, "d"));
    assert_buf(&b, "d");
    tg_free(p);
    tg_buf_fini(&b);
    p = tg_buf_take(&b, NULL);
    assert_string_equal(p, "");
    tg_free(p);
}

static int fill(void *arg)
{
    (void)arg;
    struct tg_buf b = TG_BUF_INIT(5000);
    int rc = tg_buf_adds(&b, "abc");
    for (int i = 0; !rc && i < 10; i++)
        rc = tg_buf_printf(&b, "%0200d", i);
    if (!rc && !tg_buf_cstr(&b))
        rc = TG_NOMEM;
    if (!rc)
        assert_int_equal(b.len, 2003);
    else if (b.len)
        assert_memory_equal(b.data, "abc", 3);
    tg_buf_fini(&b);
    return rc;
}

/* Out of memory at any moment is reported and leaves what was there. */
static void torture(void **state)
{
    (void)state;
    tg_torture(fill, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_in_order),
        cmocka_unit_test(ceiling_holds),
        cmocka_unit_test(terminator_is_free),
        cmocka_unit_test(grows_by_need),
        cmocka_unit_test(consumes_from_the_front),
        cmocka_unit_test(take_moves_the_storage),
        cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
