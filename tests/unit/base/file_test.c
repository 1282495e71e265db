#include "base/file.h"

#include "base/mem.h"
#include "tg_test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/tg_file_XXXXXX";

static int set_up(void **state)
{
    (void)state;
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_text(const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int read_code(size_t *len, struct tg_err *err)
{
    char *text;
    int code = tg_file_read(path, &text, len, err);
    assert_true(code ? !text : text[*len] == 0);
    tg_free(text);
    return code;
}

/* All bytes, NUL among them; an empty file is an empty text. */
static void test_whole(void **state)
{
    (void)state;
    char *text;
    size_t len;
    struct tg_err err;
    write_text("a\0b", 3);
    assert_ok(tg_file_read(path, &text, &len, &err));
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a\0b", 4);
    tg_free(text);
    write_text("", 0);
    assert_ok(read_code(&len, &err));
    assert_int_equal(len, 0);
}

/* As large as it may be, and one byte more. */
static void test_ceiling(void **state)
{
    (void)state;
    size_t len;
    struct tg_err err;
    assert_int_equal(truncate(path, TG_FILE_MAX), 0);
    assert_ok(read_code(&len, &err));
    assert_int_equal(len, TG_FILE_MAX);
    assert_int_equal(truncate(path, TG_FILE_MAX + 1), 0);
    assert_int_equal(read_code(&len, &err), TG_TOOBIG);
    assert_non_null(strstr(err.msg, path));
    assert_non_null(strstr(err.msg, "larger than 16 MiB"));
}

/* What is not there, or no file: the error names it. */
static void test_no_file(void **state)
{
    (void)state;
    char *text;
    size_t len;
    struct tg_err err;
    assert_int_equal(tg_file_read("/tmp/no/such", &text, &len, &err), TG_NOTFOUND);
    assert_non_null(strstr(err.msg, "/tmp/no/such"));
    assert_true(tg_file_read("/tmp", &text, &len, &err) != TG_OK);
    assert_null(text);
}

/* Any allocation may fail. */
static void test_memory(void **state)
{
    (void)state;
    size_t len;
    struct tg_err err;
    int code = TG_NOMEM;
    assert_int_equal(truncate(path, 300000), 0);
    for (int i = 1; code; i++) {
        tg_mem_fail_after(i);
        code = read_code(&len, &err);
        tg_mem_fail_after(0);
        assert_true(code == TG_OK || code == TG_NOMEM);
        assert_true(i < 100);
    }
    assert_int_equal(len, 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
