/* What fixtures cannot show of the shipped scripts, because a fixture is one event with settings that are
 * right: batches of several items, what is remembered from event to event, settings that are refused, and
 * modules of the library. The scripts are those of destinations/, with the real library. */
#include "base/clock.h"
#include "base/mem.h"
#include "script/folders.h"
#include "script/host.h"

#include "tg_test.h"

#include <stdio.h>

enum { MAX_REQUESTS = 8 };

struct bench {
    struct tg_script_source library, script;
    struct tg_host *host;
    struct tg_dest *dest;
    struct tg_problems problems;
    struct tg_request *requests[MAX_REQUESTS];
    unsigned n;
    char end_reason[128];
};

static int set_up(void **state)
{
    struct tg_err err;
    struct bench *b = tg_calloc(1, sizeof *b);
    assert_non_null(b);
    assert_int_equal(tg_script_library_find(NULL, &b->library, &err), TG_OK);
    struct tg_host_options o = {
        .library = b->library, .fixed_now = 1773480413589, .random_seed = 7, .soft_limit_us = 10000000};
    assert_int_equal(tg_host_new(&o, &b->host, &err), TG_OK);
    tg_problems_init(&b->problems);
    *state = b;
    return 0;
}

static void drop_requests(struct bench *b)
{
    for (unsigned i = 0; i < b->n; i++)
        tg_request_free(&b->requests[i]);
    b->n = 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    drop_requests(b);
    tg_dest_free(&b->dest);
    tg_host_free(&b->host);
    tg_script_source_free(&b->script);
    tg_script_source_free(&b->library);
    tg_problems_fini(&b->problems);
    tg_free(b);
    return 0;
}

static int load(struct bench *b, const char *script, const char *settings)
{
    struct tg_err err;
    tg_dest_free(&b->dest);
    tg_script_source_free(&b->script);
    b->script = (struct tg_script_source){0};
    assert_int_equal(tg_script_source_find(NULL, 0, script, &b->script, &err), TG_OK);
    struct tg_dest_spec spec = {script, "settings", tg_str_of(settings), &b->script, NULL, NULL};
    return tg_dest_load(b->host, &spec, &b->dest, &b->problems);
}

static void on_deliver(void *arg, struct tg_run *run, struct tg_request *request)
{
    struct bench *b = arg;
    (void)run;
    assert_true(b->n < MAX_REQUESTS);
    b->requests[b->n++] = request;
}

static void on_end(void *arg, struct tg_run *run, const struct tg_run_result *result)
{
    struct bench *b = arg;
    (void)run;
    (void)snprintf(b->end_reason, sizeof b->end_reason, "%s", result->reason ? result->reason : "");
}

static const struct tg_run_ops ops = {on_deliver, on_end};

static struct tg_event event_of(enum tg_event_type type, const char *user, const char *anonymous,
                                const char *body)
{
    return (struct tg_event){.type = type,
                             .source = TG_STR("web"),
                             .message_id = TG_STR("m-1"),
                             .user_id = tg_str_of(user),
                             .anonymous_id = tg_str_of(anonymous),
                             .received_at = 1773480413589,
                             .timestamp = 1773480413412,
                             .original_timestamp = TG_NO_TIME,
                             .sent_at = TG_NO_TIME,
                             .body = tg_str_of(body)};
}

static struct tg_run *start(struct bench *b, const struct tg_event *ev)
{
    struct tg_err err;
    struct tg_run *run;
    b->end_reason[0] = '\0';
    assert_int_equal(tg_run_start(b->dest, ev, 1, TG_STR(""), TG_STR(""), &ops, b, &run, &err), TG_OK);
    return run;
}

/* One event; what it delivers before the first answer is added to b->requests. */
static void send(struct bench *b, enum tg_event_type type, const char *user, const char *anonymous,
                 const char *body)
{
    struct tg_event ev = event_of(type, user, anonymous, body);
    struct tg_run *run = start(b, &ev);
    tg_run_free(&run);
}

static void identify(struct bench *b, const char *body)
{
    send(b, TG_IDENTIFY, "u", "", body);
}

static struct tg_request *join(struct bench *b)
{
    struct tg_err err = {0};
    struct tg_request *joined = NULL;
    assert_int_equal(tg_dest_join(b->dest, b->requests, b->n, &joined, &err), TG_OK);
    return joined;
}

static const char *header(const struct tg_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return "";
}

static const char EMARSYS[] =
    "{\"mode\":\"direct\",\"apiUser\":\"customer\",\"apiSecret\":\"s\",\"batchSize\":1000,"
    "\"contactListId\":\"77\",\"eventMapping\":{\"identify\":\"9\"}}";

/* Contacts of one batch go out as one list; those of one key are one contact, in which later values win. */
static void test_contacts_joined(void **state)
{
    struct bench *b = *state;
    assert_int_equal(load(b, "emarsys", EMARSYS), TG_OK);
    identify(b, "{\"traits\":{\"email\":\"ann@example.com\",\"firstName\":\"Anna\",\"lastName\":\"Lee\"}}");
    identify(b, "{\"traits\":{\"email\":\"ben@example.com\"}}");
    identify(b, "{\"traits\":{\"email\":\"ann@example.com\",\"firstName\":\"Ann\"}}");
    assert_int_equal(b->n, 3);
    assert_string_equal(b->requests[0]->key, "ann@example.com");
    assert_string_equal(b->requests[0]->rate, "requests");
    assert_string_equal(header(b->requests[0], "X-WSSE"), ""); /* or they would not be grouped */
    struct tg_request *r = join(b);
    assert_string_equal(r->method, "PUT");
    assert_string_equal(r->url, "https://api.emarsys.net/api/v2/contact/?create_if_not_exists=1");
    assert_string_equal(r->body, "{\"contact_list_id\":77,\"contacts\":["
                                 "{\"1\":\"Ann\",\"2\":\"Lee\",\"3\":\"ann@example.com\"},"
                                 "{\"3\":\"ben@example.com\"}],\"key_id\":\"3\"}");
    tg_request_free(&r);
}

/* Each attempt is signed by itself: no two have a nonce in common. */
static void test_signed_anew(void **state)
{
    struct bench *b = *state;
    assert_int_equal(load(b, "emarsys", EMARSYS), TG_OK);
    identify(b, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    struct tg_request *one = join(b), *two = join(b);
    const char *head = "UsernameToken Username=\"customer\", PasswordDigest=\"";
    assert_memory_equal(header(one, "X-WSSE"), head, strlen(head));
    assert_string_not_equal(header(one, "X-WSSE"), header(two, "X-WSSE"));
    tg_request_free(&one);
    tg_request_free(&two);
}

/* Triggers of one external event are a list; alone one has the short form (fixtures show it). */
static void test_triggers_joined(void **state)
{
    struct bench *b = *state;
    const struct tg_response ok = {.status = 200, .body = TG_STR("{\"replyCode\":0}")};
    assert_int_equal(load(b, "emarsys", EMARSYS), TG_OK);
    static const char *const mails[] = {"ann", "ben"};
    for (unsigned i = 0; i < 2; i++) {
        char body[100];
        (void)snprintf(body, sizeof body, "{\"traits\":{\"email\":\"%s@example.com\"}}", mails[i]);
        struct tg_event ev = event_of(TG_IDENTIFY, "u", "", body);
        struct tg_run *run = start(b, &ev);
        assert_int_equal(b->n, i + 1);
        tg_request_free(&b->requests[i]);
        b->n = i;
        tg_run_settle(run, 1, &ok);
        assert_int_equal(b->n, i + 1);
        tg_run_free(&run);
    }
    struct tg_request *r = join(b);
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->url, "https://api.emarsys.net/api/v2/event/9/trigger");
    assert_string_equal(
        r->body, "{\"contacts\":[{\"data\":{\"email\":\"ann@example.com\"},\"event_time\":\"2026-03-14T09:26:"
                 "53.412Z\","
                 "\"external_id\":\"ann@example.com\",\"trigger_id\":\"m-1\"},"
                 "{\"data\":{\"email\":\"ben@example.com\"},\"event_time\":\"2026-03-14T09:26:53.412Z\","
                 "\"external_id\":\"ben@example.com\",\"trigger_id\":\"m-1\"}],\"key_id\":\"3\"}");
    tg_request_free(&r);
}

/* Each contact of an answer is judged by itself, whatever the case of its key. */
static void test_contacts_split(void **state)
{
    struct bench *b = *state;
    struct tg_err err;
    struct tg_verdict each[3];
    const struct tg_response r = {
        .status = 200,
        .body =
            TG_STR("{\"replyCode\":0,\"replyText\":\"OK\",\"data\":{\"ids\":[\"1\"],\"errors\":{"
                   "\"ben@example.com\":{\"2010\":\"More contacts found\"},"
                   "\"cy@example.com\":{\"2009\":\"Contact with the external id already exists: 3\"}}}}")};
    assert_int_equal(load(b, "emarsys", EMARSYS), TG_OK);
    identify(b, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    identify(b, "{\"traits\":{\"email\":\"Ben@Example.com\"}}");
    identify(b, "{\"traits\":{\"email\":\"cy@example.com\"}}");
    assert_int_equal(tg_dest_split(b->dest, b->requests, 3, &r, each, &err), 1);
    assert_int_equal(each[0].outcome, TG_OUTCOME_OK);
    assert_int_equal(each[1].outcome, TG_OUTCOME_REJECT);
    assert_string_equal(each[1].reason, "emarsys_2010");
    assert_int_equal(each[2].outcome, TG_OUTCOME_RETRY);
    assert_string_equal(each[2].reason, "contact_is_being_created");
}

/* A call for several that failed as a whole is rejected but not split: the engine halves it until the bad
 * contact is alone, and that one gets the reason. */
static void test_whole_call_fails(void **state)
{
    struct bench *b = *state;
    struct tg_err err;
    struct tg_verdict each[2];
    const struct tg_response r = {
        .status = 200,
        .body = TG_STR("{\"replyCode\":2006,\"replyText\":\"Invalid field ID\",\"data\":\"\"}")};
    assert_int_equal(load(b, "emarsys", EMARSYS), TG_OK);
    identify(b, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    identify(b, "{\"traits\":{\"email\":\"ben@example.com\"}}");
    struct tg_request *joined = join(b);
    assert_int_equal(tg_dest_judge(b->dest, joined, &r, &each[0], &err), 1);
    assert_int_equal(each[0].outcome, TG_OUTCOME_REJECT);
    assert_string_equal(each[0].reason, "emarsys_2006");
    tg_request_free(&joined);
    assert_int_equal(tg_dest_split(b->dest, b->requests, 2, &r, each, &err), 0);
    assert_int_equal(tg_dest_split(b->dest, b->requests, 1, &r, each, &err), 1);
    assert_int_equal(each[0].outcome, TG_OUTCOME_REJECT);
    assert_string_equal(each[0].reason, "emarsys_2006");
}

/* With the cache, an event without a key takes that of its userId, else that of its anonymousId; without,
 * none. */
static void test_identity_cache(void **state)
{
    struct bench *b = *state;
    static const char settings[] =
        "{\"mode\":\"direct\",\"apiUser\":\"customer\",\"apiSecret\":\"s\",\"identityCache\":true}";
    assert_int_equal(load(b, "emarsys", settings), TG_OK);
    send(b, TG_PAGE, "", "a-1", "{\"properties\":{}}");
    assert_string_equal(b->end_reason, "no_primary_key");
    send(b, TG_IDENTIFY, "u-1", "a-1", "{\"traits\":{\"email\":\"ann@example.com\"}}");
    send(b, TG_IDENTIFY, "u-2", "a-2", "{\"traits\":{\"email\":\"ben@example.com\"}}");
    send(b, TG_PAGE, "", "a-1", "{\"properties\":{}}");
    send(b, TG_PAGE, "u-2", "a-1", "{\"properties\":{}}");
    send(b, TG_PAGE, "u-3", "a-1", "{\"properties\":{}}");
    static const char *const keys[] = {"ann@example.com", "ben@example.com", "ann@example.com",
                                       "ben@example.com", "ann@example.com"};
    assert_int_equal(b->n, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_string_equal(b->requests[i]->key, keys[i]);
    drop_requests(b);
    assert_int_equal(load(b, "emarsys", "{\"mode\":\"direct\",\"apiUser\":\"customer\",\"apiSecret\":\"s\"}"),
                     TG_OK);
    send(b, TG_IDENTIFY, "u-1", "a-1", "{\"traits\":{\"email\":\"ann@example.com\"}}");
    send(b, TG_PAGE, "u-1", "a-1", "{\"properties\":{}}");
    assert_int_equal(b->n, 1);
    assert_string_equal(b->end_reason, "no_primary_key");
}

/* A token of v3 is asked for once and serves until it ends. */
static void test_token_kept(void **state)
{
    struct bench *b = *state;
    static const char settings[] =
        "{\"mode\":\"direct\",\"apiVersion\":\"v3\",\"tokenUrl\":\"https://auth.example/t\","
        "\"clientId\":\"c\",\"clientSecret\":\"s\"}";
    const struct tg_response grant = {.status = 200,
                                      .body = TG_STR("{\"access_token\":\"jwt\",\"expires_in\":3600}")};
    struct tg_event ev = event_of(TG_IDENTIFY, "u", "", "{\"traits\":{\"email\":\"ann@example.com\"}}");
    assert_int_equal(load(b, "emarsys", settings), TG_OK);
    struct tg_run *run = start(b, &ev);
    assert_int_equal(b->n, 1);
    assert_string_equal(b->requests[0]->url, "https://auth.example/t");
    tg_run_settle(run, 1, &grant);
    tg_run_free(&run);
    identify(b, "{\"traits\":{\"email\":\"ben@example.com\"}}");
    assert_int_equal(b->n, 3);
    for (unsigned i = 1; i < 3; i++) {
        assert_string_equal(b->requests[i]->url,
                            "https://api.emarsys.net/api/v3/contact/?create_if_not_exists=1");
        assert_string_equal(header(b->requests[i], "Authorization"), "Bearer jwt");
    }
}

/* Settings that cannot work are refused, and the problem names the setting. */
static void test_settings_refused(void **state)
{
    struct bench *b = *state;
#define DIRECT "{\"mode\":\"direct\",\"apiUser\":\"u\",\"apiSecret\":\"s\","
    static const struct {
        const char *script, *settings, *path;
    } rows[] = {
        {"refersion", "{}", "settings.apiKey"},
        {"refersion", "{\"apiKey\":\"pub\"}", "settings.apiKey"},
        {"refersion", "{\"apiKey\":\" . sec\"}", "settings.apiKey"},
        {"refersion", "{\"apiKey\":\"pub. \"}", "settings.apiKey"},
        {"refersion", "{\"apiKey\":\"pub.s\\r\\nX: 1\"}", "settings.apiKey"},
        {"refersion", "{\"apiKey\":\"a.b\",\"mode\":\"forward\"}", "settings.endpoint"},
        {"refersion", "{\"apiKey\":\"a.b\",\"mode\":\"forward\",\"endpoint\":\"http://x.example/\"}",
         "settings.endpoint"},
        {"refersion", "{\"apiKey\":\"a.b\",\"deleteAction\":\"remove\"}", "settings.deleteAction"},
        {"refersion", "{\"apiKey\":\"a.b\",\"affiliateStatus\":\"active\"}", "settings.affiliateStatus"},
        {"extole", "{}", "settings.apiKey"},
        {"extole", "{\"apiKey\":\"a b\"}", "settings.apiKey"},
        {"extole", "{\"apiKey\":\"a\",\"mode\":\"forward\"}", "settings.endpoint"},
        {"extole", "{\"apiKey\":\"a\",\"eventMapping\":{\"E\":\"\"}}", "settings.eventMapping"},
        {"extole", "{\"apiKey\":\"a\",\"publicParameters\":\"both\"}", "settings.publicParameters"},
        {"emarsys", "{}", "settings.apiKey"},
        {"emarsys", "{\"apiKey\":\"k\"}", "settings.endpoint"},
        {"emarsys", "{\"mode\":\"direct\",\"apiUser\":\"u\"}", "settings.apiSecret"},
        {"emarsys", "{\"mode\":\"direct\",\"apiSecret\":\"s\"}", "settings.apiUser"},
        {"emarsys", "{\"mode\":\"direct\",\"apiUser\":\"u\\\"\",\"apiSecret\":\"s\"}", "settings.apiUser"},
        {"emarsys", "{\"mode\":\"direct\",\"apiVersion\":\"v3\",\"clientId\":\"c\",\"clientSecret\":\"s\"}",
         "settings.tokenUrl"},
        {"emarsys", DIRECT "\"keyField\":\"email\"}", "settings.keyField"},
        {"emarsys", DIRECT "\"fieldMapping\":{\"first\":\"traits.firstName\"}}", "settings.fieldMapping"},
        {"emarsys", DIRECT "\"fieldMapping\":{\"1\":\"\"}}", "settings.fieldMapping"},
        {"emarsys", DIRECT "\"eventMapping\":{\"E\":\"0\"}}", "settings.eventMapping"},
        {"emarsys", DIRECT "\"eventMapping\":{\"E\":\"12/../3\"}}", "settings.eventMapping"},
        {"emarsys", DIRECT "\"contactListId\":\"vip\"}", "settings.contactListId"},
        {"emarsys", DIRECT "\"userIdField\":\"x\"}", "settings.userIdField"},
        {"emarsys", DIRECT "\"batchSize\":1001}", "settings.batchSize"},
        {"emarsys", DIRECT "\"batchSize\":0}", "settings.batchSize"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(load(b, rows[i].script, rows[i].settings), TG_INVALID);
        assert_int_equal(b->problems.n, 1);
        assert_string_equal(b->problems.items[0].path, rows[i].path);
        tg_problems_fini(&b->problems);
        tg_problems_init(&b->problems);
    }
}

/* Countries as people write them. */
static void test_countries(void **state)
{
    struct bench *b = *state;
    static const char script[] = "local t, country = require 'tidegate', require 'tidegate.country' "
                                 "return { name = 'T', on = { track = function(event) "
                                 "t.skip(country.code(event.properties.c) or 'none') end } }";
    static const struct {
        const char *name, *code;
    } rows[] = {
        {"\"us\"", "US"},
        {"\"USA\"", "US"},
        {"\" U.S. \"", "US"},
        {"\"United States of America\"", "US"},
        {"\"uk\"", "GB"},
        {"\"Great Britain\"", "GB"},
        {"\"The Netherlands\"", "NL"},
        {"\"St. Kitts & Nevis\"", "KN"},
        {"\"C\xc3\xb4te d\xe2\x80\x99Ivoire\"", "CI"},
        {"\"CURA\xc3\x87"
         "AO\"",
         "CW"},
        {"\"Sao Tome and Principe\"", "ST"},
        {"\"T\xc3\xbcrkiye\"", "TR"},
        {"\"Guinea-Bissau\"", "GW"},
        {"\"deu\"", "DE"},
        {"\"Middle-earth\"", "none"},
        {"\"\"", "none"},
        {"\"u\"", "none"},
        {"276", "none"},
        {"[\"US\"]", "none"},
    };
    struct tg_script_file file = {"init.lua", "t/init.lua", TG_STR(script)};
    struct tg_script_source source = {"t", &file, 1};
    struct tg_dest_spec spec = {"t", "settings", TG_STR(""), &source, NULL, NULL};
    assert_int_equal(tg_dest_load(b->host, &spec, &b->dest, &b->problems), TG_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[200];
        (void)snprintf(body, sizeof body, "{\"properties\":{\"c\":%s}}", rows[i].name);
        send(b, TG_TRACK, "u", "", body);
        assert_string_equal(b->end_reason, rows[i].code);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_contacts_joined), CASE(test_signed_anew),      CASE(test_triggers_joined),
        CASE(test_contacts_split),  CASE(test_whole_call_fails), CASE(test_identity_cache),
        CASE(test_token_kept),      CASE(test_settings_refused), CASE(test_countries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
