#include "tg_test.h"

#include "base/helper.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { JOBS = 100 };

struct job {
    struct tg_job job;
    struct fixture *f;
    int number;
    int again; /* how often `done` gives it again */
};

struct fixture {
    struct event_base *base;
    struct tg_helper *helper;
    pthread_t loop;
    struct job jobs[JOBS];
    atomic_int ran;  /* by the helper thread */
    int done;        /* on the loop's thread */
    bool order_kept; /* both ran and were done in the order given */
    bool threads_kept;
};

static void run(struct tg_job *job)
{
    struct job *j = (struct job *)job;
    if (atomic_fetch_add(&j->f->ran, 1) % JOBS != j->number)
        j->f->order_kept = false;
    if (pthread_equal(pthread_self(), j->f->loop))
        j->f->threads_kept = false;
}

static void done(struct tg_job *job)
{
    struct job *j = (struct job *)job;
    struct fixture *f = j->f;
    if (f->done++ % JOBS != j->number)
        f->order_kept = false;
    if (!pthread_equal(pthread_self(), f->loop))
        f->threads_kept = false;
    if (j->again-- > 0)
        tg_helper_give(f->helper, job);
    else if (tg_helper_pending(f->helper) == 0)
        event_base_loopbreak(f->base);
}

static int set_up(void **state)
{
    struct fixture *f = tg_calloc(1, sizeof *f);
    if (!f)
        return -1;
    f->base = event_base_new();
    f->loop = pthread_self();
    f->order_kept = f->threads_kept = true;
    for (int i = 0; i < JOBS; i++)
        f->jobs[i] = (struct job){.job = {.run = run, .done = done}, .f = f, .number = i};
    *state = f;
    return tg_helper_new(f->base, &f->helper, NULL);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tg_helper_free(&f->helper);
    event_base_free(f->base);
    tg_free(f);
    return 0;
}

static void give_all(struct fixture *f, int again)
{
    for (int i = 0; i < JOBS; i++) {
        f->jobs[i].again = again;
        tg_helper_give(f->helper, &f->jobs[i].job);
    }
}

static void assert_done(struct fixture *f, int count)
{
    assert_int_equal(atomic_load(&f->ran), count);
    assert_int_equal(f->done, count);
    assert_true(f->order_kept);
    assert_true(f->threads_kept);
    assert_int_equal(tg_helper_pending(f->helper), 0);
}

/* Jobs run on the helper's thread in the order given; the loop hears of each in that order. */
static void loop_hears_in_order(void **state)
{
    struct fixture *f = *state;
    give_all(f, 0);
    assert_true(tg_helper_pending(f->helper) == JOBS);
    struct timeval deadline = {30, 0};
    event_base_loopexit(f->base, &deadline);
    event_base_dispatch(f->base);
    assert_done(f, JOBS);
}

/* `done` may give its job again. */
static void done_may_give_again(void **state)
{
    struct fixture *f = *state;
    give_all(f, 2);
    struct timeval deadline = {30, 0};
    event_base_loopexit(f->base, &deadline);
    event_base_dispatch(f->base);
    assert_done(f, 3 * JOBS);
}

/* A drain needs no loop and ends when everything is done, jobs that were given meanwhile too. */
static void drain_finishes_all(void **state)
{
    struct fixture *f = *state;
    tg_helper_drain(f->helper);
    give_all(f, 1);
    tg_helper_drain(f->helper);
    assert_done(f, 2 * JOBS);
    /* The wake-up that is left over finds nothing. */
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_done(f, 2 * JOBS);
}

/* Freeing finishes what was given. */
static void free_finishes_all(void **state)
{
    struct fixture *f = *state;
    give_all(f, 0);
    tg_helper_free(&f->helper);
    assert_null(f->helper);
    assert_int_equal(f->done, JOBS);
    tg_helper_free(&f->helper);
}

/* A job without `done` is just run. */
static void done_may_be_null(void **state)
{
    struct fixture *f = *state;
    f->jobs[0].job.done = NULL;
    tg_helper_give(f->helper, &f->jobs[0].job);
    tg_helper_drain(f->helper);
    assert_int_equal(atomic_load(&f->ran), 1);
    assert_int_equal(f->done, 0);
}

static int make(void *arg)
{
    struct tg_helper *h = NULL;
    int rc = tg_helper_new(arg, &h, NULL);
    if (rc)
        assert_null(h);
    tg_helper_free(&h);
    return rc;
}

/* Out of memory is reported, and nothing is left behind. */
static void torture(void **state)
{
    struct fixture *f = *state;
    tg_torture(make, f->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loop_hears_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(done_may_give_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drain_finishes_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(free_finishes_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(done_may_be_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(torture, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
