#include "../tg_test.h"

#include "deliver/forgotten.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

enum { MINUTE = 60000, T = 1700000000 };

struct fixture {
    char dir[64];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_state *s;
    struct tg_forgotten f;
};

static int set_up(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    strcpy(x->dir, "/tmp/tg_forgotten_XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    x->base = event_base_new();
    assert_ok(tg_helper_new(x->base, &x->helper, NULL));
    assert_ok(tg_state_open(x->dir, x->helper, &x->s, NULL));
    tg_forgotten_init(&x->f, 2);
    *state = x;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *x = *state;
    char path[128];
    tg_mem_fail_after(0);
    tg_forgotten_fini(&x->f);
    tg_helper_drain(x->helper);
    tg_state_close(&x->s);
    tg_helper_free(&x->helper);
    event_base_free(x->base);
    snprintf(path, sizeof path, "%s/state.db", x->dir);
    unlink(path);
    assert_int_equal(rmdir(x->dir), 0);
    free(x);
    return 0;
}

static void forget(struct fixture *x, const char *user, int64_t at)
{
    struct tg_buf name = TG_BUF_INIT(1000);
    assert_ok(tg_forgotten_name(&name, tg_str_of(user), at));
    assert_ok(tg_state_put_fact_now(x->s, TG_FORGET_FACT, tg_buf_cstr(&name), TG_STR("1"), NULL));
    tg_buf_fini(&name);
}

static bool hides(struct fixture *x, const char *user, int64_t received_at)
{
    struct tg_event ev = {.type = TG_TRACK, .user_id = tg_str_of(user), .received_at = received_at};
    return tg_forgotten_hides(&x->f, &ev);
}

/* Hidden is what was received until then, of that user and of nobody with a similar id; a later order counts.
 */
static void test_hides(void **state)
{
    struct fixture *x = *state;
    assert_false(hides(x, "b", 1));
    forget(x, "b", T);
    forget(x, "b", T + 500);
    forget(x, "a b", T);
    forget(x, "bc", T);
    assert_ok(tg_forgotten_load(&x->f, x->s, T + 1000, NULL));
    assert_int_equal(x->f.n, 4);
    assert_true(hides(x, "b", T + 500));
    assert_false(hides(x, "b", T + 501));
    assert_true(hides(x, "a b", T));
    assert_false(hides(x, "a b", T + 1));
    assert_false(hides(x, "a", T));
    assert_false(hides(x, "bb", T));
    assert_false(hides(x, "", T));
    assert_false(hides(x, "z", T));
}

/* A request for deletion passes. */
static void test_deletion_passes(void **state)
{
    struct fixture *x = *state;
    forget(x, "b", T);
    assert_ok(tg_forgotten_load(&x->f, x->s, T, NULL));
    struct tg_event ev = {.type = TG_DELETE, .user_id = TG_STR("b"), .received_at = T};
    assert_false(tg_forgotten_hides(&x->f, &ev));
}

/* Facts that are no tombstones are stepped over; nobody cannot be forgotten. */
static void test_odd_facts(void **state)
{
    struct fixture *x = *state;
    struct tg_buf name = TG_BUF_INIT(1000);
    static const char *const names[] = {"", "x", "17", "17 ", " 17 b", "x 17"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_ok(tg_state_put_fact_now(x->s, TG_FORGET_FACT, names[i], TG_STR("1"), NULL));
    assert_ok(tg_forgotten_load(&x->f, x->s, T, NULL));
    assert_int_equal(x->f.n, 1); /* " 17 b" reads like one */
    assert_int_equal(tg_forgotten_name(&name, TG_STR(""), T), TG_INVALID);
}

/* A tombstone is done with when both partitions have let go of all that may be older, and not before a minute
 * is over in which the log may still get something older. */
static void test_clear(void **state)
{
    struct fixture *x = *state;
    forget(x, "b", T);
    assert_ok(tg_forgotten_load(&x->f, x->s, T + 1, NULL));
    tg_forgotten_look(&x->f, 0, 11, 10, T + 1);
    assert_int_equal(tg_forgotten_waits_for(&x->f, 0), 0);
    assert_true(tg_forgotten_clear(&x->f) < T);
    assert_false(tg_forgotten_is_stale(&x->f, T + MINUTE - 1));
    assert_true(tg_forgotten_is_stale(&x->f, T + MINUTE));
    assert_ok(tg_forgotten_load(&x->f, x->s, T + 2 * MINUTE, NULL));
    assert_false(tg_forgotten_is_stale(&x->f, T + 2 * MINUTE));
    tg_forgotten_look(&x->f, 0, 11, 10, T + 2 * MINUTE); /* empty */
    tg_forgotten_look(&x->f, 1, 5, 20, T + 2 * MINUTE);
    assert_int_equal(tg_forgotten_clear(&x->f), T - 1);
    assert_int_equal(tg_forgotten_waits_for(&x->f, 0), 0);
    assert_int_equal(tg_forgotten_waits_for(&x->f, 1), 20);
    tg_forgotten_look(&x->f, 1, 20, 300, T + 3 * MINUTE);
    assert_int_equal(tg_forgotten_clear(&x->f), T - 1);
    assert_ok(tg_forgotten_load(&x->f, x->s, T + 4 * MINUTE, NULL)); /* what is known stays */
    tg_forgotten_look(&x->f, 1, 21, 300, T + 4 * MINUTE);
    assert_int_equal(tg_forgotten_clear(&x->f), T + 3 * MINUTE);
    assert_int_equal(tg_forgotten_waits_for(&x->f, 1), 0);
    forget(x, "c", T + 5 * MINUTE);
    assert_ok(tg_forgotten_load(&x->f, x->s, T + 9 * MINUTE, NULL));
    assert_int_equal(tg_forgotten_clear(&x->f), T + 5 * MINUTE - 1);
}

static int load(void *arg)
{
    struct fixture *x = arg;
    return tg_forgotten_load(&x->f, x->s, T, NULL);
}

/* Without memory the list stays what it was. */
static void test_torture(void **state)
{
    struct fixture *x = *state;
    forget(x, "a", T);
    assert_ok(load(x));
    forget(x, "b", T);
    tg_mem_fail_after(1);
    assert_int_equal(load(x), TG_NOMEM);
    tg_mem_fail_after(0);
    assert_true(hides(x, "a", T));
    tg_torture(load, x);
    assert_true(hides(x, "b", T));
}

#define C(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        C(test_hides), C(test_deletion_passes), C(test_odd_facts), C(test_clear), C(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
