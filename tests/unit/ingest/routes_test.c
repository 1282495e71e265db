#include "tg_test.h"

#include "ingest/routes.h"

/* Each path means one thing, and paths that only look alike mean nothing. */
static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum tg_route_kind kind;
        enum tg_event_type type;
        const char *key;
    } cases[] = {
        {"/v1/delete", TG_ROUTE_EVENT, TG_DELETE, ""},
        {"/v1/merge", TG_ROUTE_MERGE, TG_TRACK, ""},
        {"/v1/m", TG_ROUTE_METRICS, TG_TRACK, ""},
        {"/m", TG_ROUTE_METRICS, TG_TRACK, ""},
        {"/v1/pixel/identify", TG_ROUTE_PIXEL, TG_IDENTIFY, ""},
        {"/pixel/v1/track", TG_ROUTE_PIXEL, TG_TRACK, ""},
        {"/pixel/page", TG_ROUTE_PIXEL, TG_PAGE, ""},
        {"/api/px/group/", TG_ROUTE_PIXEL, TG_GROUP, ""},
        {"/api/s/s2s/batch", TG_ROUTE_BATCH, TG_TRACK, ""},
        {"/api/s/alias", TG_ROUTE_EVENT, TG_ALIAS, ""},
        {"/beacon/v1/batch", TG_ROUTE_BATCH, TG_TRACK, ""},
        {"/v1/batch/b", TG_ROUTE_BATCH, TG_TRACK, ""},
        {"/v1/projects/WK/settings", TG_ROUTE_SETTINGS, TG_TRACK, "WK"},
        {"/projects/WK/settings/", TG_ROUTE_SETTINGS, TG_TRACK, "WK"},
        {"/v1/projects/projects/WK/settings", TG_ROUTE_SETTINGS, TG_TRACK, "WK"},
        {"/v1/projects/projects/settings", TG_ROUTE_SETTINGS, TG_TRACK, "projects"},
        {"/analytics.js/v1/WK/analytics.min.js", TG_ROUTE_BROWSER_SCRIPT, TG_TRACK, "WK"},
        {"/analytics.js/v1/analytics.min.js", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/analytics.js/v1/WK/other.js", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/analytics.js/WK/analytics.min.js", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/WK/analytics.min.js", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/sourceConfig", TG_ROUTE_SOURCE_CONFIG, TG_TRACK, ""},
        {"/sourceConfig/", TG_ROUTE_SOURCE_CONFIG, TG_TRACK, ""},
        {"/health", TG_ROUTE_HEALTH, TG_TRACK, ""},
        {"", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/", TG_ROUTE_NONE, TG_TRACK, ""},
        {"//", TG_ROUTE_NONE, TG_TRACK, ""},
        {"*", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1//t", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/t//", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/tracks", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/Track", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v2/track", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/v1/track", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/t/t", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/track/track", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/api/track", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/api/s/t", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/beacon/batch", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/pixel/screen", TG_ROUTE_PIXEL, TG_SCREEN, ""},
        {"/v1/pixel/alias", TG_ROUTE_PIXEL, TG_ALIAS, ""},
        {"/v1/projects/WK", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/v1/projects/WK/other", TG_ROUTE_NONE, TG_TRACK, ""},
        {"/a/b/c/d/e/f/g/h", TG_ROUTE_NONE, TG_TRACK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_route r = tg_route_find(tg_str_of(cases[i].path));
        if (r.kind != cases[i].kind || r.type != cases[i].type)
            fail_msg("%s: %d %d", cases[i].path, (int)r.kind, (int)r.type);
        assert_str(r.write_key, cases[i].key);
    }
}

/* Only pixels of events are such; under the others a page finds its picture and nothing else. */
static void unknown_pixels(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/pixel/delete", "/v1/pixel/batch", "/v1/pixel/t",
                                        "/v1/pixel",        "/pixel/v1/merge", "/api/px/nosuch",
                                        "/v1/pixel/track/x"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct tg_route r = tg_route_find(tg_str_of(paths[i]));
        if (r.kind != TG_ROUTE_PIXEL || !r.unknown)
            fail_msg("%s", paths[i]);
    }
    assert_false(tg_route_find(TG_STR("/v1/pixel/track")).unknown);
}

/* OPTIONS goes everywhere, HEAD with GET. */
static void methods(void **state)
{
    (void)state;
    for (int kind = TG_ROUTE_EVENT; kind <= TG_ROUTE_HEALTH; kind++) {
        enum tg_route_kind k = (enum tg_route_kind)kind;
        assert_true(tg_route_allows(k, TG_HTTP_OPTIONS));
        assert_false(tg_route_allows(k, TG_HTTP_OTHER));
        assert_int_equal(tg_route_allows(k, TG_HTTP_GET), tg_route_allows(k, TG_HTTP_HEAD));
        assert_true(tg_route_allows(k, TG_HTTP_GET) != tg_route_allows(k, TG_HTTP_POST));
    }
    assert_string_equal(tg_route_allow(TG_ROUTE_BATCH), "POST, OPTIONS");
    assert_string_equal(tg_route_allow(TG_ROUTE_PIXEL), "GET, HEAD, OPTIONS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(unknown_pixels),
                                       cmocka_unit_test(methods)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
