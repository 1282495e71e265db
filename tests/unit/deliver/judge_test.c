#include "deliver/judge.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Each status has its class, and its reason names it. */
static void classes(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum tg_outcome outcome;
        const char *reason;
    } rows[] = {
        {200, TG_OUTCOME_OK, ""},
        {204, TG_OUTCOME_OK, ""},
        {299, TG_OUTCOME_OK, ""},
        {301, TG_OUTCOME_REJECT, "http_301"},
        {400, TG_OUTCOME_REJECT, "http_400"},
        {401, TG_OUTCOME_PARK, "http_401"},
        {402, TG_OUTCOME_REJECT, "http_402"},
        {403, TG_OUTCOME_REJECT, "http_403"},
        {404, TG_OUTCOME_REJECT, "http_404"},
        {408, TG_OUTCOME_RETRY, "http_408"},
        {409, TG_OUTCOME_REJECT, "http_409"},
        {410, TG_OUTCOME_REJECT, "http_410"},
        {413, TG_OUTCOME_REJECT, "http_413"},
        {422, TG_OUTCOME_REJECT, "http_422"},
        {425, TG_OUTCOME_RETRY, "http_425"},
        {429, TG_OUTCOME_RETRY, "http_429"},
        {500, TG_OUTCOME_RETRY, "http_500"},
        {501, TG_OUTCOME_REJECT, "http_501"},
        {502, TG_OUTCOME_RETRY, "http_502"},
        {503, TG_OUTCOME_RETRY, "http_503"},
        {504, TG_OUTCOME_RETRY, "http_504"},
        {505, TG_OUTCOME_REJECT, "http_505"},
        {529, TG_OUTCOME_RETRY, "http_529"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_verdict v;
        tg_judge_status(rows[i].status, TG_CLIENT_ANSWERED, &v);
        if (v.outcome != rows[i].outcome)
            fail_msg("%d: outcome %d", rows[i].status, v.outcome);
        assert_string_equal(v.reason, rows[i].reason);
    }
}

/* No answer at all is tried again, under a name of its own. */
static void failures(void **state)
{
    (void)state;
    static const struct {
        enum tg_client_failure failure;
        const char *reason;
    } rows[] = {{TG_CLIENT_NETWORK, "network_error"},
                {TG_CLIENT_TIMEOUT, "timeout"},
                {TG_CLIENT_EGRESS, "egress_refused"}};
    for (size_t i = 0; i < 3; i++) {
        struct tg_verdict v;
        tg_judge_status(0, rows[i].failure, &v);
        assert_int_equal(v.outcome, TG_OUTCOME_RETRY);
        assert_string_equal(v.reason, rows[i].reason);
    }
}

static const int64_t now = 1767323045000; /* Fri, 02 Jan 2026 03:04:05 GMT */

/* Retry-After is read in both forms, from answers that are no success, and capped. */
static void retry_after(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *value;
        int64_t ms;
    } rows[] = {
        {429, "7", 7000},
        {503, "0", 0},
        {503, "1.5", 1500},
        {200, "7", 0},
        {429, "999999", 3600000},
        {429, "99999999999999999999999999", 0},
        {429, "-3", 0},
        {429, "soon", 0},
        {429, "", 0},
        {503, "Fri, 02 Jan 2026 03:04:35 GMT", 30000},
        {503, "Fri, 02 Jan 2026 03:00:00 GMT", 0},
        {503, "Fri, 02 Jan 2037 03:00:00 GMT", 3600000},
        {503, "nan", 0},
        {503, "1e9", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_header h = {(char *)"retry-after", (char *)rows[i].value};
        struct tg_response r = {.status = rows[i].status, .headers = &h, .n_headers = 1};
        int64_t ms = tg_judge_pause(&r, NULL, now);
        if (ms != rows[i].ms)
            fail_msg("%s: %lld", rows[i].value, (long long)ms);
    }
    struct tg_response none = {.status = 429};
    assert_int_equal(tg_judge_pause(&none, NULL, now), 0);
}

/* The reset of a rate limit counts when the limit is used up, in the unit that the script declares. */
static void rate_resets(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *left, *reset;
        int unit;
        int64_t ms;
    } rows[] = {
        {200, "0", "12", TG_RESET_SECONDS, 12000}, {200, "3", "12", TG_RESET_SECONDS, 0},
        {429, "3", "12", TG_RESET_SECONDS, 12000}, {429, "0", "1767323050", TG_RESET_EPOCH, 5000},
        {429, "0", "1", TG_RESET_EPOCH, 0},        {429, "0", "12", TG_RESET_NONE, 0},
        {429, "0", "x", TG_RESET_SECONDS, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_header h[] = {{(char *)"X-RateLimit-Remaining", (char *)rows[i].left},
                                {(char *)"x-ratelimit-reset", (char *)rows[i].reset}};
        struct tg_response r = {.status = rows[i].status, .headers = h, .n_headers = 2};
        struct tg_rate rate = {0};
        rate.reset = rows[i].unit == TG_RESET_SECONDS ? TG_RESET_SECONDS
                     : rows[i].unit == TG_RESET_EPOCH ? TG_RESET_EPOCH
                                                      : TG_RESET_NONE;
        int64_t ms = tg_judge_pause(&r, &rate, now);
        if (ms != rows[i].ms)
            fail_msg("row %zu: %lld", i, (long long)ms);
    }
}

static bool reject(tg_shared_cell *s, int status)
{
    struct tg_verdict v;
    tg_verdict_of_status(status, &v);
    return tg_strikes_reject(s, status, &v);
}

/* A second 402 or 403 parks, unless something succeeded between. */
static void denied_twice(void **state)
{
    (void)state;
    tg_shared_cell s = 0;
    assert_false(reject(&s, 403));
    tg_strikes_success(&s);
    assert_false(reject(&s, 403));
    assert_false(reject(&s, 400));
    assert_true(reject(&s, 402));
}

/* The twentieth reject of one reason in a row parks; others between begin a new count. */
static void twenty_of_a_kind(void **state)
{
    (void)state;
    tg_shared_cell s = 0;
    for (int i = 0; i < 19; i++)
        assert_false(reject(&s, 400));
    assert_false(reject(&s, 422));
    for (int i = 0; i < 19; i++)
        assert_false(reject(&s, 400));
    assert_true(reject(&s, 400));
    assert_true(reject(&s, 400)); /* one that was under way */
    tg_strikes_success(&s);
    assert_false(reject(&s, 400));
}

/* A 403 that the script has judged is that event's alone, until it is the twentieth. */
static void judged_denials(void **state)
{
    (void)state;
    tg_shared_cell s = 0;
    const struct tg_verdict v = {
        .outcome = TG_OUTCOME_REJECT, .reason = "closed_campaign", .by_script = true};
    for (int i = 0; i < 19; i++)
        assert_false(tg_strikes_reject(&s, 403, &v));
    assert_true(tg_strikes_reject(&s, 403, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judged_denials),   cmocka_unit_test(classes),     cmocka_unit_test(failures),
        cmocka_unit_test(retry_after),      cmocka_unit_test(rate_resets), cmocka_unit_test(denied_twice),
        cmocka_unit_test(twenty_of_a_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
