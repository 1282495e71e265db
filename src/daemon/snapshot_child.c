#include "daemon/snapshot_child.h"

#include "base/log.h"
#include "daemon/fixture_gate.h"
#include "daemon/snapshot_build.h"
#include "daemon/snapshot_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_REPORT = 1024 * 1024, CHECK_SECONDS = 120 };

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return TG_IO;
        p += done;
        n -= (size_t)done;
    }
    return TG_OK;
}

/* Exit status: 0 and a complete file, or 1 and the problems on the report pipe. */
static int child_main(const char *config_path, const struct tg_snapshot *in_force, uint64_t generation,
                      int fd, int report_fd)
{
    struct tg_problems problems;
    struct tg_buf bytes = TG_BUF_INIT(TG_SNAPSHOT_MAX), report = TG_BUF_INIT(MAX_REPORT);
    tg_problems_init(&problems);
    tg_log_set_process("check"); /* lines of scripts that are loaded here are not the relay's */
    (void)alarm(
        CHECK_SECONDS); /* a script that never ends, in C where nothing stops it, may not hold this up */
    struct tg_snapshot *s = tg_snapshot_build(config_path, generation, NULL, &problems);
    if (s && in_force)
        (void)tg_fixture_gate(s, in_force, &problems);
    bool good = s && !tg_problems_any(&problems);
    int rc = good ? tg_snapshot_write(s, &bytes) : TG_INVALID;
    if (good && (rc || write_all(fd, bytes.data, bytes.len)))
        tg_problem_add(&problems, NULL, NULL, "snapshot: %s", tg_code_text(rc ? rc : TG_IO));
    if (tg_problems_any(&problems) && tg_problems_print(&problems, &report) == TG_OK)
        (void)write_all(report_fd, report.data, report.len);
    int status = tg_problems_any(&problems) ? 1 : 0;
    tg_problems_fini(&problems);
    tg_snapshot_free(&s);
    tg_buf_fini(&bytes);
    tg_buf_fini(&report);
    return status;
}

int tg_snapshot_child_start(const char *config_path, const struct tg_snapshot *in_force, uint64_t generation,
                            struct tg_snapshot_child *child, struct tg_err *err)
{
    int report[2], rc;
    child->fd = memfd_create("tidegate-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (child->fd < 0)
        return tg_fail_errno(err, errno, "snapshot");
    if (pipe2(report, O_CLOEXEC) != 0) {
        rc = tg_fail_errno(err, errno, "snapshot");
        goto close_fd;
    }
    pid_t parent = getpid();
    child->pid = fork();
    if (child->pid < 0) {
        rc = tg_fail_errno(err, errno, "cannot start the process that checks the configuration");
        (void)close(report[0]);
        (void)close(report[1]);
        goto close_fd;
    }
    if (child->pid == 0) {
        (void)close(report[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it has the spool's lock too, which a successor wants */
        if (getppid() != parent)
            _exit(1);
        _exit(child_main(config_path, in_force, generation, child->fd, report[1]));
    }
    (void)close(report[1]);
    child->report_fd = report[0];
    return TG_OK;

close_fd:
    (void)close(child->fd);
    child->fd = -1;
    return rc;
}

int tg_snapshot_child_finish(struct tg_snapshot_child *child, int exit_status, struct tg_err *err)
{
    (void)close(child->report_fd);
    child->report_fd = -1;
    int rc = TG_OK;
    if (WIFSIGNALED(exit_status) && WTERMSIG(exit_status) == SIGALRM)
        rc = tg_fail(err, TG_SCRIPT, "the check of configuration and scripts did not end within %d s",
                     CHECK_SECONDS);
    else if (!WIFEXITED(exit_status))
        rc = tg_fail(err, TG_SCRIPT, "the process that checks the configuration was ended by signal %d",
                     WTERMSIG(exit_status));
    else if (WEXITSTATUS(exit_status) != 0)
        rc = tg_fail(err, TG_INVALID, "the configuration has errors");
    else if (fcntl(child->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        rc = tg_fail_errno(err, errno, "snapshot: cannot be sealed");
    if (rc) {
        (void)close(child->fd);
        child->fd = -1;
    }
    return rc;
}

int tg_snapshot_in_child(const char *config_path, uint64_t generation, int *fd, struct tg_buf *problems_text,
                         struct tg_err *err)
{
    struct tg_snapshot_child child;
    *fd = -1;
    int rc = tg_snapshot_child_start(config_path, NULL, generation, &child, err);
    if (rc)
        return rc;
    for (;;) {
        ssize_t n = tg_buf_reserve(problems_text, 4096)
                        ? 0
                        : read(child.report_fd, problems_text->data + problems_text->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        problems_text->len += (size_t)n;
    }
    int status = 0;
    while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    rc = tg_snapshot_child_finish(&child, status, err);
    *fd = child.fd;
    return rc;
}
