#include "deliver/gate.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct tg_dest dest = {.integration = (char *)"Fake", .accepts = 1u << TG_TRACK | 1u << TG_PAGE};

static const struct tg_gate_rules all;

static struct tg_event event_with(const char *body)
{
    return (struct tg_event){.type = TG_TRACK, .source = TG_STR("web"), .body = tg_str_of(body)};
}

/* The integrations object decides as senders mean it; names are case-sensitive, null is not given, an object
 * is on. */
static void integrations(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why, *options;
    } rows[] = {
        {"{}", NULL, ""},
        {"{\"integrations\":{}}", NULL, ""},
        {"{\"integrations\":[]}", NULL, ""},
        {"{\"integrations\":null}", NULL, ""},
        {"{\"integrations\":\"Fake\"}", NULL, ""},
        {"{\"integrations\":{\"All\":true}}", NULL, ""},
        {"{\"integrations\":{\"All\":false}}", "integration_off", ""},
        {"{\"integrations\":{\"all\":false}}", NULL, ""},
        {"{\"integrations\":{\"Fake\":false}}", "integration_off", ""},
        {"{\"integrations\":{\"fake\":false}}", NULL, ""},
        {"{\"integrations\":{\"All\":false,\"Fake\":true}}", NULL, ""},
        {"{\"integrations\":{\"All\":false,\"Fake\":{}}}", NULL, "{}"},
        {"{\"integrations\":{\"All\":false,\"Fake\":{\"id\":1}}}", NULL, "{\"id\":1}"},
        {"{\"integrations\":{\"All\":false,\"Fake\":null}}", "integration_off", ""},
        {"{\"integrations\":{\"All\":null}}", NULL, ""},
        {"{\"integrations\":{\"All\":true,\"Fake\":false}}", "integration_off", ""},
        {"{\"integrations\":{\"Fake\":0}}", "integration_off", ""},
        {"{\"integrations\":{\"Fake\":\"\"}}", "integration_off", ""},
        {"{\"integrations\":{\"Fake\":1}}", NULL, ""},
        {"{\"integrations\":{\"Fake\":\"yes\"}}", NULL, ""},
        {"{\"integrations\":{\"Fake\":[]}}", NULL, ""},
        {"{\"integrations\":{\"F\\u0061ke\":false}}", "integration_off", ""},
        {"{\"integrations\":{\"Other\":false}}", NULL, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_event ev = event_with(rows[i].body);
        struct tg_str options;
        const char *why = tg_gate(&dest, &all, &ev, &options);
        if (!why != !rows[i].why || (why && strcmp(why, rows[i].why) != 0))
            fail_msg("%s: %s", rows[i].body, why ? why : "passes");
        if (!tg_str_is(options, rows[i].options))
            fail_msg("%s: options %.*s", rows[i].body, TG_STR_ARG(options));
    }
}

/* What the batch envelope said takes the place of the body's own. */
static void envelope_wins(void **state)
{
    (void)state;
    struct tg_event ev = event_with("{\"integrations\":{\"Fake\":true}}");
    struct tg_str options;
    ev.integrations = TG_STR("{\"All\":false}");
    assert_string_equal(tg_gate(&dest, &all, &ev, &options), "integration_off");
}

/* What was noted of the body's own on the way in counts, without looking at the body again; the envelope's
 * wins over it too. */
static void noted_before(void **state)
{
    (void)state;
    struct tg_event ev = event_with("{\"integrations\":{\"Fake\":false}}");
    struct tg_str options;
    ev.knows_integrations = true;
    assert_null(tg_gate(&dest, &all, &ev, &options));
    ev.body_integrations = TG_STR("{\"All\":false,\"Fake\":{\"id\":2}}");
    assert_null(tg_gate(&dest, &all, &ev, &options));
    assert_true(tg_str_is(options, "{\"id\":2}"));
    ev.body_integrations = TG_STR("{\"All\":false}");
    assert_string_equal(tg_gate(&dest, &all, &ev, &options), "integration_off");
    ev.integrations = TG_STR("{\"All\":true}");
    assert_null(tg_gate(&dest, &all, &ev, &options));
}

/* Types, sources, and what the page served itself. */
static void types_sources_bundled(void **state)
{
    (void)state;
    struct tg_event ev = event_with("{}");
    struct tg_str options;
    char *const some[] = {(char *)"app", (char *)"web"}, *const others[] = {(char *)"app"};
    assert_null(tg_gate(&dest, &(struct tg_gate_rules){some, 2, NULL, 0}, &ev, &options));
    assert_string_equal(tg_gate(&dest, &(struct tg_gate_rules){others, 1, NULL, 0}, &ev, &options),
                        "source_not_selected");
    ev.type = TG_IDENTIFY;
    assert_string_equal(tg_gate(&dest, &all, &ev, &options), "type_not_accepted");
    ev.type = TG_PAGE;
    ev.bundled = TG_STR("[\"Segment.io\",\"Fake\"]");
    assert_string_equal(tg_gate(&dest, &all, &ev, &options), "bundled");
    ev.bundled = TG_STR("[\"Segment.io\",1,null]");
    assert_null(tg_gate(&dest, &all, &ev, &options));
    ev.bundled = TG_STR("\"Fake\"");
    assert_null(tg_gate(&dest, &all, &ev, &options));
}

/* Consent is asked for where the event has preferences: every category of the destination must be true. It
 * comes before the integrations object, and counts for transparent destinations too. */
static void consent(void **state)
{
    static const struct {
        const char *context;
        bool good;
    } cases[] = {
        {"{}", true},
        {"{\"consent\":{}}", true},
        {"{\"consent\":null}", true},
        {"{\"consent\":{\"categoryPreferences\":null}}", true},
        {"{\"consent\":{\"categoryPreferences\":{}}}", false},
        {"{\"consent\":{\"categoryPreferences\":[]}}", false},
        {"{\"consent\":{\"categoryPreferences\":{\"ads\":true}}}", false},
        {"{\"consent\":{\"categoryPreferences\":{\"ads\":true,\"stats\":false}}}", false},
        {"{\"consent\":{\"categoryPreferences\":{\"ads\":true,\"stats\":\"true\"}}}", false},
        {"{\"consent\":{\"categoryPreferences\":{\"ads\":true,\"stats\":true,\"x\":false}}}", true},
        {"{\"c\\u006fnsent\":{\"categoryPreferences\":{\"ads\":false}}}", false},
    };
    char *const wanted[] = {(char *)"ads", (char *)"stats"};
    const struct tg_gate_rules rules = {NULL, 0, wanted, 2};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        struct tg_str options;
        snprintf(body, sizeof body, "{\"context\":%s,\"integrations\":{\"All\":true}}", cases[i].context);
        struct tg_event ev = event_with(body);
        const char *why = tg_gate(&dest, &rules, &ev, &options);
        assert_true(cases[i].good ? why == NULL : why && strcmp(why, "no_consent") == 0);
        assert_null(tg_gate(&dest, &all, &ev, &options));
        ev.body = TG_STR("{}"); /* what ingest merged into the context counts */
        ev.context = tg_str_of(cases[i].context);
        why = tg_gate(&dest, &rules, &ev, &options);
        assert_true(cases[i].good ? why == NULL : why && strcmp(why, "no_consent") == 0);
    }
    struct tg_dest through = dest;
    through.transparent = true;
    struct tg_str options;
    struct tg_event ev = event_with("{\"context\":{\"consent\":{\"categoryPreferences\":{}}}}");
    assert_string_equal(tg_gate(&through, &rules, &ev, &options), "no_consent");
}

/* A transparent destination leaves the integrations object to the next relay. */
static void transparent(void **state)
{
    (void)state;
    struct tg_dest through = dest;
    struct tg_event ev = event_with("{\"integrations\":{\"All\":false}}");
    struct tg_str options;
    through.transparent = true;
    assert_null(tg_gate(&through, &all, &ev, &options));
}

/* A filter table keeps an event back or prunes what the script sees; without one the event is as it was. */
static void filter_table(void **state)
{
    (void)state;
    static const struct {
        const char *table;
        const char *held, *body;
    } cases[] = {
        {NULL, NULL, "{\"properties\":{\"a\":1,\"b\":2}}"},
        {"{}", NULL, "{\"properties\":{\"a\":1,\"b\":2}}"},
        {"{\"drop\":[\"properties.a\"]}", NULL, "{\"properties\":{\"b\":2}}"},
        {"{\"events\":[\"Other\"]}", "filtered", NULL},
        {"{\"sample\":0}", "sampled", NULL},
    };
    struct tg_buf bytes = TG_BUF_INIT(4096);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_event ev = event_with("{\"properties\":{\"a\":1,\"b\":2}}"), shown;
        const char *held;
        assert_int_equal(tg_gate_filter(&dest, cases[i].table, &ev, 1, &bytes, &shown, &held, NULL), TG_OK);
        assert_true(!held == !cases[i].held && (!held || strcmp(held, cases[i].held) == 0));
        assert_true(held || tg_str_is(shown.body, cases[i].body));
    }
    tg_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integrations), cmocka_unit_test(envelope_wins),
        cmocka_unit_test(noted_before), cmocka_unit_test(types_sources_bundled),
        cmocka_unit_test(consent),      cmocka_unit_test(transparent),
        cmocka_unit_test(filter_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
