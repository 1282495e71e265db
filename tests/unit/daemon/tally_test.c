#include "daemon/tally.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void count(struct tg_metrics *m, const char *name, const char *labels, int64_t n)
{
    tg_count(tg_metric(m, TG_COUNTER, name, "help", labels), n);
}

static struct tg_metrics *some_metrics(void)
{
    struct tg_metrics *m = tg_metrics_new(2);
    count(m, "tidegate_events_skipped_total", "destination=\"a\",reason=\"no_email\"", 3);
    count(m, "tidegate_events_skipped_total", "destination=\"a\",reason=\"filtered\"", 1);
    count(m, "tidegate_events_dead_total", "destination=\"a\",reason=\"http_400\"", 2);
    count(m, "tidegate_events_dead_total", "destination=\"b\",reason=\"said \\\"no\\\"\\n\\\\\"", 1);
    count(m, "tidegate_events_retried_total", "destination=\"b\",reason=\"timeout\"", 0);
    count(m, "tidegate_events_accepted_total", "source=\"web\",type=\"track\"", 5);
    count(m, "tidegate_events_accepted_total", "source=\"web\",type=\"page\"", 2);
    count(m, "tidegate_events_duplicate_total", "source=\"web\"", 4);
    count(m, "tidegate_events_rejected_total", "source=\"web\",reason=\"invalid_type\"", 6);
    count(m, "tidegate_events_accepted_total", "source=\"a\",type=\"track\"", 1);
    count(m, "tidegate_ingest_refused_total", "code=\"unknown_write_key\"", 9);
    count(m, "tidegate_ingest_refused_total", "code=\"disk_full\"", 8);
    count(m, "tidegate_events_delivered_total", "destination=\"a\"", 11);
    count(m, "tidegate_requests_total", "destination=\"a\",status=\"2xx\"", 7);
    return m;
}

/* A destination's events by reason, without what was never counted; one that nothing is known of has none. */
static void reasons(void **state)
{
    (void)state;
    struct tg_metrics *m = some_metrics();
    struct tg_tally t;
    struct tg_buf json = TG_BUF_INIT(4096);
    assert_int_equal(tg_tally_read(m, &t), TG_OK);
    assert_int_equal(tg_tally_reasons(&t, "a", &json), TG_OK);
    assert_string_equal(tg_buf_cstr(&json),
                        "{\"dead\":{\"http_400\":2},\"skipped\":{\"filtered\":1,\"no_email\":3}}");
    tg_buf_clear(&json);
    assert_int_equal(tg_tally_reasons(&t, "b", &json), TG_OK);
    assert_string_equal(tg_buf_cstr(&json), "{\"dead\":{\"said \\\"no\\\"\\n\\\\\":1}}");
    tg_buf_clear(&json);
    assert_int_equal(tg_tally_reasons(&t, "nobody", &json), TG_OK);
    assert_string_equal(tg_buf_cstr(&json), "{}");
    assert_int_equal(tg_tally_total(&t, "a", "skipped"), 4);
    assert_int_equal(tg_tally_total(&t, "a", "delivered"), 11);
    assert_int_equal(tg_tally_total(&t, "a", "accepted"), 0); /* the source of that name */
    assert_int_equal(tg_tally_total(&t, "nobody", "skipped"), 0);
    tg_buf_fini(&json);
    tg_tally_fini(&t);
    tg_metrics_free(&m);
}

/* What each source sent, of all types together; and what was refused before a source was known. */
static void senders(void **state)
{
    (void)state;
    struct tg_metrics *m = some_metrics();
    struct tg_tally t;
    struct tg_buf json = TG_BUF_INIT(4096);
    assert_int_equal(tg_tally_read(m, &t), TG_OK);
    assert_int_equal(tg_tally_sources(&t, &json), TG_OK);
    assert_string_equal(tg_buf_cstr(&json),
                        "{\"a\":{\"accepted\":1},\"web\":{\"accepted\":7,\"duplicates\":4,"
                        "\"set_aside\":{\"invalid_type\":6}}}");
    tg_buf_clear(&json);
    assert_int_equal(tg_tally_refused(&t, &json), TG_OK);
    assert_string_equal(tg_buf_cstr(&json), "{\"disk_full\":8,\"unknown_write_key\":9}");
    tg_buf_fini(&json);
    tg_tally_fini(&t);
    tg_metrics_free(&m);
}

/* Without memory it says so, and nothing leaks. */
static void no_memory(void **state)
{
    (void)state;
    struct tg_metrics *m = some_metrics();
    int rc = TG_NOMEM;
    for (unsigned n = 1; rc != TG_OK; n++) {
        struct tg_tally t;
        struct tg_buf json = TG_BUF_INIT(4096);
        tg_mem_fail_after(n);
        rc = tg_tally_read(m, &t);
        int said = rc ? rc : tg_tally_sources(&t, &json);
        tg_mem_fail_after(0);
        if (!rc)
            tg_tally_fini(&t);
        tg_buf_fini(&json);
        rc = said;
    }
    tg_metrics_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons),
        cmocka_unit_test(senders),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
