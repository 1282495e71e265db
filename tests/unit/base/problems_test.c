#include "base/problems.h"
#include "tg_test.h"

#include <string.h>

static void expect(const struct tg_problems *p, const char *lines)
{
    struct tg_buf out = TG_BUF_INIT(65536);
    assert_ok(tg_problems_print(p, &out));
    assert_string_equal(tg_buf_cstr(&out), lines);
    tg_buf_fini(&out);
}

/* A line has what is known: where, path, reason. */
static void test_lines(void **state)
{
    struct tg_problems p;
    (void)state;
    tg_problems_init(&p);
    assert_false(tg_problems_any(&p));
    tg_problem_add(&p, NULL, NULL, "bad %s", "luck");
    tg_problem_add(&p, "x.lua:3", NULL, "two");
    tg_problem_add(&p, "x.lua", "a.b", "three");
    assert_true(tg_problems_any(&p));
    expect(&p, "bad luck\nx.lua:3: two\nx.lua: a.b: three\n");
    tg_problems_fini(&p);
}

/* The same words of the same place are said once; another place has its own line. */
static void test_said_once(void **state)
{
    struct tg_problems p;
    (void)state;
    tg_problems_init(&p);
    for (int i = 0; i < 3; i++) {
        tg_problem_add(&p, "x.lua", NULL, "broken");
        tg_problem_add(&p, NULL, "a", "required");
    }
    tg_problem_add(&p, NULL, "b", "required");
    expect(&p, "x.lua: broken\na: required\nb: required\n");
    tg_problems_fini(&p);
}

static bool is_word(const struct tg_problem *problem, void *arg)
{
    return strcmp(problem->reason, arg) == 0;
}

/* Those that are not wanted go, from an index on; the others keep their order. */
static void test_drop(void **state)
{
    struct tg_problems p;
    char word[] = "no";
    (void)state;
    tg_problems_init(&p);
    tg_problem_add(&p, NULL, "a", "no");
    tg_problem_add(&p, NULL, "b", "no");
    tg_problem_add(&p, NULL, "c", "yes");
    tg_problem_add(&p, NULL, "d", "no");
    tg_problems_drop(&p, 1, is_word, word);
    expect(&p, "a: no\nc: yes\n");
    tg_problems_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_said_once),
        cmocka_unit_test(test_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
