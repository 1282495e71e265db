#include "tg_test.h"

#include "base/metrics.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int set_up(void **state)
{
    *state = tg_metrics_new(4);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    struct tg_metrics *m = *state;
    tg_metrics_free(&m);
    return m ? -1 : 0;
}

/* One series is one cell, however often it is asked for. */
static void finds_again(void **state)
{
    struct tg_metrics *m = *state;
    tg_cell *a = tg_metric(m, TG_COUNTER, "a_total", "A.", "");
    tg_cell *b = tg_metric(m, TG_COUNTER, "a_total", "A.", "d=\"x\"");
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, tg_metric(m, TG_COUNTER, "a_total", "A.", ""));
    tg_count(a, 2);
    tg_count(a, 3);
    assert_int_equal(tg_metric_total(m, "a_total", ""), 5);
    assert_int_equal(tg_metric_total(m, "a_total", "d=\"x\""), 0);
    assert_int_equal(tg_metric_total(m, "unknown", ""), 0);
}

/* Counters and gauges are added over slots; of a greatest one the greatest counts. */
static void slots_are_merged(void **state)
{
    struct tg_metrics *m = *state;
    for (unsigned slot = 0; slot < 4; slot++) {
        tg_metrics_slot(m, slot);
        tg_count(tg_metric(m, TG_COUNTER, "c", "C.", ""), slot);
        tg_gauge(tg_metric(m, TG_GAUGE, "g", "G.", ""), 10);
        tg_gauge(tg_metric(m, TG_GAUGE_MAX, "x", "X.", ""), slot == 2 ? 99 : (int64_t)slot);
    }
    assert_int_equal(tg_metric_total(m, "c", ""), 6);
    assert_int_equal(tg_metric_total(m, "g", ""), 40);
    assert_int_equal(tg_metric_total(m, "x", ""), 99);
    tg_metrics_slot(m, 100); /* no such slot: the first */
    tg_count(tg_metric(m, TG_COUNTER, "c", "C.", ""), 1);
    assert_int_equal(tg_metric_total(m, "c", ""), 7);
}

/* What a worker counted stays when it dies, also in a series that only it made. */
static void totals_survive_a_worker(void **state)
{
    struct tg_metrics *m = *state;
    tg_cell *mine = tg_metric(m, TG_COUNTER, "c", "C.", "");
    tg_count(mine, 1);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        tg_metrics_slot(m, 1);
        tg_count(tg_metric(m, TG_COUNTER, "c", "C.", ""), 10);
        tg_count(tg_metric(m, TG_COUNTER, "child", "Made by the child.", ""), 7);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(tg_metric_total(m, "c", ""), 11);
    assert_int_equal(tg_metric_total(m, "child", ""), 7);
}

/* Processes that make the same series at the same time make one. */
static void concurrent_creation(void **state)
{
    struct tg_metrics *m = *state;
    pid_t pids[3];
    for (unsigned p = 0; p < 3; p++) {
        pids[p] = fork();
        assert_true(pids[p] >= 0);
        if (pids[p] == 0) {
            tg_metrics_slot(m, p + 1);
            for (int i = 0; i < 300; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "series_%d", i);
                tg_count(tg_metric(m, TG_COUNTER, name, "S.", ""), 1);
            }
            _exit(0);
        }
    }
    for (unsigned p = 0; p < 3; p++)
        assert_int_equal(waitpid(pids[p], NULL, 0), pids[p]);
    for (int i = 0; i < 300; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "series_%d", i);
        assert_int_equal(tg_metric_total(m, name, ""), 3);
    }
}

/* Label values are escaped as the text format wants. */
static void labels_are_escaped(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(256);
    assert_ok(tg_metric_label(&b, "destination", TG_STR("a\"b\\c\nd")));
    assert_ok(tg_metric_label(&b, "status", TG_STR("2xx")));
    assert_buf(&b, "destination=\"a\\\"b\\\\c\\nd\",status=\"2xx\"");
    tg_buf_fini(&b);
}

/* The text format: sorted, help and type once a name. */
static void renders(void **state)
{
    struct tg_metrics *m = *state;
    tg_count(tg_metric(m, TG_COUNTER, "tidegate_b_total", "The b.", "d=\"2\""), 2);
    tg_gauge(tg_metric(m, TG_GAUGE, "tidegate_z", "The z.", ""), -5);
    tg_count(tg_metric(m, TG_COUNTER, "tidegate_b_total", "The b.", "d=\"1\""), 1);
    struct tg_buf b = TG_BUF_INIT(4096);
    assert_ok(tg_metrics_render(m, &b));
    assert_buf(&b, "# HELP tidegate_metrics_overflow_total Series that found no place in the table.\n"
                   "# TYPE tidegate_metrics_overflow_total counter\n"
                   "tidegate_metrics_overflow_total 0\n"
                   "# HELP tidegate_b_total The b.\n"
                   "# TYPE tidegate_b_total counter\n"
                   "tidegate_b_total{d=\"1\"} 1\n"
                   "tidegate_b_total{d=\"2\"} 2\n"
                   "# HELP tidegate_z The z.\n"
                   "# TYPE tidegate_z gauge\n"
                   "tidegate_z -5\n");
    tg_buf_fini(&b);
}

/* A full table, a name or labels that are too long: counted in a spare cell, and said. */
static void overflow(void **state)
{
    struct tg_metrics *m = *state;
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = '\0';
    tg_count(tg_metric(m, TG_COUNTER, name, "H.", ""), 1);
    tg_count(tg_metric(m, TG_COUNTER, "n", "H.", name), 1);
    for (int i = 0; i < 33000; i++) {
        (void)snprintf(name, sizeof name, "s%d", i);
        tg_count(tg_metric(m, TG_COUNTER, name, "H.", ""), 1);
    }
    assert_int_equal(tg_metric_total(m, "s0", ""), 1);
    struct tg_buf b = TG_BUF_INIT(1 << 22);
    assert_ok(tg_metrics_render(m, &b));
    assert_non_null(strstr(tg_buf_cstr(&b), "tidegate_metrics_overflow_total 234\n")); /* 33002 less 32768 */
    tg_buf_fini(&b);
}

static int make_and_render(void *arg)
{
    (void)arg;
    struct tg_metrics *m = tg_metrics_new(2);
    if (!m)
        return TG_NOMEM;
    tg_count(tg_metric(m, TG_COUNTER, "a", "A.", ""), 1);
    struct tg_buf b = TG_BUF_INIT(4096);
    int rc = tg_metrics_render(m, &b);
    if (!rc)
        assert_non_null(strstr(tg_buf_cstr(&b), "\na 1\n"));
    tg_buf_fini(&b);
    tg_metrics_free(&m);
    return rc;
}

/* Out of memory is reported: an empty page would look as if there were nothing to count. */
static void torture(void **state)
{
    (void)state;
    tg_torture(make_and_render, NULL);
}

/* A lock whose owner died is free once its parent says so, also when another process has its pid by now. */
static void test_owner_pid_is_used_again(void **state)
{
    (void)state;
    struct tg_metrics *m = tg_metrics_new(1);
    assert_non_null(m);
    const struct head {
        atomic_int
            *lock; /* the first member of the private struct points to the shared one, which begins so */
    } *head = (const struct head *)m;
    atomic_store(head->lock, 1); /* a pid that is always there */
    tg_metrics_died(m, (int)getpid());
    assert_int_equal(atomic_load(head->lock), 1);
    tg_metrics_died(m, 1);
    alarm(60); /* the deadline of the next line */
    tg_count(tg_metric(m, TG_COUNTER, "a_total", "A.", ""), 1);
    alarm(0);
    assert_int_equal(tg_metric_total(m, "a_total", ""), 1);
    tg_metrics_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slots_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(totals_survive_a_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(concurrent_creation, set_up, tear_down),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test_setup_teardown(renders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(overflow, set_up, tear_down),
        cmocka_unit_test(test_owner_pid_is_used_again),
        cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
