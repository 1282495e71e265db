#include "../tg_test.h"

#include "daemon/hang.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* What does not change is silent for as long as ticks say; a change ends it. */
static void test_silence(void **state)
{
    (void)state;
    struct tg_hang h = {0};
    assert_int_equal(tg_hang_silence(&h, 7, 50), 0);
    assert_int_equal(tg_hang_silence(&h, 7, 50), 50);
    assert_int_equal(tg_hang_silence(&h, 7, 70), 120);
    assert_int_equal(tg_hang_silence(&h, 8, 50), 0);
    assert_int_equal(tg_hang_silence(&h, 8, 50), 50);
}

/* A tick that comes an hour late counts as one that is a little late; the first one, and a clock that stands,
 * as nothing. */
static void test_elapsed(void **state)
{
    (void)state;
    int64_t last = 0;
    assert_int_equal(tg_hang_elapsed(&last, 5000), 0);
    assert_int_equal(tg_hang_elapsed(&last, 5050), 50);
    assert_int_equal(tg_hang_elapsed(&last, 5050), 0);
    assert_int_equal(tg_hang_elapsed(&last, 3605050), 100);
    assert_int_equal(tg_hang_elapsed(&last, 3605060), 10);
}

/* A debugger's process is known as such, one that is gone is not. */
static void test_traced(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0); /* -1 would be everybody, for kill */
    if (pid == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    bool may_trace = WIFSTOPPED(status) && ptrace(PTRACE_CONT, pid, NULL, SIGSTOP) == 0;
    if (may_trace)
        assert_true(tg_hang_is_traced(pid));
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status) && !WIFEXITED(status))
        continue;
    assert_false(tg_hang_is_traced(pid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_silence), cmocka_unit_test(test_elapsed),
                                       cmocka_unit_test(test_traced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
