#include "tg_test.h"

#include "base/log.h"
#include "base/mask.h"
#include "base/time.h"

#include <fcntl.h>
#include <unistd.h>

/* Each test logs into a pipe and reads the lines back. */
static int fds[2];

static int set_up(void **state)
{
    (void)state;
    if (pipe2(fds, O_NONBLOCK) != 0)
        return -1;
    tg_log_set_fd(fds[1]);
    tg_log_set_level(TG_LOG_INFO);
    tg_log_set_json(false);
    tg_log_set_process(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tg_log_set_fd(-1);
    tg_mask_clear();
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* What was logged since the last time, NUL-terminated. */
static const char *logged(void)
{
    static char text[65536];
    ssize_t n = read(fds[0], text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

/* The line behind its time, which must be one. */
static const char *behind_time(const char *line, const char *before)
{
    int64_t ms;
    assert_memory_equal(line, before, strlen(before));
    line += strlen(before);
    assert_true(tg_time_parse(tg_str_n(line, TG_TIME_LEN), &ms));
    return line + TG_TIME_LEN;
}

/* Key=value pairs with quotes only where they are needed. */
static void text_line(void **state)
{
    (void)state;
    tg_warn("destination parked", TG_FS("destination", "impact"), TG_FI("status", -401), TG_FD("rate", 0.5),
            TG_FB("first", true), TG_FB("last", false), TG_FS("why", "a \"b\"=\\c\n"), TG_FS("empty", ""));
    assert_string_equal(
        behind_time(logged(), "time="),
        " level=warn msg=\"destination parked\" destination=impact status=-401 rate=0.5 first=true "
        "last=false why=\"a \\\"b\\\"=\\\\c\\n\" empty=\"\"\n");
}

/* The process is named where it was told. */
static void process_name(void **state)
{
    (void)state;
    tg_log_set_process("3");
    tg_error("x");
    assert_string_equal(behind_time(logged(), "time="), " level=error worker=3 msg=x\n");
}

/* One JSON object a line by option. */
static void json_line(void **state)
{
    (void)state;
    tg_log_set_json(true);
    tg_info("a \"b\"", TG_FI("n", 7), TG_FSTR("s", tg_str_n("x\xff", 2)), TG_FB("t", true));
    assert_string_equal(
        behind_time(logged(), "{\"time\":\""),
        "\",\"level\":\"info\",\"msg\":\"a \\\"b\\\"\",\"n\":7,\"s\":\"x\xef\xbf\xbd\",\"t\":true}\n");
}

/* What is below the level is not written. */
static void levels(void **state)
{
    (void)state;
    tg_debug("hidden");
    assert_string_equal(logged(), "");
    tg_log_set_level(TG_LOG_ERROR);
    tg_warn("hidden");
    assert_string_equal(logged(), "");
    tg_error("shown");
    assert_non_null(strstr(logged(), "msg=shown"));
    tg_log_set_level(TG_LOG_DEBUG);
    tg_debug("shown");
    assert_non_null(strstr(logged(), "level=debug"));
}

/* Levels are known by name. */
static void level_names(void **state)
{
    (void)state;
    enum tg_log_level level = TG_LOG_DEBUG;
    assert_true(tg_log_level_parse("error", &level));
    assert_int_equal(level, TG_LOG_ERROR);
    assert_true(tg_log_level_parse("debug", &level));
    assert_int_equal(level, TG_LOG_DEBUG);
    assert_false(tg_log_level_parse("fatal", &level));
    assert_false(tg_log_level_parse("", &level));
}

/* Registered secrets never reach a line, be it in the message or in a field, with escapes or without. */
static void secrets_are_masked(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("hunter2\"x")));
    tg_warn("key hunter2\"x", TG_FS("url", "https://a.example/?k=hunter2%22x"));
    const char *line = logged();
    assert_null(strstr(line, "hunter2"));
    assert_non_null(strstr(line, "msg=\"key ***\" url=\"https://a.example/?k=***\""));
}

/* A line that would be too long is said without its fields. */
static void long_lines(void **state)
{
    (void)state;
    size_t n = 20000;
    char *text = tg_malloc(n + 1);
    assert_non_null(text);
    memset(text, 'a', n);
    text[n] = '\0';
    tg_info("short", TG_FS("long", text));
    assert_string_equal(behind_time(logged(), "time="), " level=info msg=short\n");
    tg_info(text);
    assert_string_equal(logged(), "");
    tg_free(text);
}

/* Without memory a line is lost, nothing else. */
static void out_of_memory(void **state)
{
    (void)state;
    for (long n = 1; n < 10; n++) {
        tg_mem_fail_after(n);
        tg_info("x", TG_FS("a", "b"));
        tg_mem_fail_after(0);
    }
    tg_info("after", TG_FS("a", "b"));
    assert_non_null(strstr(logged(), "msg=after a=b\n"));
}

/* A negative descriptor silences. */
static void nowhere(void **state)
{
    (void)state;
    tg_log_set_fd(-1);
    tg_error("hidden");
    assert_string_equal(logged(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(process_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(level_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_are_masked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(out_of_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nowhere, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
