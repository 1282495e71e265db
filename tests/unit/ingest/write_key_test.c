#include "tg_test.h"

#include "ingest/write_key.h"

#include <stdio.h>

static int find(const struct tg_write_keys *keys, const char *key)
{
    return tg_write_keys_find(keys, tg_str_of(key));
}

/* A key belongs to one source; several keys may belong to the same. */
static void owners(void **state)
{
    (void)state;
    struct tg_write_keys *keys;
    assert_ok(tg_write_keys_new(&keys, 0));
    assert_ok(tg_write_keys_add(keys, TG_STR("a"), 0));
    assert_ok(tg_write_keys_add(keys, TG_STR("b"), 0));
    assert_ok(tg_write_keys_add(keys, TG_STR("b"), 0));
    assert_int_equal(tg_write_keys_add(keys, TG_STR("b"), 1), TG_EXISTS);
    assert_int_equal(tg_write_keys_add(keys, TG_STR(""), 1), TG_INVALID);
    assert_int_equal(find(keys, "a"), 0);
    assert_int_equal(find(keys, "b"), 0);
    assert_int_equal(find(keys, "A"), -1);
    assert_int_equal(find(keys, ""), -1);
    tg_write_keys_free(&keys);
    assert_null(keys);
}

/* Keys may have colons in them; what stands before a password's colon is tried after the whole. */
static void colons(void **state)
{
    (void)state;
    struct tg_write_keys *keys;
    assert_ok(tg_write_keys_new(&keys, 2));
    assert_ok(tg_write_keys_add(keys, TG_STR("plain"), 0));
    assert_ok(tg_write_keys_add(keys, TG_STR("id:secret"), 1));
    assert_ok(tg_write_keys_add(keys, TG_STR("id"), 2));
    assert_int_equal(find(keys, "plain:password"), 0);
    assert_int_equal(find(keys, "plain:pass:word"), 0);
    assert_int_equal(find(keys, "id:secret"), 1);
    assert_int_equal(find(keys, "id:secret:password"), 1);
    assert_int_equal(find(keys, "id:other"), 2);
    assert_int_equal(find(keys, ":plain"), -1);
    assert_int_equal(find(keys, ":"), -1);
    tg_write_keys_free(&keys);
}

/* Hundreds of keys are found again while the table grows. */
static void many(void **state)
{
    (void)state;
    struct tg_write_keys *keys;
    char key[32];
    assert_ok(tg_write_keys_new(&keys, 1));
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%u", i);
        assert_ok(tg_write_keys_add(keys, tg_str_of(key), i));
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%u", i);
        assert_int_equal(find(keys, key), (int)i);
    }
    assert_int_equal(find(keys, "key-1000"), -1);
    tg_write_keys_free(&keys);
}

static int build(void *arg)
{
    (void)arg;
    struct tg_write_keys *keys;
    int rc = tg_write_keys_new(&keys, 1);
    char key[8] = "a";
    for (; !rc && key[0] < 'k'; key[0]++)
        rc = tg_write_keys_add(keys, tg_str_of(key), 0);
    tg_write_keys_free(&keys);
    return rc;
}

/* Refused memory is an ordinary result. */
static void torture(void **state)
{
    (void)state;
    tg_torture(build, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(owners), cmocka_unit_test(colons),
                                       cmocka_unit_test(many), cmocka_unit_test(torture)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
