#include "deliver/rate.h"

#include "deliver/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A full bucket gives its burst at once, then one token each interval. */
static void burst_then_steady(void **state)
{
    (void)state;
    _Atomic int64_t bucket = 0;
    int64_t now = 1000000000;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tg_rate_take(&bucket, 10, 5, now), 0);
    int64_t wait = tg_rate_take(&bucket, 10, 5, now);
    assert_int_equal(wait, 100000);
    assert_int_equal(tg_rate_wait(&bucket, 10, 5, now), 100000);
    assert_true(tg_rate_take(&bucket, 10, 5, now + wait - 1) > 0);
    assert_int_equal(tg_rate_take(&bucket, 10, 5, now + wait), 0);
    assert_true(tg_rate_take(&bucket, 10, 5, now + wait) > 0);
}

/* Over a long time no more goes out than rate times time plus burst, and a pause refills no more than the
 * burst. */
static void holds_over_time(void **state)
{
    (void)state;
    _Atomic int64_t bucket = 0;
    int taken = 0;
    for (int64_t now = 0; now < 10 * 1000000; now += 1000)
        taken += tg_rate_take(&bucket, 50, 10, now + 1) == 0;
    assert_in_range(taken, 500, 510);
    taken = 0;
    for (int i = 0; i < 100; i++)
        taken += tg_rate_take(&bucket, 50, 10, 3600 * 1000000LL) == 0;
    assert_int_equal(taken, 10);
}

/* A time that cannot be of this rate (the clock was set over a restart, or the rate was raised) is an empty
 * bucket and no more: it fills from then on. */
static void later_than_possible(void **state)
{
    (void)state;
    int64_t now = 1000000000;
    _Atomic int64_t bucket = now + 7200 * 1000000LL;
    assert_int_equal(tg_rate_wait(&bucket, 10, 5, now), 100000);
    assert_int_equal(tg_rate_take(&bucket, 10, 5, now), 100000);
    assert_int_equal(tg_rate_take(&bucket, 10, 5, now + 99999), 1);
    assert_int_equal(tg_rate_take(&bucket, 10, 5, now + 100000), 0);
    atomic_store(&bucket, now + 7200 * 1000000LL);
    assert_true(tg_rate_take(&bucket, 10, 1, now) <= 100000);
}

/* Slow rates count in hours; no rate is no limit; a burst below one is one. */
static void edges(void **state)
{
    (void)state;
    _Atomic int64_t bucket = 0;
    assert_int_equal(tg_rate_take(&bucket, 1.0 / 3600, 1, 5), 0);
    assert_in_range(tg_rate_take(&bucket, 1.0 / 3600, 1, 5), 3599000000LL, 3601000000LL);
    assert_int_equal(tg_rate_take(&bucket, 0, 1, 5), 0);
    assert_int_equal(tg_rate_wait(&bucket, 0, 1, 5), 0);
    atomic_store(&bucket, 0);
    assert_int_equal(tg_rate_take(&bucket, 10, 0, 5), 0);
    assert_true(tg_rate_take(&bucket, 10, 0, 5) > 0);
}

/* Processes that share a bucket share its tokens. */
static void shared_by_processes(void **state)
{
    (void)state;
    struct tg_shared *s = tg_shared_new();
    assert_non_null(s);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int child = 0; child < 2; child++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char taken = 0;
            tg_shared_cell *cell = tg_shared_cell_of(s, "rate", tg_str_of("account"));
            for (int i = 0; i < 100; i++)
                taken = (char)(taken + (tg_rate_take(cell, 1, 20, 1000000000) == 0));
            _exit(write(ends[1], &taken, 1) == 1 ? 0 : 1);
        }
    }
    char a, b;
    assert_int_equal(read(ends[0], &a, 1), 1);
    assert_int_equal(read(ends[0], &b, 1), 1);
    assert_int_equal(a + b, 20);
    while (wait(NULL) > 0)
        ;
    close(ends[0]);
    close(ends[1]);
    tg_shared_free(&s);
    assert_null(s);
}

/* Kind and name together choose the cell; a full table says so instead of giving a stranger's. */
static void cells_are_apart(void **state)
{
    (void)state;
    struct tg_shared *s = tg_shared_new();
    tg_shared_cell *a = tg_shared_cell_of(s, "parked", tg_str_of("one")),
                   *b = tg_shared_cell_of(s, "held", tg_str_of("one")),
                   *c = tg_shared_cell_of(s, "parked", tg_str_of("two"));
    assert_true(a && b && c && a != b && a != c && b != c);
    assert_ptr_equal(tg_shared_cell_of(s, "parked", tg_str_of("one")), a);
    assert_int_equal(atomic_load(a), 0);
    char name[32];
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        refused += tg_shared_cell_of(s, "rate", tg_str_of(name)) == NULL;
    }
    assert_true(refused > 0);
    assert_ptr_equal(tg_shared_cell_of(s, "parked", tg_str_of("one")), a);
    tg_shared_free(&s);
}

/* What was taken before the process ended is taken after it; what has passed, a damaged file and one of
 * another start of the machine count nothing. */
static void outlives_the_process(void **state)
{
    (void)state;
    char path[] = "/tmp/tidegate-rates-XXXXXX";
    int fd = mkstemp(path);
    struct tg_err err;
    const struct tg_str names[] = {TG_STR("later"), TG_STR("past")};
    for (int damaged = 0; damaged < 2; damaged++) {
        struct tg_shared *s = tg_shared_open(path, 100, &err);
        assert_non_null(s);
        for (int i = 0; i < 2; i++)
            atomic_store(tg_shared_cell_of(s, "rate", names[i]), i ? 500 : 900);
        tg_shared_free(&s);
        if (damaged)
            assert_int_equal(pwrite(fd, "another boot", 12, 24), 12);
        s = tg_shared_open(path, 500, &err);
        assert_non_null(s);
        assert_int_equal(atomic_load(tg_shared_cell_of(s, "rate", names[0])), damaged ? 0 : 900);
        assert_int_equal(atomic_load(tg_shared_cell_of(s, "rate", names[1])), 0);
        tg_shared_free(&s);
    }
    assert_null(tg_shared_open("/nowhere/rates", 1, &err));
    assert_non_null(strstr(err.msg, "/nowhere/rates"));
    assert_null(tg_shared_open("/dev/full", 1, &err));
    close(fd);
    unlink(path);
}

/* Names that are used no more make room: the table of a file is never full of them. */
static void a_file_does_not_fill(void **state)
{
    (void)state;
    char path[] = "/tmp/tidegate-rates-XXXXXX", name[32];
    struct tg_err err;
    close(mkstemp(path));
    for (int round = 0; round < 3; round++) {
        struct tg_shared *s = tg_shared_open(path, round * 1000, &err);
        assert_non_null(s);
        for (int i = 0; i < 4000; i++) {
            snprintf(name, sizeof name, "%d-%d", round, i);
            tg_shared_cell *cell = tg_shared_cell_of(s, "rate", tg_str_of(name));
            assert_non_null(cell);
            atomic_store(cell, round * 1000 + 1);
        }
        tg_shared_free(&s);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_than_possible),  cmocka_unit_test(burst_then_steady),
        cmocka_unit_test(holds_over_time),      cmocka_unit_test(edges),
        cmocka_unit_test(shared_by_processes),  cmocka_unit_test(cells_are_apart),
        cmocka_unit_test(outlives_the_process), cmocka_unit_test(a_file_does_not_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
