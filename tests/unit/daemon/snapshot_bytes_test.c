/* A snapshot as bytes: the same comes back, and of anything else nothing. */
#include "daemon/snapshot_bytes.h"
#include "tg_test.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char *const addresses[] = {(char *)"127.0.0.1:8080", (char *)"[::1]:1"};
static char *const destinations[] = {(char *)"hook"};
static struct tg_config_input inputs[] = {
    {TG_INPUT_ENV, (char *)"KEY", (char *)"k\0k", 3},
    {TG_INPUT_ENV, (char *)"UNSET", NULL, 0},
    {TG_INPUT_FILE, (char *)"f", (char *)"", 0},
};
static struct tg_script_file files[] = {{"init.lua", "/s/init.lua", {"return {}", 9}},
                                        {"empty.lua", "/s/empty.lua", {"", 0}}};
static struct tg_script_source scripts[] = {{.name = "webhook", .files = files, .n_files = 2}};

static struct tg_snapshot sample(void)
{
    return (struct tg_snapshot){
        .generation = 7,
        .plain = {.listen = (char **)addresses,
                  .n_listen = 2,
                  .workers = 3,
                  .spool_path = (char *)"./spool",
                  .stop_ms = 8000,
                  .hang_ms = 15000,
                  .dedup_entries = 1000,
                  .log_level = (char *)"info",
                  .log_json = true,
                  .destinations = (char **)destinations,
                  .n_destinations = 1},
        .text =
            {.path = (char *)"a.lua", .text = (char *)"return 1", .len = 8, .inputs = inputs, .n_inputs = 3},
        .library = {.name = "lua", .files = files, .n_files = 1},
        .scripts = scripts,
        .n_scripts = 1,
    };
}

static struct tg_buf written(void)
{
    struct tg_snapshot s = sample();
    struct tg_buf out = TG_BUF_INIT(65536);
    assert_ok(tg_snapshot_write(&s, &out));
    return out;
}

/* Everything comes back, also what is absent, empty or has a NUL in it. */
static void test_back(void **state)
{
    struct tg_buf bytes = written(), again = TG_BUF_INIT(65536);
    struct tg_snapshot *s = NULL;
    struct tg_err err = {0};
    char mine[TG_SNAPSHOT_DIGEST + 1], its[TG_SNAPSHOT_DIGEST + 1];
    struct tg_snapshot origin = sample();
    (void)state;
    assert_ok(tg_snapshot_parse(tg_buf_str(&bytes), &s, &err));
    assert_int_equal(s->generation, 7);
    assert_int_equal(s->plain.n_listen, 2);
    assert_string_equal(s->plain.listen[1], "[::1]:1");
    assert_null(s->plain.admin);
    assert_int_equal(s->plain.hang_ms, 15000);
    assert_true(s->plain.log_json);
    assert_true(s->text.sealed);
    assert_int_equal(s->text.inputs[0].len, 3);
    assert_memory_equal(s->text.inputs[0].value, "k\0k", 3);
    assert_null(s->text.inputs[1].value);
    assert_string_equal(s->text.inputs[2].value, "");
    assert_ptr_equal(tg_snapshot_script(s, "webhook"), &s->scripts[0]);
    assert_null(tg_snapshot_script(s, "another"));
    assert_ok(tg_snapshot_write(s, &again));
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    assert_ok(tg_snapshot_digest(&origin, mine));
    assert_ok(tg_snapshot_digest(s, its));
    assert_string_equal(mine, its);
    tg_snapshot_free(&s);
    tg_buf_fini(&bytes);
    tg_buf_fini(&again);
}

/* Cut anywhere, with more behind it, or with any byte changed: an error, or a snapshot; never more than that.
 */
static void test_torn(void **state)
{
    struct tg_buf bytes = written();
    struct tg_err err;
    (void)state;
    for (size_t n = 0; n < bytes.len; n++) {
        struct tg_snapshot *s = NULL;
        char *part = tg_memdup(bytes.data, n); /* of its own size, so that asan sees a read behind it */
        assert_int_equal(tg_snapshot_parse(tg_str_n(part, n), &s, &err), TG_CORRUPT);
        assert_null(s);
        tg_free(part);
    }
    assert_ok(tg_buf_addc(&bytes, 'x'));
    struct tg_snapshot *more = NULL;
    assert_int_equal(tg_snapshot_parse(tg_buf_str(&bytes), &more, &err), TG_CORRUPT);
    bytes.len--;
    static const char odd[] = {'\0', '-', ':', ';', '9', '\xff'};
    for (size_t i = 0; i < bytes.len; i++)
        for (size_t k = 0; k < sizeof odd; k++) {
            struct tg_snapshot *s = NULL;
            char was = bytes.data[i];
            bytes.data[i] = odd[k];
            if (tg_snapshot_parse(tg_buf_str(&bytes), &s, &err) == TG_OK)
                tg_snapshot_free(&s);
            assert_null(s);
            bytes.data[i] = was;
        }
    tg_buf_fini(&bytes);
}

/* Lengths and counts that nothing can hold. */
static void test_huge(void **state)
{
    static const char *const texts[] = {
        "tidegate snapshot 2\n7;99999999;",
        "tidegate snapshot 2\n7;1;18446744073709551615:x",
        "tidegate snapshot 2\n7;1;99999999999999999999999999:x",
        "tidegate snapshot 1\n7;0;",
        "",
    };
    struct tg_err err;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tg_snapshot *s = NULL;
        assert_int_equal(tg_snapshot_parse(tg_str_of(texts[i]), &s, &err), TG_CORRUPT);
        assert_null(s);
    }
}

/* Files that hold no snapshot. */
static void test_files(void **state)
{
    struct tg_snapshot *s = NULL;
    struct tg_err err;
    int fd = memfd_create("test", MFD_CLOEXEC);
    (void)state;
    assert_int_equal(tg_snapshot_read(fd, &s, &err), TG_CORRUPT);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(tg_snapshot_read(fd, &s, &err), TG_CORRUPT);
    (void)close(fd);
    assert_int_not_equal(tg_snapshot_read(fd, &s, &err), TG_OK);
    assert_null(s);
}

/* Without memory for one of its parts there is no snapshot, and no part of it is left. */
static void test_memory(void **state)
{
    struct tg_buf bytes = written();
    struct tg_err err;
    (void)state;
    for (long n = 1;; n++) {
        struct tg_snapshot *s = NULL;
        tg_mem_fail_after(n);
        int rc = tg_snapshot_parse(tg_buf_str(&bytes), &s, &err);
        bool refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_int_equal(rc == TG_OK, !refused);
        if (!refused) {
            tg_snapshot_free(&s);
            break;
        }
        assert_null(s);
    }
    tg_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back),  cmocka_unit_test(test_torn),   cmocka_unit_test(test_huge),
        cmocka_unit_test(test_files), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
