#include "tg_test.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>

/* A failure carries its code and a formatted message, and returns the code. */
static void fail_sets_code_and_message(void **state)
{
    (void)state;
    struct tg_err err = {0};
    assert_int_equal(tg_fail(&err, TG_INVALID, "line %d: %s", 7, "no value"), TG_INVALID);
    assert_int_equal(err.code, TG_INVALID);
    assert_string_equal(err.msg, "line 7: no value");
}

/* Whoever does not care for the message passes NULL. */
static void err_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(tg_fail(NULL, TG_IO, "x"), TG_IO);
    assert_int_equal(tg_fail_errno(NULL, ENOSPC, "x"), TG_FULL);
    assert_int_equal(tg_err_prefix(NULL, "x"), TG_OK);
}

/* A system error becomes the code that callers decide by, and the system's text stands behind ours. */
static void errno_maps_to_code(void **state)
{
    (void)state;
    static const struct {
        int errnum, code;
    } rows[] = {
        {ENOSPC, TG_FULL}, {EDQUOT, TG_FULL}, {ENOMEM, TG_NOMEM}, {ENOENT, TG_NOTFOUND}, {EIO, TG_IO}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_err err = {0};
        assert_int_equal(tg_fail_errno(&err, rows[i].errnum, "open %s", "a"), rows[i].code);
        char want[256];
        (void)snprintf(want, sizeof want, "open a: %s", strerror(rows[i].errnum));
        assert_string_equal(err.msg, want);
    }
}

/* Each level puts its name before the message, from the inside out. */
static void prefixes_read_from_the_outside_in(void **state)
{
    (void)state;
    struct tg_err err = {0};
    (void)tg_fail(&err, TG_INVALID, "required");
    (void)tg_err_prefix(&err, "settings");
    assert_int_equal(tg_err_prefix(&err, "destination %s", "impact"), TG_INVALID);
    assert_string_equal(err.msg, "destination impact: settings: required");
}

/* Messages that do not fit are cut, never written past the end. */
static void long_messages_are_cut(void **state)
{
    (void)state;
    struct tg_err err = {0};
    char text[2 * sizeof err.msg];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)tg_fail(&err, TG_IO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    (void)tg_err_prefix(&err, "outer");
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_memory_equal(err.msg, "outer: aaa", 10);
    (void)tg_err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    (void)tg_fail_errno(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

/* Every code has a text of its own; unknown codes have one too. */
static void codes_have_texts(void **state)
{
    (void)state;
    assert_string_equal(tg_code_text(TG_OK), "ok");
    assert_string_equal(tg_code_text(TG_NOMEM), "out of memory");
    assert_string_equal(tg_code_text(TG_EXISTS), "exists already");
    assert_string_equal(tg_code_text(12345), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_sets_code_and_message), cmocka_unit_test(err_may_be_null),
        cmocka_unit_test(errno_maps_to_code),         cmocka_unit_test(prefixes_read_from_the_outside_in),
        cmocka_unit_test(long_messages_are_cut),      cmocka_unit_test(codes_have_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
