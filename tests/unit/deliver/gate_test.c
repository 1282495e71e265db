#include "deliver/gate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct tg_dest dest = {.integration = (char *)"Fake", .accepts = 1u << TG_TRACK | 1u << TG_PAGE};

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
        const char *why = tg_gate(&dest, NULL, 0, &ev, &options);
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
    assert_string_equal(tg_gate(&dest, NULL, 0, &ev, &options), "integration_off");
}

/* Types, sources, and what the page served itself. */
static void types_sources_bundled(void **state)
{
    (void)state;
    struct tg_event ev = event_with("{}");
    struct tg_str options;
    char *const some[] = {(char *)"app", (char *)"web"}, *const others[] = {(char *)"app"};
    assert_null(tg_gate(&dest, some, 2, &ev, &options));
    assert_string_equal(tg_gate(&dest, others, 1, &ev, &options), "source_not_selected");
    ev.type = TG_IDENTIFY;
    assert_string_equal(tg_gate(&dest, NULL, 0, &ev, &options), "type_not_accepted");
    ev.type = TG_PAGE;
    ev.bundled = TG_STR("[\"Segment.io\",\"Fake\"]");
    assert_string_equal(tg_gate(&dest, NULL, 0, &ev, &options), "bundled");
    ev.bundled = TG_STR("[\"Segment.io\",1,null]");
    assert_null(tg_gate(&dest, NULL, 0, &ev, &options));
    ev.bundled = TG_STR("\"Fake\"");
    assert_null(tg_gate(&dest, NULL, 0, &ev, &options));
}

/* A transparent destination leaves the integrations object to the next relay. */
static void transparent(void **state)
{
    (void)state;
    struct tg_dest through = dest;
    struct tg_event ev = event_with("{\"integrations\":{\"All\":false}}");
    struct tg_str options;
    through.transparent = true;
    assert_null(tg_gate(&through, NULL, 0, &ev, &options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integrations),
        cmocka_unit_test(envelope_wins),
        cmocka_unit_test(types_sources_bundled),
        cmocka_unit_test(transparent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
