#include "spool/io.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct dir {
    char path[64], file[96];
    int fd;
};

static int set_up(void **state)
{
    struct dir *d = calloc(1, sizeof *d);
    (void)strcpy(d->path, "/tmp/tidegate-io-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    (void)snprintf(d->file, sizeof d->file, "%s/file", d->path);
    d->fd = tg_io_system()->open(tg_io_system(), d->file, O_RDWR | O_CREAT, 0600);
    assert_true(d->fd >= 0);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct dir *d = *state;
    assert_int_equal(tg_io_system()->close(tg_io_system(), d->fd), 0);
    (void)unlink(d->file);
    (void)rmdir(d->path);
    free(d);
    return 0;
}

/* What is written is read; reading stops at the end of the file; descriptors do not leak into children. */
static void test_round_trip(void **state)
{
    struct dir *d = *state;
    struct tg_io *io = tg_io_system();
    char buf[32];
    uint64_t n;
    assert_int_equal(tg_io_write_all(io, d->fd, "hello", 5, 3), 0);
    assert_int_equal(io->fdatasync(io, d->fd), 0);
    assert_int_equal(tg_io_read_full(io, d->fd, buf, sizeof buf, 0), 8);
    assert_memory_equal(buf, "\0\0\0hello", 8);
    assert_int_equal(io->size(io, d->fd, &n), 0);
    assert_int_equal(n, 8);
    assert_int_equal(io->ftruncate(io, d->fd, 4), 0);
    assert_int_equal(tg_io_read_full(io, d->fd, buf, sizeof buf, 0), 4);
    assert_int_equal(tg_io_read_full(io, d->fd, buf, sizeof buf, 100), 0);
    assert_true(fcntl(d->fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(io->free_bytes(io, d->path, &n), 0);
    assert_true(n > 0);
}

static void count_name(void *arg, const char *name)
{
    assert_string_equal(name, "file");
    ++*(int *)arg;
}

/* A folder's names without "." and ".."; a missing folder is an error. */
static void test_list(void **state)
{
    struct dir *d = *state;
    struct tg_io *io = tg_io_system();
    int n = 0;
    assert_int_equal(io->list(io, d->path, count_name, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(io->fsync_dir(io, d->path), 0);
    assert_int_equal(io->list(io, "/nowhere", count_name, &n), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(io->fsync_dir(io, "/nowhere"), -1);
    assert_int_equal(errno, ENOENT);
}

static ssize_t takes_nothing(struct tg_io *io, int fd, const void *buf, size_t n, off_t at)
{
    (void)io, (void)fd, (void)buf, (void)n, (void)at;
    return 0;
}

/* A device that takes no byte and gives no reason is an error, not an endless loop. */
static void test_no_progress(void **state)
{
    (void)state;
    struct tg_io io = {.pwrite = takes_nothing};
    assert_int_equal(tg_io_write_all(&io, 1, "x", 1, 0), -1);
    assert_int_equal(errno, EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test(test_no_progress),
    };
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
