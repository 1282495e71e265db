#include "spool/partition.h"

#include "base/mem.h"
#include "spool_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void do_nothing(struct tg_job *job)
{
    (void)job;
}

/* Tests here fork: the helper's thread has begun before that and rests, so that the child does not inherit a
 * lock (the allocator's, a sanitizer's) that this thread was holding. */
static int set_up(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    struct tg_job job = {.run = do_nothing};
    fixture_init(f, tg_io_system());
    tg_helper_give(f->helper, &job);
    tg_helper_drain(f->helper);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

/* Runs fn(f) in another process and returns what it returned. */
static int in_child(struct fixture *f, int (*fn)(struct fixture *f))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(f));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int open_in_child(struct fixture *f)
{
    struct tg_partition p;
    char pid[32];
    int rc = tg_partition_open(f->root, 3, &p, &f->err);
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getppid());
    return rc == TG_BUSY && strstr(f->err.msg, pid) ? 1 : rc == TG_OK ? 2 : 3;
}

/* One process at a time holds a partition, the other learns who; each opening raises the epoch. */
static void test_lock(void **state)
{
    struct fixture *f = *state;
    struct tg_partition p;
    struct stat st;
    assert_int_equal(tg_partition_open(f->root, 3, &p, &f->err), TG_OK);
    assert_int_equal(p.epoch, 1);
    assert_int_equal(stat(p.dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(in_child(f, open_in_child), 1);
    tg_partition_close(&p);
    assert_int_equal(in_child(f, open_in_child), 2);
    assert_int_equal(tg_partition_open(f->root, 3, &p, &f->err), TG_OK);
    assert_int_equal(p.epoch, 3);
    tg_partition_close(&p);
    tg_partition_close(&p);
}

/* Partitions are listed by number; other names are not partitions. */
static void test_list(void **state)
{
    struct fixture *f = *state;
    struct tg_partition p;
    uint32_t *numbers, order[] = {10, 2, 0};
    size_t n;
    char path[128];
    assert_int_equal(tg_partition_list(f->root, &numbers, &n, &f->err), TG_OK);
    assert_int_equal(n, 0);
    tg_free(numbers);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tg_partition_open(f->root, order[i], &p, &f->err), TG_OK);
        tg_partition_close(&p);
    }
    const char *others[] = {"p", "p01", "p1x", "q1", "p99999999999"};
    for (int i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->root, others[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    assert_int_equal(tg_partition_list(f->root, &numbers, &n, &f->err), TG_OK);
    assert_int_equal(n, 3);
    assert_true(numbers[0] == 0 && numbers[1] == 2 && numbers[2] == 10);
    tg_free(numbers);
    tg_mem_fail_after(1);
    assert_int_equal(tg_partition_list(f->root, &numbers, &n, &f->err), TG_NOMEM);
    tg_mem_fail_after(0);
    (void)snprintf(path, sizeof path, "%s/none", f->root);
    assert_int_equal(tg_partition_list(path, &numbers, &n, &f->err), TG_OK);
    assert_int_equal(n, 0);
}

/* A removed partition is gone with what was in it, but for quarantine, which is kept beside. */
static void test_remove(void **state)
{
    struct fixture *f = *state;
    struct tg_partition p;
    char path[256];
    assert_int_equal(tg_partition_open(f->root, 0, &p, &f->err), TG_OK);
    open_log(f);
    append_synced(f, 0, 3, 100);
    tg_log_close(&f->log);
    (void)snprintf(path, sizeof path, "%s/quarantine", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(tg_partition_remove(&p, &f->err), TG_OK);
    assert_int_equal(p.lock_fd, -1);
    assert_int_equal(access(f->dir, F_OK), -1);
    (void)snprintf(path, sizeof path, "%s/quarantine-p0-1", f->root);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(tg_partition_open(f->root, 0, &p, &f->err), TG_OK);
    assert_int_equal(p.epoch, 1);
    tg_partition_close(&p);
}

static int lock_in_child(struct fixture *f)
{
    int fd;
    int rc = tg_spool_lock(f->root, &fd, &f->err);
    return rc == TG_BUSY && strstr(f->err.msg, "another tidegate") ? 1 : rc == TG_OK ? 2 : 3;
}

static void write_format(struct fixture *f, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/format", f->root);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    (void)fputs(text, out);
    (void)fclose(out);
}

/* One daemon at a time holds the spool; a newer format, or a file that is none, is refused. */
static void test_spool_lock(void **state)
{
    struct fixture *f = *state;
    int fd;
    assert_int_equal(tg_spool_lock(f->root, &fd, &f->err), TG_OK);
    assert_int_equal(in_child(f, lock_in_child), 1);
    close(fd);
    assert_int_equal(in_child(f, lock_in_child), 2);
    write_format(f, "2\n");
    assert_int_equal(tg_spool_lock(f->root, &fd, &f->err), TG_BADVERSION);
    write_format(f, "hello\n");
    assert_int_equal(tg_spool_lock(f->root, &fd, &f->err), TG_CORRUPT);
    write_format(f, "1\n");
    assert_int_equal(tg_spool_lock(f->root, &fd, &f->err), TG_OK);
    close(fd);
}

/* Who took the lock lives as long as it runs, and not until somebody waits for it. */
static void test_holder(void **state)
{
    struct fixture *f = *state;
    int fd, holds[2];
    char byte = 0;
    siginfo_t info;
    assert_false(tg_spool_holder_lives(f->root));
    assert_int_equal(pipe2(holds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int rc = tg_spool_lock(f->root, &fd, &f->err);
        (void)close(holds[0]);
        (void)!write(holds[1], &byte, 1);
        while (rc == TG_OK)
            (void)pause();
        _exit(1);
    }
    assert_int_equal(read(holds[0], &byte, 1), 1);
    assert_true(tg_spool_holder_lives(f->root));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(tg_spool_holder_lives(f->root));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(tg_spool_holder_lives(f->root));
    (void)close(holds[0]);
    (void)close(holds[1]);
}

/* A folder that cannot be made is an error that names it. */
static void test_no_folder(void **state)
{
    struct fixture *f = *state;
    struct tg_partition p;
    char path[128];
    int fd;
    (void)snprintf(path, sizeof path, "%s/none/deeper", f->root);
    assert_int_equal(tg_partition_open(path, 0, &p, &f->err), TG_NOTFOUND);
    assert_non_null(strstr(f->err.msg, path));
    assert_int_equal(tg_spool_lock(path, &fd, &f->err), TG_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spool_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_folder, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("partition", tests, NULL, NULL);
}
