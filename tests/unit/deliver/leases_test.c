#include "deliver/leases.h"

#include "base/clock.h"
#include "tg_test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOW = 1000, UNTIL = 2048, LATER = 4096 };

static uint64_t id_of(const char *key)
{
    return tg_lease_id(TG_STR("destination"), tg_str_of(key));
}

static bool take(struct tg_leases *l, const char *key, int64_t now, int64_t until)
{
    uint64_t id = id_of(key);
    return tg_leases_take(l, &id, 1, now, until);
}

static void give(struct tg_leases *l, const char *key, int64_t until)
{
    uint64_t id = id_of(key);
    tg_leases_give(l, &id, 1, until);
}

static int set_up(void **state)
{
    *state = tg_leases_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct tg_leases *l = *state;
    tg_leases_free(&l);
    return 0;
}

/* A key is one's until it is given back; other keys, and the same of another scope, are free. */
static void test_one_holder(void **state)
{
    struct tg_leases *l = *state;
    assert_true(take(l, "a", NOW, UNTIL));
    assert_false(take(l, "a", NOW, LATER));
    assert_true(take(l, "b", NOW, UNTIL));
    assert_int_not_equal(id_of("a"), tg_lease_id(TG_STR("another"), TG_STR("a")));
    give(l, "a", UNTIL);
    assert_true(take(l, "a", NOW, LATER));
}

/* What was not given back is free when its time has come; its first holder gives back nothing of the next. */
static void test_time(void **state)
{
    struct tg_leases *l = *state;
    assert_true(take(l, "a", NOW, UNTIL));
    assert_false(take(l, "a", UNTIL - 1, LATER));
    assert_true(take(l, "a", UNTIL, LATER));
    give(l, "a", UNTIL);
    assert_false(take(l, "a", UNTIL, LATER + 1));
    give(l, "a", LATER);
    assert_true(take(l, "a", UNTIL, LATER + 1));
}

/* All or none; a key that is named twice counts once. */
static void test_many(void **state)
{
    struct tg_leases *l = *state;
    uint64_t ids[] = {id_of("a"), id_of("b"), id_of("c"), id_of("b")};
    size_t n = tg_lease_ids_sort(ids, 4);
    assert_int_equal(n, 3);
    assert_true(take(l, "c", NOW, UNTIL));
    assert_false(tg_leases_take(l, ids, n, NOW, LATER));
    assert_true(take(l, "a", NOW, UNTIL));
    assert_true(take(l, "b", NOW, UNTIL));
    give(l, "a", UNTIL);
    give(l, "b", UNTIL);
    give(l, "c", UNTIL);
    assert_true(tg_leases_take(l, ids, n, NOW, LATER));
    assert_false(take(l, "b", NOW, UNTIL));
    tg_leases_give(l, ids, n, LATER);
    assert_true(take(l, "b", NOW, UNTIL));
}

/* More keys of one set than it has words: the last one waits, and comes in when one has gone. */
static void test_no_room(void **state)
{
    struct tg_leases *l = *state;
    for (uint64_t i = 0; i <= 8; i++) {
        uint64_t id = i << 16 | 7;
        assert_int_equal(tg_leases_take(l, &id, 1, NOW, UNTIL), i < 8);
    }
    uint64_t third = 3 << 16 | 7, last = 8 << 16 | 7;
    tg_leases_give(l, &third, 1, UNTIL);
    assert_true(tg_leases_take(l, &last, 1, NOW, UNTIL));
}

/* Processes that want the same two keys, named in either order: never do two have them. */
static void test_processes(void **state)
{
    enum { PROCESSES = 4, TIMES = 2000 };
    struct tg_leases *l = *state;
    atomic_int *inside =
        mmap(NULL, sizeof *inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(inside, MAP_FAILED);
    int64_t deadline = tg_mono_ms() + 240000;
    for (int p = 0; p < PROCESSES; p++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid != 0)
            continue;
        for (int done = 0; done < TIMES;) {
            uint64_t ids[] = {id_of(p % 2 ? "x" : "y"), id_of(p % 2 ? "y" : "x")};
            if (!tg_leases_take(l, ids, 2, NOW, UNTIL + p)) {
                if (tg_mono_ms() > deadline)
                    _exit(2);
                (void)sched_yield(); /* it is the other's turn */
                continue;
            }
            if (atomic_fetch_add(inside, 1) != 0)
                _exit(1);
            atomic_fetch_sub(inside, 1);
            tg_leases_give(l, ids, 2, UNTIL + p);
            done++;
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    (void)munmap(inside, sizeof *inside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_processes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
