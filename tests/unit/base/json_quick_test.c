/* The quick validator against the scanner of json_validate.c, which here takes no short way: both say the
 * same of every text, on machines that the quick one is for; elsewhere it says no. */
#define TG_JSON_PORTABLE

#include "../../../src/base/json_validate.c"

#include "tg_test.h"

enum { DEPTH = 4 };

static bool able;

static void same(struct tg_str text)
{
    bool good = tg_json_validate(text, DEPTH, NULL, NULL) == TG_OK;
    if (tg_json_quick(text, DEPTH) != (able && good))
        fail_msg("%s: %.*s", good ? "good" : "bad", TG_STR_ARG(text));
}

/* The texts that `left` more characters of the alphabet make behind those that are there. */
static void all_texts(char *text, size_t n, unsigned left)
{
    static const char alphabet[] = "{}[]:,\"1-.e\\ ";
    same(tg_str_n(text, n));
    for (const char *c = alphabet; left && *c; c++) {
        text[n] = *c;
        all_texts(text, n + 1, left - 1);
    }
}

/* Every short text of the characters that matter. */
static void test_short_texts(void **state)
{
    (void)state;
    char text[8];
    all_texts(text, 0, 5);
}

/* The same wherever the ends of blocks fall. */
static void test_ends_of_blocks(void **state)
{
    (void)state;
    char text[80];
    for (size_t before = 60; before <= 64; before++) {
        memset(text, ' ', before);
        all_texts(text, before, 4);
        text[0] = '[';
        text[1] = '"';
        all_texts(text, before, 3);
    }
}

static const char event[] =
    "{\"messageId\":\"a-1\",\"type\":\"track\",\"total\":-27.5e+3,\"none\":null,\"yes\":true,\"no\":false,"
    "\"list\":[1,{\"a\":[]},{}, \"x\"],\"text\":\"\\u00e9\\\"\\\\\\n\xc3\xa9\xf0\x9f\x98\x80\",\"zero\":0 , "
    "\"last\" :[ ]}";

/* An event with any byte changed to any other, cut off anywhere, at any place in its block. */
static void test_changed_bytes(void **state)
{
    (void)state;
    char text[sizeof event];
    const size_t n = sizeof event - 1;
    for (size_t at = 0; at < n; at++) {
        memcpy(text, event, n);
        for (int byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            same(tg_str_n(text, n));
        }
        same(tg_str_n(event, at));
    }
}

static void test_shifted(void **state)
{
    (void)state;
    char text[200 + sizeof event];
    for (size_t before = 0; before < 130; before++) {
        memset(text, '\n', before);
        memcpy(text + before, event, sizeof event);
        if (able)
            assert_true(tg_json_quick(tg_str_n(text, before + sizeof event - 1), DEPTH));
        same(tg_str_n(text, before + sizeof event));
        same(tg_str_n(text, before + sizeof event - 2));
    }
}

/* Runs of backslashes of every length at every place. */
static void test_backslashes(void **state)
{
    (void)state;
    char text[200];
    for (size_t before = 0; before < 70; before++) {
        for (size_t run = 0; run < 70; run++) {
            size_t n = 0;
            text[n++] = '"';
            memset(text + n, 'x', before);
            n += before;
            memset(text + n, '\\', run);
            n += run;
            text[n++] = '"';
            same(tg_str_n(text, n));
            text[n++] = '"';
            same(tg_str_n(text, n));
        }
    }
}

/* Containers within containers, up to the limit and above. */
static void test_depth(void **state)
{
    (void)state;
    char text[2 * TG_JSON_DEPTH_CEILING + 2];
    for (size_t depth = 0; depth <= TG_JSON_DEPTH_CEILING; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth + 1);
        struct tg_str whole = tg_str_n(text, 2 * depth);
        unsigned most = TG_JSON_DEPTH_CEILING - 1;
        bool good = tg_json_validate(whole, most, NULL, NULL) == TG_OK;
        assert_int_equal(tg_json_quick(whole, most), able && good);
        assert_false(tg_json_quick(tg_str_n(text, 2 * depth + 1), most));
        same(whole);
    }
}

int main(void)
{
    able = tg_json_quick(TG_STR("1"), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_texts),   cmocka_unit_test(test_ends_of_blocks),
        cmocka_unit_test(test_changed_bytes), cmocka_unit_test(test_shifted),
        cmocka_unit_test(test_backslashes),   cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
