#include "../tg_test.h"

#include "base/clock.h"
#include "base/event.h"
#include "base/helper.h"
#include "base/json.h"
#include "base/time.h"
#include "daemon/dead_cli.h"
#include "daemon/dead_print.h"
#include "spool/state.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

/* A spool folder, and what the latest command printed. */
struct fixture {
    char dir[64];
    char *out, *errs;
    size_t out_len, errs_len;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg_dead_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/state.db", f->dir);
    unlink(path);
    assert_int_equal(rmdir(f->dir), 0); /* nothing else was left there */
    free(f->out);
    free(f->errs);
    free(f);
    return 0;
}

static const char *const configured[] = {"impact_uk"};

/* Runs `dead` with these arguments, the last one NULL. */
static int dead(struct fixture *f, const char *first, ...)
{
    char *argv[16] = {(char *)"dead", (char *)first};
    int argc = first ? 2 : 1;
    va_list ap;
    va_start(ap, first);
    while (argc > 1 && argc < 15 && (argv[argc] = va_arg(ap, char *)))
        argc++;
    va_end(ap);
    argv[argc] = NULL;
    free(f->out);
    free(f->errs);
    FILE *out = open_memstream(&f->out, &f->out_len), *errs = open_memstream(&f->errs, &f->errs_len);
    int code = tg_dead_main(
        &(struct tg_dead_world){.spool_dir = f->dir, .destinations = configured, .n_destinations = 1}, argc,
        argv, out, errs);
    fclose(out);
    fclose(errs);
    return code;
}

/* As a worker writes it. */
static void put(struct fixture *f, const struct tg_dead *rows, size_t n)
{
    struct event_base *base = event_base_new();
    struct tg_helper *helper;
    struct tg_state *s;
    assert_ok(tg_helper_new(base, &helper, NULL));
    assert_ok(tg_state_open(f->dir, helper, &s, NULL));
    for (size_t i = 0; i < n; i++)
        assert_ok(tg_state_put_dead(s, &rows[i], NULL, NULL));
    tg_helper_drain(helper);
    tg_state_close(&s);
    tg_helper_free(&helper);
    event_base_free(base);
}

/* 2026-01-02T03:04:05.678Z */
enum { HOUR = 3600000 };
static const int64_t noon = 1767323045678;

static const struct tg_dead rejected = {.destination = "impact_uk",
                                        .source = "web",
                                        .message_id = "m-1",
                                        .type = "track",
                                        .event_name = "Order Completed",
                                        .reason = "http_400",
                                        .status = 400,
                                        .attempts = 2,
                                        .received_at = 1767323045000,
                                        .first = 1767323045001,
                                        .last = 1767323045678,
                                        .body = {"{\"a\":1}", 7},
                                        .request = {"POST /c HTTP/1.1\nAuthorization: ***", 35},
                                        .response = {"HTTP/1.1 400 Bad Request", 24},
                                        .generation = 3};

static struct tg_dead broken_script(void)
{
    struct tg_dead d = rejected;
    d.destination = "extole";
    d.message_id = "m-2";
    d.reason = "script_error";
    d.message = "init.lua:12: attempt to index nil\nstack traceback:\n\tinit.lua:12: in function";
    d.status = 0;
    d.last = noon + HOUR;
    d.request = d.response = TG_STR("");
    return d;
}

static struct tg_dead rubbish(void)
{
    return (struct tg_dead){.source = "web",
                            .reason = "invalid_json",
                            .message = "byte 3: a value was expected",
                            .first = noon,
                            .last = noon + 2 * HOUR,
                            .body = TG_STR("{\"a\n\x01")};
}

static void put_three(struct fixture *f)
{
    const struct tg_dead rows[] = {rejected, broken_script(), rubbish()};
    put(f, rows, 3);
}

/* The ten members in their order, one object a line, and nothing else on stdout. */
static void test_ls_json(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "ls", "--json", NULL), 0);
    assert_string_equal(f->out,
                        "{\"id\":1,\"destination\":\"impact_uk\",\"messageId\":\"m-1\",\"source\":\"web\","
                        "\"reason\":\"http_400\","
                        "\"status\":400,\"attempts\":2,\"first\":\"2026-01-02T03:04:05.001Z\","
                        "\"last\":\"2026-01-02T03:04:05.678Z\",\"event\":{\"a\":1}}\n"
                        "{\"id\":2,\"destination\":\"extole\",\"messageId\":\"m-2\",\"source\":\"web\","
                        "\"reason\":\"script_error: init.lua:12: attempt to index nil\","
                        "\"status\":null,\"attempts\":2,\"first\":\"2026-01-02T03:04:05.001Z\","
                        "\"last\":\"2026-01-02T04:04:05.678Z\",\"event\":{\"a\":1}}\n"
                        "{\"id\":3,\"destination\":null,\"messageId\":null,\"source\":\"web\","
                        "\"reason\":\"invalid_json: byte 3: a value was expected\","
                        "\"status\":null,\"attempts\":0,\"first\":\"2026-01-02T03:04:05.678Z\","
                        "\"last\":\"2026-01-02T05:04:05.678Z\",\"event\":\"{\\\"a\\n\\u0001\"}\n");
    assert_string_equal(f->errs, "");
}

static void print_json(const struct tg_dead *d, bool whole, struct tg_buf *out)
{
    assert_ok(tg_dead_print_json(out, d, whole));
    assert_ok(tg_json_validate(tg_buf_str(out), TG_JSON_MAX_DEPTH, NULL, NULL));
    assert_ptr_equal(memchr(out->data, '\n', out->len), out->data + out->len - 1);
}

/* The event of a stored header is the whole event as it is forwarded, on one line. */
static void test_event_is_forwarded_form(void **state)
{
    (void)state;
    struct tg_event ev = {.source = TG_STR("web"),
                          .message_id = TG_STR("m-7"),
                          .received_at = noon,
                          .timestamp = noon,
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_buf header = TG_BUF_INIT(1000), out = TG_BUF_INIT(100000);
    assert_ok(tg_event_encode(&ev, &header));
    struct tg_dead d = rejected;
    d.header = tg_buf_str(&header);
    d.body = TG_STR("{\n \"writeKey\": \"secret\",\r\n \"event\": \"Caf\xc3\xa9\\n\"\n}");
    print_json(&d, false, &out);
    struct tg_str event = tg_json_get(tg_str_trim(tg_buf_str(&out)), "event");
    assert_str(tg_json_get(event, "messageId"), "\"m-7\"");
    assert_str(tg_json_get(event, "receivedAt"), "\"2026-01-02T03:04:05.678Z\"");
    assert_str(tg_json_get(event, "event"), "\"Caf\xc3\xa9\\n\"");
    assert_null(tg_json_get(event, "writeKey").p);
    tg_buf_fini(&header);
    tg_buf_fini(&out);
}

/* Whatever bytes were stored, the line is one valid JSON value: damaged header, scalars, invalid UTF-8, no
 * body. */
static void test_event_hostile(void **state)
{
    (void)state;
    static const struct {
        struct tg_str header, body;
        const char *event;
    } cases[] = {
        {TG_STR("\xff\xff"), TG_STR("{\"a\":1}"), "{\"a\":1}"},
        {TG_STR("\x01\x01"), TG_STR("[1,\n2]"), "[1, 2]"},
        {TG_STR(""), TG_STR(" 7 "), "7"},
        {TG_STR(""), TG_STR("\xff"), "\"\xef\xbf\xbd\""},
        {TG_STR("x"), TG_STR(""), "null"},
        {TG_STR(""), TG_STR("{} {}"), "\"{} {}\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_buf out = TG_BUF_INIT(100000);
        struct tg_dead d = rejected;
        d.header = cases[i].header;
        d.body = cases[i].body;
        print_json(&d, false, &out);
        assert_str(tg_json_get(tg_str_trim(tg_buf_str(&out)), "event"), cases[i].event);
        tg_buf_fini(&out);
    }
}

/* Each filter of the command line reaches the file. */
static void test_ls_filters(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "ls", "--dest", "extole", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":2,", 8);
    assert_int_equal(dead(f, "ls", "--dest=extole", "--reason=http_400", "--json", NULL), 0);
    assert_string_equal(f->out, "");
    assert_int_equal(dead(f, "ls", "--set-aside", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":3,", 8);
    assert_int_equal(dead(f, "ls", "--since", "2026-01-02T05:04:05.678Z", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":3,", 8);
    assert_int_equal(dead(f, "ls", "--until", "2026-01-02T04:00:00Z", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":1,", 8);
    assert_int_equal(
        dead(f, "ls", "--message-id", "m-2", "--source", "web", "--event", "Order Completed", "--json", NULL),
        0);
    assert_memory_equal(f->out, "{\"id\":2,", 8);
    assert_int_equal(dead(f, "ls", "--limit", "1", "--json", NULL), 0);
    assert_null(strstr(f->out, "\"id\":2"));
    assert_int_equal(dead(f, "ls", "--limit", "2", NULL), 0);
    assert_non_null(strstr(f->out, "\n2 dead letters, the oldest: --limit; there may be more\n"));
    assert_int_equal(dead(f, "ls", "--limit", "200", NULL), 0);
    assert_null(strstr(f->out, "there may be more"));
    assert_int_equal(dead(f, "ls", "--user", "u-1", NULL), 0);
    assert_string_equal(f->out, "no dead letters\n");
}

/* An age counts back from now. */
static void test_since_age(void **state)
{
    struct fixture *f = *state;
    struct tg_dead d[] = {rejected, rejected};
    d[0].last = tg_wall_ms() - 3 * HOUR;
    d[1].last = tg_wall_ms() - HOUR;
    put(f, d, 2);
    assert_int_equal(dead(f, "ls", "--since", "2h", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":2,", 8);
    assert_int_equal(dead(f, "ls", "--since", "1d", "--until", "120m", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":1,", 8);
    assert_null(strstr(f->out, "\"id\":2"));
}

/* The table has a row for each and ends with the counts by reason, the most frequent first. */
static void test_ls_table(void **state)
{
    struct fixture *f = *state;
    const struct tg_dead rows[] = {broken_script(), rejected, rejected, rubbish()};
    put(f, rows, 4);
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_memory_equal(f->out, "ID ", 3);
    assert_non_null(strstr(f->out, "script_error: init.lua:12: attempt to index nil\n"));
    assert_null(strstr(f->out, "traceback"));
    assert_non_null(strstr(
        f->out, "\n4 dead letters\n       2  http_400\n       1  invalid_json\n       1  script_error\n"));
}

/* What senders wrote cannot command the terminal, and long names do not break the table. */
static void test_table_hostile(void **state)
{
    (void)state;
    struct tg_buf out = TG_BUF_INIT(100000);
    struct tg_dead d = rejected;
    d.event_name = "\x1b]0;owned\x07\xc2\x9b"
                   "31m and a name that goes on for long";
    d.source = "gr\xc3\xbc\xc3\x9f"
               "e-aus-m\xc3\xbcnchen";
    d.message = "line\r\x1b[2J\nsecond";
    assert_ok(tg_dead_print_row(&out, &d));
    for (size_t i = 0; i + 1 < out.len; i++)
        assert_true((unsigned char)out.data[i] >= 0x20);
    assert_non_null(strstr(tg_buf_cstr(&out), "gr\xc3\xbc\xc3\x9f"
                                              "e-aus-m\xc3\xbc  "));
    assert_null(strstr(out.data, "\xc2\x9b"));
    assert_null(strstr(out.data, "second"));
    d.response = TG_STR("a\x1b[2Jb\nc\x7f");
    assert_ok(tg_dead_print_page(&out, &d));
    assert_non_null(strstr(tg_buf_cstr(&out), "a?[2Jb\nc?\n"));
    tg_buf_fini(&out);
}

/* `show` tells everything: request, response, traceback, times. */
static void test_show(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "show", "1", NULL), 0);
    static const char *const parts[] = {"destination  impact_uk\n",
                                        "status       400\n",
                                        "attempts     2\n",
                                        "first        2026-01-02T03:04:05.001Z\n",
                                        "\nrequest\nPOST /c HTTP/1.1\nAuthorization: ***\n",
                                        "\nresponse\nHTTP/1.1 400 Bad Request\n",
                                        "\nevent\n{\"a\":1}\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(f->out, parts[i]));
    assert_int_equal(dead(f, "show", "2", NULL), 0);
    assert_non_null(strstr(f->out, "stack traceback:\n\tinit.lua:12"));
    assert_int_equal(dead(f, "show", "--json", "1", NULL), 0);
    assert_ok(tg_json_validate(tg_str_of(f->out), 10, NULL, NULL));
    assert_str(tg_json_get(tg_str_trim(tg_str_of(f->out)), "request"),
               "\"POST /c HTTP/1.1\\nAuthorization: ***\"");
    assert_str(tg_json_get(tg_str_trim(tg_str_of(f->out)), "generation"), "3");
    assert_int_equal(dead(f, "show", "9", NULL), 1);
    assert_string_equal(f->errs, "dead show: there is no dead letter 9 (any more)\n");
}

/* `drop` removes what is chosen, says how many, and leaves the rest. */
static void test_drop(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "drop", "--dest", "nobody", NULL), 0);
    assert_string_equal(f->out, "dropped 0 dead letters\n");
    assert_int_equal(dead(f, "drop", "--reason", "script_error", NULL), 0);
    assert_string_equal(f->out, "dropped 1 dead letter\n");
    assert_int_equal(dead(f, "drop", "1", "2", NULL), 1);
    assert_string_equal(f->out, "dropped 1 dead letter\n");
    assert_non_null(strstr(f->errs, "no dead letter 2"));
    assert_int_equal(dead(f, "ls", "--json", NULL), 0);
    assert_memory_equal(f->out, "{\"id\":3,", 8);
    assert_int_equal(dead(f, "drop", "--all", NULL), 0);
    assert_string_equal(f->out, "dropped 1 dead letter\n");
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_string_equal(f->out, "no dead letters\n");
}

/* Without saying which, nothing is dropped; a limit alone does not say which. */
static void test_drop_needs_a_choice(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "drop", NULL), 2);
    assert_non_null(strstr(f->errs, "--all"));
    assert_int_equal(dead(f, "drop", "--limit", "1", NULL), 2);
    assert_int_equal(dead(f, "drop", "--all", "--dest", "extole", NULL), 2);
    assert_int_equal(dead(f, "drop", "--all", "1", NULL), 2);
    assert_int_equal(dead(f, "drop", "--dest", "", NULL), 2);
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_non_null(strstr(f->out, "\n3 dead letters\n"));
}

/* A spool without state.db has no dead letters, and none is made by looking. */
static void test_no_file(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(dead(f, "ls", "--json", NULL), 0);
    assert_string_equal(f->out, "");
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_string_equal(f->out, "no dead letters\n");
    assert_int_equal(dead(f, "drop", "--all", NULL), 0);
    assert_int_equal(dead(f, "show", "1", NULL), 1);
    assert_int_equal(rmdir(f->dir), 0);
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_non_null(mkdtemp(strcpy(f->dir, "/tmp/tg_dead_XXXXXX")));
}

/* A damaged file is an error that names it. */
static void test_damaged_file(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/state.db", f->dir);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 500; i++)
        fputs("not a database ", file);
    fclose(file);
    assert_int_equal(dead(f, "ls", NULL), 1);
    assert_non_null(strstr(f->errs, path));
    assert_non_null(strstr(f->errs, "damaged"));
    assert_string_equal(f->out, "");
}

/* Replay says how many went, and why the others did not: not configured, or set aside by ingest. */
static void test_replay(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    assert_int_equal(dead(f, "replay", "--source", "web", "--set-aside", NULL), 1);
    assert_string_equal(f->out, "replayed 0 dead letters\n");
    assert_non_null(strstr(f->errs, "1 left alone: ingest set them aside"));
    assert_int_equal(dead(f, "replay", "1", "77", NULL), 1);
    assert_string_equal(f->out, "replayed 1 dead letter: due when the relay runs\n");
    assert_non_null(strstr(f->errs, "no dead letter 77"));
    assert_int_equal(dead(f, "replay", "--all", NULL), 1);
    assert_non_null(strstr(f->errs, "1 left alone: their destinations are not in the configuration"));
    assert_int_equal(dead(f, "ls", NULL), 0);
    assert_non_null(strstr(f->out, "\n2 dead letters\n"));
}

/* Misuse is named, with the nearest known option, and exits 2 before the file is touched. */
static void test_misuse(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(dead(f, NULL), 2);
    assert_non_null(strstr(f->errs, "usage: tidegate dead ls"));
    assert_int_equal(dead(f, "replay", NULL), 2);
    assert_non_null(strstr(f->errs, "say which"));
    assert_int_equal(dead(f, "replay", "--all", "--json", NULL), 2);
    assert_int_equal(dead(f, "ls", "--dry-run", NULL), 2);
    assert_int_equal(dead(f, "replay", "--all", "7", NULL), 2);
    assert_int_equal(dead(f, "list", NULL), 2);
    assert_non_null(strstr(f->errs, "unknown command list"));
    assert_int_equal(dead(f, "ls", "--destination", "x", NULL), 2);
    assert_non_null(strstr(f->errs, "unknown option --destination"));
    assert_int_equal(dead(f, "ls", "--mesage-id", "x", NULL), 2);
    assert_non_null(strstr(f->errs, "did you mean --message-id?"));
    assert_int_equal(dead(f, "ls", "--all", NULL), 2);
    assert_int_equal(dead(f, "ls", "-j", NULL), 2);
    assert_int_equal(dead(f, "ls", "--dest", NULL), 2);
    assert_non_null(strstr(f->errs, "--dest needs a value: NAME"));
    assert_int_equal(dead(f, "ls", "--json=1", NULL), 2);
    assert_int_equal(dead(f, "ls", "17", NULL), 2);
    assert_int_equal(dead(f, "show", NULL), 2);
    assert_int_equal(dead(f, "show", "x", NULL), 2);
    assert_int_equal(dead(f, "show", "-1", NULL), 2);
    assert_int_equal(dead(f, "show", "99999999999999999999", NULL), 2);
    assert_int_equal(dead(f, "ls", "--limit", "0", NULL), 2);
    static const char *const times[] = {"yesterday", "2h30m", "h", "", "-2h", "2026-13-01", "99999999999d"};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_int_equal(dead(f, "ls", "--since", times[i], NULL), 2);
        assert_non_null(strstr(f->errs, "--since"));
    }
}

/* Help is data: on stdout, exit 0. */
static void test_help(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(dead(f, "--help", NULL), 0);
    assert_non_null(strstr(f->out, "--message-id"));
    assert_int_equal(dead(f, "ls", "--help", NULL), 0);
    assert_non_null(strstr(f->out, "--since"));
    assert_string_equal(f->errs, "");
}

static int print_all(void *arg)
{
    const struct tg_dead *d = arg;
    struct tg_buf out = TG_BUF_INIT(100000);
    int rc = tg_dead_print_json(&out, d, true);
    if (!rc)
        rc = tg_dead_print_head(&out);
    if (!rc)
        rc = tg_dead_print_row(&out, d);
    if (!rc)
        rc = tg_dead_print_page(&out, d);
    tg_buf_fini(&out);
    return rc;
}

/* Printing without memory fails and leaks nothing. */
static void test_print_torture(void **state)
{
    (void)state;
    struct tg_dead d = broken_script();
    tg_torture(print_all, &d);
}

/* Without memory a command fails with status 1 and says so; it never prints half and exits 0. */
static void test_command_torture(void **state)
{
    struct fixture *f = *state;
    put_three(f);
    int code = 1;
    for (long n = 1; code && n < 1000; n++) {
        tg_mem_fail_after(n);
        code = dead(f, "ls", NULL);
        tg_mem_fail_after(0);
        if (code) {
            assert_int_equal(code, 1);
            assert_non_null(strstr(f->errs, "memory"));
        }
    }
    assert_int_equal(code, 0);
    assert_non_null(strstr(f->out, "\n3 dead letters\n"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_ls_json),
        cmocka_unit_test(test_event_is_forwarded_form),
        cmocka_unit_test(test_event_hostile),
        T(test_ls_filters),
        T(test_since_age),
        T(test_ls_table),
        cmocka_unit_test(test_table_hostile),
        T(test_show),
        T(test_drop),
        T(test_replay),
        T(test_drop_needs_a_choice),
        T(test_no_file),
        T(test_damaged_file),
        T(test_misuse),
        T(test_help),
        cmocka_unit_test(test_print_torture),
        T(test_command_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
