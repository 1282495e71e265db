#include "tg_test.h"

#include "script/cache.h"

#include <stdio.h>

static struct tg_cache_value number(double n)
{
    return (struct tg_cache_value){.kind = TG_CACHE_NUMBER, .number = n};
}

static struct tg_cache_value text(const char *z)
{
    return (struct tg_cache_value){.kind = TG_CACHE_TEXT, .text = tg_str_of(z)};
}

static int put(struct tg_cache *c, const char *key, struct tg_cache_value value, int64_t until)
{
    return tg_cache_set(c, tg_str_of(key), &value, until);
}

static bool has(struct tg_cache *c, const char *key, int64_t now)
{
    struct tg_cache_value value;
    return tg_cache_get(c, tg_str_of(key), now, &value);
}

/* What was put in comes back, of every kind; a second value replaces the first. */
static void keeps_and_replaces(void **state)
{
    (void)state;
    struct tg_cache *c;
    struct tg_cache_value v;
    assert_ok(tg_cache_new(10, 10000, &c));
    assert_ok(put(c, "n", number(1.5), INT64_MAX));
    assert_ok(put(c, "t", text("hello"), INT64_MAX));
    assert_ok(put(c, "", text(""), INT64_MAX));
    assert_ok(put(c, "b", (struct tg_cache_value){.kind = TG_CACHE_BOOLEAN, .boolean = true}, INT64_MAX));
    assert_true(tg_cache_get(c, TG_STR("n"), 0, &v));
    assert_true(v.kind == TG_CACHE_NUMBER && v.number == 1.5);
    assert_true(tg_cache_get(c, TG_STR("t"), 0, &v));
    assert_str(v.text, "hello");
    assert_true(tg_cache_get(c, TG_STR(""), 0, &v));
    assert_true(v.kind == TG_CACHE_TEXT && v.text.n == 0);
    assert_true(tg_cache_get(c, TG_STR("b"), 0, &v));
    assert_true(v.kind == TG_CACHE_BOOLEAN && v.boolean);
    assert_ok(put(c, "n", text("now text"), INT64_MAX));
    assert_true(tg_cache_get(c, TG_STR("n"), 0, &v));
    assert_str(v.text, "now text");
    assert_int_equal(tg_cache_count(c), 4);
    assert_false(tg_cache_get(c, TG_STR("none"), 0, &v));
    tg_cache_free(&c);
    assert_null(c);
    tg_cache_free(&c);
}

/* An entry is there until its end and not at it; then its room is free again. */
static void entries_end(void **state)
{
    (void)state;
    struct tg_cache *c;
    assert_ok(tg_cache_new(10, 10000, &c));
    assert_ok(put(c, "a", number(1), 100));
    assert_true(has(c, "a", 99));
    assert_false(has(c, "a", 100));
    assert_int_equal(tg_cache_count(c), 0);
    assert_int_equal(tg_cache_bytes(c), 0);
    assert_false(has(c, "a", 0));
    tg_cache_free(&c);
}

/* When it is full the least recently used one goes; reading and replacing count as use. */
static void least_recently_used_goes(void **state)
{
    (void)state;
    struct tg_cache *c;
    assert_ok(tg_cache_new(3, 10000, &c));
    assert_ok(put(c, "a", number(1), INT64_MAX));
    assert_ok(put(c, "b", number(2), INT64_MAX));
    assert_ok(put(c, "c", number(3), INT64_MAX));
    assert_true(has(c, "a", 0));
    assert_ok(put(c, "b", number(4), INT64_MAX));
    assert_ok(put(c, "d", number(5), INT64_MAX));
    assert_false(has(c, "c", 0));
    assert_true(has(c, "a", 0));
    assert_true(has(c, "b", 0));
    assert_true(has(c, "d", 0));
    assert_int_equal(tg_cache_count(c), 3);
    tg_cache_free(&c);
}

/* Bytes have a ceiling as well; what would not fit alone is refused, and an old value of that key does not
 * stay. */
static void bytes_are_bounded(void **state)
{
    (void)state;
    struct tg_cache *c;
    char big[2001], key[16];
    memset(big, 'x', 2000);
    big[2000] = '\0';
    assert_ok(tg_cache_new(1000, 2000, &c));
    assert_ok(put(c, "a", number(1), INT64_MAX));
    assert_int_equal(put(c, "a", text(big), INT64_MAX), TG_TOOBIG);
    assert_false(has(c, "a", 0));
    assert_int_equal(put(c, big, number(1), INT64_MAX), TG_TOOBIG);
    big[300] = '\0';
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_ok(put(c, key, text(big), INT64_MAX));
        assert_true(tg_cache_bytes(c) <= 2000);
        assert_true(has(c, key, 0));
    }
    assert_true(tg_cache_count(c) >= 2);
    tg_cache_free(&c);
    assert_ok(tg_cache_new(0, 2000, &c));
    assert_int_equal(put(c, "a", number(1), INT64_MAX), TG_TOOBIG);
    tg_cache_free(&c);
}

/* A value that was read may be put back under its own key. */
static void value_may_be_its_own(void **state)
{
    (void)state;
    struct tg_cache *c;
    struct tg_cache_value v;
    assert_ok(tg_cache_new(10, 10000, &c));
    assert_ok(put(c, "a", text("hello"), INT64_MAX));
    assert_true(tg_cache_get(c, TG_STR("a"), 0, &v));
    assert_ok(tg_cache_set(c, TG_STR("a"), &v, INT64_MAX));
    assert_true(tg_cache_get(c, TG_STR("a"), 0, &v));
    assert_str(v.text, "hello");
    tg_cache_free(&c);
}

/* Deleting takes one entry and no other; deleting what is not there is nothing. */
static void deletes(void **state)
{
    (void)state;
    struct tg_cache *c;
    assert_ok(tg_cache_new(10, 10000, &c));
    assert_ok(put(c, "a", number(1), INT64_MAX));
    assert_ok(put(c, "b", number(1), INT64_MAX));
    tg_cache_delete(c, TG_STR("a"));
    tg_cache_delete(c, TG_STR("a"));
    assert_false(has(c, "a", 0));
    assert_true(has(c, "b", 0));
    tg_cache_free(&c);
}

/* Against a plain model: an array of the keys that were used last, most recent first. */
static void agrees_with_a_model(void **state)
{
    (void)state;
    enum { ROOM = 40, KEYS = 97 };
    int model[ROOM], used = 0;
    double values[KEYS] = {0};
    struct tg_cache *c;
    assert_ok(tg_cache_new(ROOM, 1 << 20, &c));
    uint32_t seed = 12345;
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1103515245 + 12345;
        int k = (int)(seed >> 16) % KEYS, at = 0;
        char key[16];
        (void)snprintf(key, sizeof key, "key%d", k);
        while (at < used && model[at] != k)
            at++;
        bool there = at < used, set = (seed >> 8 & 3) == 0, drop = (seed >> 8 & 15) == 5;
        if (drop) {
            tg_cache_delete(c, tg_str_of(key));
        } else if (set) {
            values[k] = step;
            assert_ok(put(c, key, number(step), INT64_MAX));
        } else {
            struct tg_cache_value v;
            assert_int_equal(tg_cache_get(c, tg_str_of(key), 0, &v), there);
            if (there)
                assert_true(v.number == values[k]);
        }
        if (!there && (drop || !set))
            continue;
        if (!there && used < ROOM)
            used++;
        if (!there && at == used)
            at--;
        memmove(model + (drop ? at : 1), drop ? model + at + 1 : model,
                (size_t)(drop ? used - at - 1 : at) * sizeof *model);
        if (drop)
            used--;
        else
            model[0] = k;
        assert_int_equal(tg_cache_count(c), used);
    }
    tg_cache_free(&c);
}

static int fill(void *arg)
{
    (void)arg;
    struct tg_cache *c = NULL;
    int rc = tg_cache_new(100, 100000, &c);
    for (int i = 0; !rc && i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        rc = put(c, key, text("value"), INT64_MAX);
        assert_int_equal(has(c, key, 0), rc == TG_OK);
    }
    tg_cache_free(&c);
    return rc;
}

/* Out of memory is reported where an entry is lost by it; a table that cannot grow works on. */
static void torture(void **state)
{
    (void)state;
    for (long n = 1; n < 100; n++) {
        tg_mem_fail_after(n);
        int rc = fill(NULL);
        int refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_true(rc == TG_OK || (rc == TG_NOMEM && refused));
        if (!refused)
            return;
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_and_replaces),       cmocka_unit_test(entries_end),
        cmocka_unit_test(least_recently_used_goes), cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(value_may_be_its_own),     cmocka_unit_test(deletes),
        cmocka_unit_test(agrees_with_a_model),      cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
