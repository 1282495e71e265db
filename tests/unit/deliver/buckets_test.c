#include "../tg_test.h"

#include "base/clock.h"
#include "deliver/buckets.h"
#include "deliver/rate.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_state *s;
    struct tg_shared *shared;
    struct tg_buckets b;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg_buckets_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->base = event_base_new();
    f->shared = tg_shared_new();
    assert_non_null(f->shared);
    assert_ok(tg_helper_new(f->base, &f->helper, NULL));
    assert_ok(tg_state_open(f->dir, f->helper, &f->s, NULL));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[128];
    tg_buckets_fini(&f->b);
    tg_helper_drain(f->helper);
    tg_state_close(&f->s);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    tg_shared_free(&f->shared);
    snprintf(path, sizeof path, "%s/state.db", f->dir);
    unlink(path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static int count(void *arg, const char *name, struct tg_str value)
{
    (void)value;
    assert_null(strstr(name, "account"));
    ++*(int *)arg;
    return 0;
}

static int noted(struct fixture *f)
{
    int n = 0;
    tg_helper_drain(f->helper);
    assert_ok(tg_state_facts_each(f->s, "rate", count, &n, NULL));
    return n;
}

/* As after a restart: nothing but the file is left. */
static void restart(struct fixture *f)
{
    tg_helper_drain(f->helper);
    tg_buckets_fini(&f->b);
    tg_shared_free(&f->shared);
    f->shared = tg_shared_new();
    assert_non_null(f->shared);
    assert_ok(tg_buckets_recall(&f->b, f->s, NULL));
}

/* What takes an hour to fill is as empty after a restart; what is full in a second is not noted at all. */
static void test_restart(void **state)
{
    struct fixture *f = *state;
    tg_shared_cell *hourly = tg_buckets_find(&f->b, f->shared, TG_STR("calls account-7"));
    tg_shared_cell *quick = tg_buckets_find(&f->b, f->shared, TG_STR("quick"));
    for (int i = 0; i < 10; i++)
        assert_int_equal(tg_rate_take(hourly, 10.0 / 3600, 10, tg_mono_us()), 0);
    assert_int_equal(tg_rate_take(quick, 10, 10, tg_mono_us()), 0);
    assert_ptr_equal(tg_buckets_find(&f->b, f->shared, TG_STR("calls account-7")), hourly);
    tg_buckets_save(&f->b, f->s);
    assert_int_equal(noted(f), 1);
    restart(f);
    tg_buckets_save(&f->b, f->s);
    assert_int_equal(noted(f), 1);
    hourly = tg_buckets_find(&f->b, f->shared, TG_STR("calls account-7"));
    int64_t wait = tg_rate_take(hourly, 10.0 / 3600, 10, tg_mono_us());
    assert_in_range(wait, 300 * 1000000LL, 361 * 1000000LL);
}

/* One that is full again is noted no more; a worker's own take is not undone by what was noted before it. */
static void test_full_again(void **state)
{
    struct fixture *f = *state;
    tg_shared_cell *cell = tg_buckets_find(&f->b, f->shared, TG_STR("a"));
    atomic_store(cell, tg_mono_us() + 60 * 1000000LL);
    tg_buckets_save(&f->b, f->s);
    assert_int_equal(noted(f), 1);
    restart(f);
    cell = tg_shared_cell_of(f->shared, "rate", TG_STR("a"));
    atomic_store(cell, tg_mono_us() - 1);
    int64_t before = atomic_load(cell);
    assert_ptr_equal(tg_buckets_find(&f->b, f->shared, TG_STR("a")), cell);
    assert_int_equal(atomic_load(cell), before);
    tg_buckets_save(&f->b, f->s);
    assert_int_equal(noted(f), 0);
}

/* What is not ours in the file is left alone. */
static void test_strange_facts(void **state)
{
    struct fixture *f = *state;
    assert_ok(tg_state_put_fact_now(f->s, "rate", "xyz", TG_STR("1"), NULL));
    assert_ok(tg_state_put_fact_now(f->s, "rate", "12", TG_STR("-5"), NULL));
    assert_ok(
        tg_state_put_fact_now(f->s, "rate", "13", TG_STR("99999999999999999999999999999999999999"), NULL));
    assert_ok(tg_buckets_recall(&f->b, f->s, NULL));
    assert_int_equal(f->b.n, 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_restart), T(test_full_again), T(test_strange_facts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
