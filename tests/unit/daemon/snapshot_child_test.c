/* The child that checks a configuration: what it hands back, and every way in which it can fail to. */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/snapshot_bytes.h"
#include "daemon/snapshot_child.h"
#include "failing_calls.h"
#include "tg_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { PATIENCE_MS = 60000 };

struct place {
    char dir[64], config[128];
};

static const char good[] =
    "return { sources = { { name = 'web', write_key = 'k' } }, spool = { path = 'here' }, workers = 3,\n"
    "  lua_path = '" TG_SOURCE_DIR "/lua', admin = 'off' }\n";

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->dir, "/tmp/tg_snapshot_XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->config, sizeof p->config, "%s/tidegate.lua", p->dir);
    tg_log_set_fd(-1);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    (void)unlink(p->config);
    (void)rmdir(p->dir);
    free(p);
    return 0;
}

static void write_config(const struct place *p, const char *text)
{
    FILE *f = fopen(p->config, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* A good configuration comes back as a snapshot that nobody can change any more. */
static void test_good(void **state)
{
    const struct place *p = *state;
    struct tg_buf problems = TG_BUF_INIT(65536);
    struct tg_err err = {0};
    struct tg_snapshot *s = NULL;
    int fd, before = open_files();
    write_config(p, good);
    assert_ok(tg_snapshot_in_child(p->config, 7, &fd, &problems, &err));
    assert_int_equal(problems.len, 0);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(errno, EPERM);
    assert_ok(tg_snapshot_read(fd, &s, &err));
    assert_int_equal(s->generation, 7);
    assert_int_equal(s->plain.workers, 3);
    assert_null(s->plain.admin);
    tg_snapshot_free(&s);
    (void)close(fd);
    tg_buf_fini(&problems);
    assert_int_equal(open_files(), before);
}

/* What is wrong is said, each on its line, and nothing is left open. */
static void test_bad(void **state)
{
    const struct place *p = *state;
    struct tg_buf problems = TG_BUF_INIT(65536);
    struct tg_err err = {0};
    int fd, before = open_files();
    write_config(p, "return { sources = {}, spool = { path = 7 }, nonsense = 1 }\n");
    assert_int_equal(tg_snapshot_in_child(p->config, 1, &fd, &problems, &err), TG_INVALID);
    assert_int_equal(fd, -1);
    const char *text = tg_buf_cstr(&problems);
    assert_non_null(strstr(text, "nonsense"));
    assert_non_null(strstr(text, "spool.path"));
    assert_string_equal(err.msg, "the configuration has errors");
    tg_buf_fini(&problems);
    assert_int_equal(open_files(), before);
}

/* Without a descriptor, a pipe or a process there is a reason, and nothing is left open. */
static void test_calls_that_fail(void **state)
{
    const struct place *p = *state;
    int *const calls[] = {&memfd_create_fails, &pipe2_fails, &fork_fails};
    int before = open_files();
    write_config(p, good);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct tg_snapshot_child child;
        struct tg_err err = {0};
        *calls[i] = 0;
        assert_int_not_equal(tg_snapshot_child_start(p->config, NULL, 1, &child, &err), TG_OK);
        assert_true(err.msg[0] != '\0');
        assert_int_equal(*calls[i], -1);
        assert_int_equal(open_files(), before);
    }
}

static void await_end(pid_t pid, int *status)
{
    const struct timespec pause = {0, 5000000};
    int64_t until = tg_mono_ms() + PATIENCE_MS;
    while (waitpid(pid, status, WNOHANG) != pid) {
        if (tg_mono_ms() > until)
            fail_msg("process %d does not end", (int)pid);
        (void)nanosleep(&pause, NULL);
    }
}

/* A child that is killed, by whomever, says nothing of the configuration: so does its end. */
static void test_killed(void **state)
{
    const struct place *p = *state;
    struct tg_snapshot_child child;
    struct tg_err err = {0};
    int status;
    assert_int_equal(mkfifo(p->config, 0600), 0); /* to open it takes a writer */
    assert_ok(tg_snapshot_child_start(p->config, NULL, 1, &child, &err));
    assert_int_equal(kill(child.pid, SIGKILL), 0);
    await_end(child.pid, &status);
    assert_int_equal(tg_snapshot_child_finish(&child, status, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "signal 9"));
    assert_int_equal(child.fd, -1);
    assert_ok(tg_snapshot_child_start(p->config, NULL, 1, &child, &err));
    assert_int_equal(kill(child.pid, SIGALRM), 0);
    await_end(child.pid, &status);
    assert_int_equal(tg_snapshot_child_finish(&child, status, &err), TG_SCRIPT);
    assert_non_null(strstr(err.msg, "did not end within"));
}

/* When the supervisor is killed the child ends too: it holds the spool's lock, and a check may take minutes.
 */
static void test_orphan(void **state)
{
    const struct place *p = *state;
    int pids[2], status;
    pid_t checker = 0;
    assert_int_equal(mkfifo(p->config, 0600), 0);
    assert_int_equal(pipe(pids), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become ours to wait for */
    pid_t supervisor = fork();
    assert_true(supervisor >= 0);
    if (supervisor == 0) {
        struct tg_snapshot_child child;
        if (tg_snapshot_child_start(p->config, NULL, 1, &child, NULL) == TG_OK)
            (void)!write(pids[1], &child.pid, sizeof child.pid);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(pids[0], &checker, sizeof checker), sizeof checker);
    (void)kill(supervisor, SIGKILL);
    await_end(supervisor, &status);
    await_end(checker, &status);
    assert_true(WIFSIGNALED(status) || WIFEXITED(status));
    (void)close(pids[0]);
    (void)close(pids[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_calls_that_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_orphan, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
