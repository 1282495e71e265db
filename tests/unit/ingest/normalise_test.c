#include "ingest/normalise.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* 2026-01-02T03:04:06.000Z */
static const int64_t now = INT64_C(1767323046000);

enum flags { BATCH = 1, BROWSER = 2, TRUSTED = 4, IP = 8, DELETE = 16, SENT_AT_HEADER = 32, AGENT = 64 };

struct row {
    const char *sentence;
    unsigned flags;
    enum tg_event_type route; /* not BATCH */
    const char *body;
    const char *want; /* as render() prints it */
};

/* --- printing results --- */

static void print(struct tg_buf *out, const char *label, struct tg_str s)
{
    if (s.n)
        assert_int_equal(tg_buf_printf(out, " %s=%.*s", label, TG_STR_ARG(s)), TG_OK);
}

static void print_time(struct tg_buf *out, const char *label, int64_t ms, int64_t usual)
{
    char text[TG_TIME_LEN + 1];
    if (ms == usual)
        return;
    tg_time_format(ms, text);
    print(out, label, tg_str_of(text));
}

/* A generated message id is not in the body; it prints as "(new)". */
static void print_id(struct tg_buf *out, const struct tg_event *ev)
{
    bool uuid = ev->message_id.n == 36 && ev->message_id.p[14] == '4';
    bool sent = memmem(ev->body.p, ev->body.n, ev->message_id.p, ev->message_id.n) != NULL;
    print(out, "id", uuid && !sent ? TG_STR("(new)") : ev->message_id);
}

static void print_event(struct tg_buf *out, const struct tg_event *ev)
{
    assert_int_equal(tg_buf_adds(out, tg_event_type_name(ev->type)), TG_OK);
    print_id(out, ev);
    print(out, "user", ev->user_id);
    print(out, "anon", ev->anonymous_id);
    print(out, "name", ev->name);
    print_time(out, "time", ev->timestamp, now);
    print_time(out, "orig", ev->original_timestamp, TG_NO_TIME);
    print_time(out, "sent", ev->sent_at, TG_NO_TIME);
    print_time(out, "recv", ev->received_at, now);
    print(out, "context", ev->context);
    print(out, "integrations", ev->integrations);
    print(out, "bundled", ev->bundled);
    assert_int_equal(tg_buf_adds(out, "\n"), TG_OK);
}

static void render(struct tg_buf *out, const struct tg_items *items)
{
    for (size_t i = 0; i < items->n_events; i++)
        print_event(out, &items->events[i]);
    for (size_t i = 0; i < items->n_bad; i++) {
        assert_int_equal(tg_buf_printf(out, "BAD %.*s", TG_STR_ARG(items->bad[i].reason)), TG_OK);
        print(out, "id", items->bad[i].message_id);
        const char *colon = memchr(items->bad[i].detail.p, ':', items->bad[i].detail.n);
        assert_non_null(colon);
        print(out, "at", tg_str_n(items->bad[i].detail.p, (size_t)(colon - items->bad[i].detail.p)));
        assert_int_equal(tg_buf_adds(out, "\n"), TG_OK);
    }
    if (items->merges)
        assert_int_equal(tg_buf_printf(out, "merges=%zu\n", items->merges), TG_OK);
}

/* --- running --- */

static struct tg_normalise_in input(unsigned flags, enum tg_event_type route)
{
    return (struct tg_normalise_in){
        .batch = flags & BATCH,
        .route_type = route,
        .source = TG_STR("web"),
        .received_at = now,
        .trusted = flags & TRUSTED,
        .record_ip = flags & IP,
        .browser = flags & BROWSER,
        .allow_delete = flags & DELETE,
        .client_ip = TG_STR("192.0.2.9"),
        .user_agent = flags & AGENT ? TG_STR("Mo\"z\xff") : TG_STR(""),
        .sent_at_header = flags & SENT_AT_HEADER ? TG_STR("2026-01-02T03:04:05.000Z") : TG_STR(""),
        .max_event_bytes = 2000,
        .max_items = 20,
        .max_total_bytes = 20000,
    };
}

static int run(struct tg_normalise_in *in, const char *text, struct tg_items *items,
               struct tg_request_fault *fault)
{
    int rc = tg_body_parse(tg_str_of(text), 64, &in->body, fault);
    return rc ? rc : tg_normalise(in, items, fault);
}

static void check_row(const struct row *row)
{
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    struct tg_normalise_in in = input(row->flags, row->route);
    if (run(&in, row->body, &items, &fault))
        fail_msg("%s\n%s: %s", row->sentence, fault.code, fault.err.msg);
    struct tg_buf out = TG_BUF_INIT(1 << 16);
    render(&out, &items);
    if (!tg_str_is(tg_buf_str(&out), row->want))
        fail_msg("%s\nbody %s\ngot\n%.*swant\n%s", row->sentence, row->body, TG_STR_ARG(tg_buf_str(&out)),
                 row->want);
    for (size_t i = 0; i < items.n_events; i++) {
        const struct tg_event *ev = &items.events[i];
        assert_true(tg_str_is(ev->source, "web"));
        struct tg_str own = tg_json_get(ev->body, "integrations");
        assert_true(ev->knows_integrations);
        assert_true(!ev->body_integrations.n || ev->body_integrations.p == own.p);
        assert_int_equal(ev->body_integrations.n != 0, own.n && tg_json_type(own) == TG_JSON_OBJECT);
        struct tg_str texts[] = {ev->context, ev->integrations, ev->bundled};
        for (size_t k = 0; k < COUNT(texts); k++)
            assert_true(!texts[k].n || !tg_json_validate(texts[k], TG_JSON_MAX_DEPTH, NULL, NULL));
    }
    tg_buf_fini(&out);
    tg_items_fini(&items);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_row(&rows[i]);
}

#define T(members)   "{\"type\":\"track\",\"event\":\"E\",\"messageId\":\"m\",\"userId\":\"u\"" members "}"
#define ONE(members) "{\"batch\":[" T(members) "]}"
#define E            "track id=m user=u name=E"
#define ID           ",\"messageId\":\"m\""

/* --- what SDKs send --- */

/* clang-format off */
static const struct row sdk_rows[] = {
    {"Segment Node: a batch with the time of sending in the envelope", BATCH, 0,
     "{\"batch\":[{\"timestamp\":\"2026-01-02T03:04:05.536Z\",\"integrations\":{\"All\":true},\"type\":\"identify\","
     "\"userId\":\"user-0\",\"traits\":{\"email\":\"user-0@example.test\",\"plan\":\"pro\",\"na\xc3\xafve key\":"
     "\"\xc5\xbelu\xc5\xa5ou\xc4\x8dk\xc3\xbd \xf0\x9f\x98\x80\"},\"context\":{\"ip\":\"203.0.113.7\",\"library\":"
     "{\"name\":\"@segment/analytics-node\",\"version\":\"3.1.0\"}},\"messageId\":"
     "\"node-next-1795307024536-d2523335-0b7c-4226-a1ec-293e85b38e6a\",\"_metadata\":{\"nodeVersion\":\"v20.20.2\","
     "\"jsRuntime\":\"node\"}}],\"writeKey\":\"WK\",\"sentAt\":\"2026-01-02T03:04:05.783Z\"}",
     "identify id=node-next-1795307024536-d2523335-0b7c-4226-a1ec-293e85b38e6a user=user-0 "
     "time=2026-01-02T03:04:05.753Z orig=2026-01-02T03:04:05.536Z sent=2026-01-02T03:04:05.783Z\n"},
    {"legacy Node: long message id, a timestamp in the envelope that says nothing of the items", BATCH, 0,
     "{\"batch\":[{\"userId\":\"u\",\"event\":\"E\",\"type\":\"track\",\"context\":{\"library\":{}},"
     "\"timestamp\":\"2026-01-02T03:04:05.000Z\",\"messageId\":"
     "\"node-0123456789abcdef0123456789abcdef-d2523335-0b7c-4226-a1ec-293e85b38e6a\",\"_metadata\":{}}],"
     "\"timestamp\":\"2020-01-01T00:00:00.000Z\",\"sentAt\":\"2026-01-02T03:04:06.000Z\"}",
     "track id=node-0123456789abcdef0123456789abcdef-d2523335-0b7c-4226-a1ec-293e85b38e6a user=u name=E "
     "time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z sent=2026-01-02T03:04:06.000Z\n"},
    {"RudderStack Node: originalTimestamp and no timestamp, sentAt in item and envelope", BATCH, 0,
     "{\"batch\":[{\"type\":\"screen\",\"name\":\"Home\",\"userId\":\"u\",\"channel\":\"server\",\"messageId\":"
     "\"d2523335-0b7c-4226-a1ec-293e85b38e6a\",\"originalTimestamp\":\"2026-01-02T03:04:00.000Z\",\"sentAt\":"
     "\"2026-01-02T03:04:02.000Z\"}],\"sentAt\":\"2026-01-02T03:04:03.000Z\"}",
     "screen id=d2523335-0b7c-4226-a1ec-293e85b38e6a user=u name=Home time=2026-01-02T03:04:04.000Z "
     "orig=2026-01-02T03:04:00.000Z sent=2026-01-02T03:04:02.000Z\n"},
    {"Customer.io Node: no sentAt anywhere, so the original time stays", BATCH, 0,
     "{\"batch\":[{\"timestamp\":\"2026-01-02T03:04:00.000Z\",\"type\":\"track\",\"event\":\"E\",\"messageId\":\"m\","
     "\"anonymousId\":\"a\"}]}",
     "track id=m anon=a name=E time=2026-01-02T03:04:00.000Z orig=2026-01-02T03:04:00.000Z\n"},
    {"Segment browser: one event, type in the body too, bundled destinations kept", BROWSER, TG_PAGE,
     "{\"timestamp\":\"2026-01-02T03:04:05.000Z\",\"integrations\":{\"Segment.io\":true,\"All\":true},\"type\":\"page\","
     "\"name\":\"Home\",\"properties\":{\"name\":\"Home\"},\"context\":{\"userAgent\":\"x\"},\"messageId\":\"m\","
     "\"anonymousId\":\"c44de0bb\",\"writeKey\":\"WK\",\"sentAt\":\"2026-01-02T03:04:05.500Z\","
     "\"_metadata\":{\"bundled\":[\"Segment.io\"],\"unbundled\":[],\"bundledIds\":[]}}",
     "page id=m anon=c44de0bb name=Home time=2026-01-02T03:04:05.500Z orig=2026-01-02T03:04:05.000Z "
     "sent=2026-01-02T03:04:05.500Z bundled=[\"Segment.io\"]\n"},
    {"Segment browser, batching: write key first, items without sentAt", BATCH | BROWSER, 0,
     "{\"writeKey\":\"WK\",\"batch\":[" T(",\"timestamp\":\"2026-01-02T03:04:05.000Z\"") "],\"sentAt\":"
     "\"2026-01-02T03:04:06.000Z\"}",
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z sent=2026-01-02T03:04:06.000Z\n"},
    {"RudderStack browser: sentAt in a header", BROWSER | SENT_AT_HEADER, TG_TRACK,
     T(",\"originalTimestamp\":\"2026-01-02T03:04:04.000Z\""),
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:04.000Z sent=2026-01-02T03:04:05.000Z\n"},
    {"Jitsu: short id, masked key, group with a context of its own", 0, TG_GROUP,
     "{\"type\":\"group\",\"groupId\":\"g\",\"anonymousId\":\"a\",\"messageId\":\"1d5gx8wnx8dj3h8j0wm8m\","
     "\"writeKey\":\"key:***\",\"context\":{\"library\":{}}}",
     "group id=1d5gx8wnx8dj3h8j0wm8m anon=a name=g\n"},
    {"Python: null for what is not set, microseconds, escaped surrogate pairs, the key last", BATCH, 0,
     "{\"batch\":[{\"integrations\":{},\"anonymousId\":null,\"context\":{},\"properties\":{\"e\":\"\\ud83d\\ude00\"},"
     "\"timestamp\":\"2026-01-02T03:04:05.315749+00:00\",\"type\":\"track\",\"event\":\"\\ud83d\\ude00\",\"userId\":"
     "\"\\u017elut\\u00fd\",\"messageId\":\"m\"}],\"sentAt\":\"2026-01-02T03:04:06.000000+00:00\",\"writeKey\":\"WK\"}",
     "track id=m user=\xc5\xbelut\xc3\xbd name=\xf0\x9f\x98\x80 time=2026-01-02T03:04:05.315Z "
     "orig=2026-01-02T03:04:05.315Z sent=2026-01-02T03:04:06.000Z\n"},
    {"Ruby: sentAt first, an offset in the times", BATCH, 0,
     "{\"sentAt\":\"2026-01-02T03:04:06.000+00:00\",\"batch\":[" T(",\"timestamp\":\"2026-01-02T05:04:05+02:00\"") "]}",
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z sent=2026-01-02T03:04:06.000Z\n"},
    {"PHP: empty maps as []", BATCH, 0, ONE(",\"context\":[],\"integrations\":[],\"properties\":[ ],\"traits\":[]"),
     E "\n"},
    {"Go: library context in the envelope, none in the items, a message id of the batch", BATCH, 0,
     "{\"messageId\":\"b\",\"batch\":[" T("") "," T("") "],\"context\":{\"library\":{\"name\":\"analytics-go\"}}}",
     E " context={\"library\":{\"name\":\"analytics-go\"}}\n" E " context={\"library\":{\"name\":\"analytics-go\"}}\n"},
    {"Go's envelope: its context lies under the items' own, its messageId and type are nobody's", BATCH, 0,
     "{\"messageId\":\"b\",\"type\":\"page\",\"timestamp\":\"2020-01-01T00:00:00Z\",\"userId\":\"x\",\"batch\":["
     T(",\"context\":{\"library\":{\"name\":\"own\"}}") "],\"context\":{\"library\":{\"name\":\"analytics-go\"},\"app\":1}}",
     E " context={\"library\":{\"name\":\"own\"},\"app\":1}\n"},
    {"RudderStack: traits copied into the context, an empty anonymousId, merge beside them", BATCH, 0,
     "{\"batch\":[{\"type\":\"identify\",\"userId\":\"u\",\"anonymousId\":\"\",\"messageId\":\"m\",\"traits\":{\"a\":1},"
     "\"context\":{\"traits\":{\"a\":1}}},{\"type\":\"merge\",\"mergeProperties\":[]}]}",
     "identify id=m user=u\nmerges=1\n"},
    {"a browser's alias: previousId from the anonymous id", BATCH | BROWSER, 0,
     "{\"batch\":[{\"type\":\"alias\",\"userId\":\"u\",\"previousId\":\"c44de0bb\",\"messageId\":\"m\"}]}", "alias id=m user=u\n"},
    {"Engage: a track call of an audience, a computed trait of an account", BATCH, 0,
     "{\"batch\":[{\"type\":\"track\",\"event\":\"Audience Entered\",\"userId\":\"u\",\"messageId\":\"m\","
     "\"properties\":{\"audience_key\":\"k\",\"k\":true}},{\"type\":\"group\",\"groupId\":\"g\",\"userId\":\"u\","
     "\"messageId\":\"n\",\"traits\":{\"j_o_1\":3}}]}",
     "track id=m user=u name=Audience Entered\ngroup id=n user=u name=g\n"},
    {"Engage: an audience as identify without anonymousId, integrations All false", BATCH, 0,
     "{\"batch\":[{\"type\":\"identify\",\"userId\":\"u\",\"messageId\":\"m\",\"traits\":{\"big_spenders\":true},"
     "\"context\":{\"personas\":{\"computation_class\":\"audience\"}},\"integrations\":{\"All\":false,\"X\":true}}]}",
     "identify id=m user=u\n"},
};

/* --- types and required fields --- */

static const struct row field_rows[] = {
    {"the path decides the type, whatever the body says", 0, TG_TRACK,
     "{\"type\":\"page\",\"event\":\"E\",\"userId\":\"u\"" ID "}", E "\n"},
    {"the path decides even over nonsense", 0, TG_IDENTIFY, "{\"type\":[7],\"userId\":\"u\"" ID "}",
     "identify id=m user=u\n"},
    {"the path decides even over merge", 0, TG_IDENTIFY, "{\"type\":\"merge\",\"userId\":\"u\"" ID "}",
     "identify id=m user=u\n"},
    {"a single call with a bad event is a batch of one: set aside", 0, TG_TRACK, "{\"userId\":\"u\"" ID "}",
     "BAD missing_event id=m at=event.event\n"},
    {"merge is counted and dropped, its neighbours stay", BATCH, 0,
     "{\"batch\":[{\"type\":\"merge\"}," T("") ",{\"type\":\"merge\"}]}", E "\nmerges=2\n"},
    {"every type, each with what it needs", BATCH | DELETE, 0,
     "{\"batch\":["
     "{\"type\":\"track\",\"event\":\"E\",\"anonymousId\":\"a\"" ID "},{\"type\":\"identify\",\"userId\":\"u\"" ID "},"
     "{\"type\":\"page\",\"anonymousId\":\"a\"" ID "},{\"type\":\"screen\",\"name\":\"S\",\"userId\":\"u\"" ID "},"
     "{\"type\":\"group\",\"groupId\":\"g\",\"userId\":\"u\"" ID "},"
     "{\"type\":\"alias\",\"previousId\":\"p\",\"userId\":\"u\"" ID "},{\"type\":\"delete\",\"userId\":\"u\"" ID "}]}",
     "track id=m anon=a name=E\nidentify id=m user=u\npage id=m anon=a\nscreen id=m user=u name=S\n"
     "group id=m user=u name=g\nalias id=m user=u\ndelete id=m user=u\n"},
    {"a bad item does not touch the good ones, and is named by its place", BATCH, 0,
     "{\"batch\":[" T("") ",5,{\"type\":\"track\",\"userId\":\"u\"}," T("") ",null,\"x\",[]]}",
     E "\n" E "\nBAD not_an_object at=batch[1]\nBAD missing_event at=batch[2].event\n"
     "BAD not_an_object at=batch[4]\nBAD not_an_object at=batch[5]\nBAD not_an_object at=batch[6]\n"},
    {"of two batches the last one counts", BATCH, 0,
     "{\"batch\":[" T("") ",5,{\"type\":\"merge\"}],\"batch\" : [ " T("") " ] }", E "\n"},
    {"an empty batch is fine", BATCH, 0, "{\"batch\":[]}", ""},
    {"an item needs a type that we know", BATCH, 0,
     "{\"batch\":[{\"userId\":\"u\"},{\"type\":null},{\"type\":\"\"},{\"type\":\"video\"" ID "},{\"type\":\"Track\"},"
     "{\"type\":5},{\"type\":{}}]}",
     "BAD missing_type at=batch[0].type\nBAD missing_type at=batch[1].type\nBAD missing_type at=batch[2].type\n"
     "BAD invalid_type id=m at=batch[3].type\nBAD invalid_type at=batch[4].type\nBAD invalid_type at=batch[5].type\n"
     "BAD invalid_type at=batch[6].type\n"},
    {"a type or key written with escapes is the same one", BATCH, 0,
     "{\"batch\":[{\"type\":\"tr\\u0061ck\",\"\\u0065vent\":\"E\",\"userId\":\"u\"" ID "}]}", E "\n"},
    {"track needs a name: null, \"\" and objects are none", BATCH, 0,
     "{\"batch\":[{\"type\":\"track\",\"userId\":\"u\",\"event\":null},{\"type\":\"track\",\"userId\":\"u\",\"event\":\"\"},"
     "{\"type\":\"track\",\"userId\":\"u\",\"event\":{}}]}",
     "BAD missing_event at=batch[0].event\nBAD missing_event at=batch[1].event\nBAD missing_event at=batch[2].event\n"},
    {"group needs groupId", BATCH, 0, "{\"batch\":[{\"type\":\"group\",\"userId\":\"u\"}]}",
     "BAD missing_group_id at=batch[0].groupId\n"},
    {"alias needs previousId and userId, an anonymousId does not do", BATCH, 0,
     "{\"batch\":[{\"type\":\"alias\",\"userId\":\"u\"},{\"type\":\"alias\",\"previousId\":\"p\",\"anonymousId\":\"a\"}]}",
     "BAD missing_previous_id at=batch[0].previousId\nBAD missing_user_id at=batch[1].userId\n"},
    {"all others need one of userId and anonymousId; null, missing and \"\" are alike", BATCH, 0,
     "{\"batch\":[{\"type\":\"identify\"},{\"type\":\"page\",\"userId\":null,\"anonymousId\":\"\"},"
     "{\"type\":\"screen\",\"userId\":\"\"},{\"type\":\"group\",\"groupId\":\"g\"},{\"type\":\"track\",\"event\":\"E\"}]}",
     "BAD missing_user_id at=batch[0].userId\nBAD missing_user_id at=batch[1].userId\n"
     "BAD missing_user_id at=batch[2].userId\nBAD missing_user_id at=batch[3].userId\n"
     "BAD missing_user_id at=batch[4].userId\n"},
    {"an id of a strange type is none, the other one carries the event", BATCH, 0,
     "{\"batch\":[{\"type\":\"identify\",\"userId\":{},\"anonymousId\":\"a\"" ID "},{\"type\":\"identify\",\"userId\":true}]}",
     "identify id=m anon=a\nBAD missing_user_id at=batch[1].userId\n"},
    {"numbers are ids: integers keep their digits, others read as JavaScript prints them", BATCH, 0,
     "{\"batch\":[{\"type\":\"group\",\"groupId\":12345678901234567890,\"userId\":42,\"anonymousId\":-7,\"messageId\":99},"
     "{\"type\":\"group\",\"groupId\":1.50,\"userId\":1e3,\"anonymousId\":0" ID "}]}",
     "group id=99 user=42 anon=-7 name=12345678901234567890\ngroup id=m user=1000 anon=0 name=1.5\n"},
    {"of a member that stands twice the last one counts", BATCH, 0,
     "{\"batch\":[{\"type\":\"page\",\"type\":\"track\",\"event\":\"A\",\"event\":\"E\",\"userId\":\"u\"" ID "}]}", E "\n"},
    {"a message id is made when it is missing, null, \"\" or neither string nor number", BATCH, 0,
     "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"},{\"type\":\"page\",\"userId\":\"u\",\"messageId\":null},"
     "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"\"},{\"type\":\"page\",\"userId\":\"u\",\"messageId\":{}}]}",
     "page id=(new) user=u\npage id=(new) user=u\npage id=(new) user=u\npage id=(new) user=u\n"},
    {"delete is for sources that may", BATCH, 0, "{\"batch\":[{\"type\":\"delete\",\"userId\":\"u\"" ID "}]}",
     "BAD delete_not_allowed id=m at=batch[0].type\n"},
    {"delete is never for browsers", BATCH | DELETE | BROWSER, 0, "{\"batch\":[{\"type\":\"delete\",\"userId\":\"u\"}]}",
     "BAD delete_not_allowed at=batch[0].type\n"},
    {"delete needs userId", DELETE, TG_DELETE, "{\"anonymousId\":\"a\"}", "BAD missing_user_id at=event.userId\n"},
    {"delete as Segment sends it to partners", DELETE, TG_DELETE,
     "{\"type\":\"delete\",\"channel\":\"server\",\"messageId\":\"delete-1\",\"projectId\":\"p\",\"userId\":\"u\","
     "\"context\":[],\"integrations\":[],\"email\":\"e@example.test\"}", "delete id=delete-1 user=u\n"},
    {"null and \"\" where an object is meant are nothing", BATCH, 0,
     ONE(",\"context\":null,\"integrations\":\"\",\"properties\":null,\"traits\":\"\""), E "\n"},
    {"what cannot be read as an object is set aside", BATCH, 0,
     "{\"batch\":[" T(",\"context\":1") "," T(",\"integrations\":[\"X\"]") "," T(",\"properties\":\"x\"") ","
     T(",\"traits\":false") "," T(",\"properties\":[0]") "]}",
     "BAD invalid_context id=m at=batch[0].context\nBAD invalid_integrations id=m at=batch[1].integrations\n"
     "BAD invalid_properties id=m at=batch[2].properties\nBAD invalid_traits id=m at=batch[3].traits\n"
     "BAD invalid_properties id=m at=batch[4].properties\n"},
    {"bundled is kept only when it names somebody", BATCH, 0,
     "{\"batch\":[" T(",\"_metadata\":{\"bundled\":[ ]}") "," T(",\"_metadata\":{\"bundled\":\"x\"}") ","
     T(",\"_metadata\":[1]") "," T(",\"_metadata\":{\"bundled\":[\"A\",\"B\"]}") "]}",
     E "\n" E "\n" E "\n" E " bundled=[\"A\",\"B\"]\n"},
};

/* --- times --- */

#define TIMES(ts) "{\"batch\":[" T(ts) "],\"sentAt\":\"2026-01-02T03:04:05.000Z\"}"

static const struct row time_rows[] = {
    {"without any time it is the time of arrival", BATCH, 0, ONE(""), E "\n"},
    {"sentAt alone corrects nothing", BATCH, 0, TIMES(""), E " sent=2026-01-02T03:04:05.000Z\n"},
    {"a client whose clock is an hour ahead", BATCH, 0,
     ONE(",\"timestamp\":\"2026-01-02T04:04:03.000Z\",\"sentAt\":\"2026-01-02T04:04:05.000Z\""),
     E " time=2026-01-02T03:04:04.000Z orig=2026-01-02T04:04:03.000Z sent=2026-01-02T04:04:05.000Z\n"},
    {"a client that lies gets a time in the future", BATCH, 0, TIMES(",\"timestamp\":\"2026-01-02T03:05:05.000Z\""),
     E " time=2026-01-02T03:05:06.000Z orig=2026-01-02T03:05:05.000Z sent=2026-01-02T03:04:05.000Z\n"},
    {"a time that does not parse is missing", BATCH, 0, TIMES(",\"timestamp\":\"yesterday\""),
     E " sent=2026-01-02T03:04:05.000Z\n"},
    {"so is a sentAt that does not parse, then the envelope's counts", BATCH, 0,
     TIMES(",\"timestamp\":\"2026-01-02T03:04:04.000Z\",\"sentAt\":\"soon\""),
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:04.000Z sent=2026-01-02T03:04:05.000Z\n"},
    {"a sentAt that does not parse, and no other: the original time stays", BATCH, 0,
     ONE(",\"timestamp\":\"2026-01-02T03:00:00.000Z\",\"sentAt\":\"soon\""),
     E " time=2026-01-02T03:00:00.000Z orig=2026-01-02T03:00:00.000Z\n"},
    {"an envelope's sentAt that does not parse is none", BATCH, 0,
     "{\"batch\":[" T(",\"timestamp\":\"2026-01-02T03:00:00.000Z\"") "],\"sentAt\":\"\"}",
     E " time=2026-01-02T03:00:00.000Z orig=2026-01-02T03:00:00.000Z\n"},
    {"+00:00 without a fraction, with milliseconds, with microseconds", BATCH, 0,
     "{\"batch\":[" T(",\"timestamp\":\"2026-01-02T03:04:05+00:00\"") ","
     T(",\"timestamp\":\"2026-01-02T03:04:05.250+00:00\"") "," T(",\"timestamp\":\"2026-01-02T03:04:05.250999+00:00\"") "]}",
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z\n"
     E " time=2026-01-02T03:04:05.250Z orig=2026-01-02T03:04:05.250Z\n"
     E " time=2026-01-02T03:04:05.250Z orig=2026-01-02T03:04:05.250Z\n"},
    {"the envelope's sentAt beats the header's, the item's beats both", BATCH | SENT_AT_HEADER, 0,
     "{\"sentAt\":\"2026-01-02T03:04:01.000Z\",\"batch\":[" T("") "," T(",\"sentAt\":\"2026-01-02T03:04:02Z\"") "]}",
     E " sent=2026-01-02T03:04:01.000Z\n" E " sent=2026-01-02T03:04:02.000Z\n"},
    {"originalTimestamp is the client's clock, also beside a timestamp that somebody corrected", BATCH, 0,
     TIMES(",\"originalTimestamp\":\"2026-01-02T03:04:04.000Z\",\"timestamp\":\"2026-01-02T09:00:00.000Z\""),
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:04.000Z sent=2026-01-02T03:04:05.000Z\n"},
    {"numbers are epoch milliseconds, small ones seconds", BATCH, 0,
     "{\"batch\":[" T(",\"timestamp\":1767323045123") "," T(",\"timestamp\":1767323045") ","
     T(",\"timestamp\":1767323045.5") "," T(",\"timestamp\":1e300") "," T(",\"timestamp\":1e400") ","
     T(",\"timestamp\":-1") "]}",
     E " time=2026-01-02T03:04:05.123Z orig=2026-01-02T03:04:05.123Z\n"
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z\n"
     E " time=2026-01-02T03:04:05.500Z orig=2026-01-02T03:04:05.500Z\n"
     E "\n" E "\n" E " time=1969-12-31T23:59:59.000Z orig=1969-12-31T23:59:59.000Z\n"},
    {"a time with escapes is a time", BATCH, 0, ONE(",\"timestamp\":\"2026-01-02T03:04:05\\u005a\""),
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:05.000Z\n"},
    {"objects and booleans are no times", BATCH, 0, ONE(",\"timestamp\":{},\"sentAt\":true,\"originalTimestamp\":[]"),
     E "\n"},
    {"receivedAt of an ordinary sender is not believed", BATCH, 0, ONE(",\"receivedAt\":\"2020-01-01T00:00:00Z\""),
     E "\n"},
    {"a trusted relay keeps all four times", BATCH | TRUSTED, 0,
     TIMES(",\"receivedAt\":\"2026-01-01T00:00:03.000Z\",\"timestamp\":\"2026-01-01T00:00:02.000Z\","
           "\"originalTimestamp\":\"2026-01-01T01:00:00.000Z\",\"sentAt\":\"2026-01-01T01:00:01.000Z\""),
     E " time=2026-01-01T00:00:02.000Z orig=2026-01-01T01:00:00.000Z sent=2026-01-01T01:00:01.000Z "
     "recv=2026-01-01T00:00:03.000Z\n"},
    {"a trusted relay's envelope does not speak of the client", BATCH | TRUSTED, 0,
     TIMES(",\"receivedAt\":\"2026-01-01T00:00:03.000Z\",\"timestamp\":\"2026-01-01T00:00:02.000Z\""),
     E " time=2026-01-01T00:00:02.000Z recv=2026-01-01T00:00:03.000Z\n"},
    {"a plain sender on a trusted source is treated as any other", BATCH | TRUSTED, 0,
     TIMES(",\"timestamp\":\"2026-01-02T03:04:04.000Z\""),
     E " time=2026-01-02T03:04:05.000Z orig=2026-01-02T03:04:04.000Z sent=2026-01-02T03:04:05.000Z\n"},
};

/* --- context and integrations --- */

#define LENT(item, envelope) "{\"batch\":[" T(item) "]," envelope "}"

static const struct row merge_rows[] = {
    {"the envelope lends members, the item's win", BATCH, 0,
     LENT(",\"context\":{ \"a\" : 1 }", "\"context\":{\"a\":2,\"b\":{\"c\":[]}}"),
     E " context={\"a\" : 1,\"b\":{\"c\":[]}}\n"},
    {"the merge is shallow", BATCH, 0, LENT(",\"context\":{\"l\":{\"x\":1}}", "\"context\":{\"l\":{\"y\":2}}"), E "\n"},
    {"when the envelope adds nothing the item's own bytes stand", BATCH, 0,
     LENT(",\"context\":{\"a\":1}", "\"context\":{\"a\":2},\"integrations\":{}"), E "\n"},
    {"null in the item is the item's own word", BATCH, 0, LENT(",\"context\":{\"a\":null}", "\"context\":{\"a\":2}"),
     E "\n"},
    {"an item with {}, [] or null gets all of it", BATCH, 0,
     "{\"context\":{\"a\":1},\"batch\":[" T(",\"context\":{ }") "," T(",\"context\":[]") "," T(",\"context\":null") "]}",
     E " context={\"a\":1}\n" E " context={\"a\":1}\n" E " context={\"a\":1}\n"},
    {"integrations alike", BATCH, 0,
     LENT(",\"integrations\":{\"X\":true}", "\"integrations\":{\"All\":false,\"X\":false}"),
     E " integrations={\"X\":true,\"All\":false}\n"},
    {"an envelope without an object lends nothing", BATCH, 0,
     LENT(",\"context\":{\"a\":1}", "\"context\":[1],\"integrations\":null"), E "\n"},
    {"keys are compared as texts, and of duplicates the last counts", BATCH, 0,
     LENT(",\"context\":{\"\\u0061\":1}", "\"context\":{\"a\":2,\"b\":3,\"b\":4,\"\\u0062\":5}"),
     E " context={\"\\u0061\":1,\"\\u0062\":5}\n"},
    {"a single event has no envelope: its own context is not laid over itself", 0, TG_TRACK,
     T(",\"context\":{\"a\":1},\"batch\":[1]"), E "\n"},

    {"a browser's address is filled in where the source wants it", BROWSER | IP, TG_TRACK, T(",\"context\":{\"a\":1}"),
     E " context={\"a\":1,\"ip\":\"192.0.2.9\"}\n"},
    {"also into no context at all", BROWSER | IP, TG_TRACK, T(""), E " context={\"ip\":\"192.0.2.9\"}\n"},
    {"not where it does not", BROWSER, TG_TRACK, T(""), E "\n"},
    {"not over the sender's own", BROWSER | IP, TG_TRACK, T(",\"context\":{\"ip\":\"198.51.100.1\"}"), E "\n"},
    {"but null and \"\" give way to it", BATCH | BROWSER | IP, 0,
     "{\"batch\":[" T(",\"context\":{\"ip\":null,\"a\":1}") "," T(",\"context\":{\"a\":1, \"i\\u0070\":\"\"}") "]}",
     E " context={\"a\":1,\"ip\":\"192.0.2.9\"}\n" E " context={\"a\":1,\"ip\":\"192.0.2.9\"}\n"},
    {"the envelope's address counts as the sender's own", BATCH | BROWSER | IP, 0,
     LENT("", "\"context\":{\"ip\":\"198.51.100.1\"}"), E " context={\"ip\":\"198.51.100.1\"}\n"},
    {"unless it is null", BATCH | BROWSER | IP, 0, LENT("", "\"context\":{\"ip\":null,\"b\":1}"),
     E " context={\"b\":1,\"ip\":\"192.0.2.9\"}\n"},
    {"a server's address is not the user's", IP, TG_TRACK, T(""), E "\n"},
    {"but with context.direct it is asked for", IP, TG_TRACK, T(",\"context\":{\"direct\":true}"),
     E " context={\"direct\":true,\"ip\":\"192.0.2.9\"}\n"},
    {"in the envelope too", BATCH | IP, 0, LENT("", "\"context\":{\"direct\":true}"),
     E " context={\"direct\":true,\"ip\":\"192.0.2.9\"}\n"},
    {"direct: false asks for nothing", BATCH | IP, 0,
     LENT(",\"context\":{\"direct\":false}", "\"context\":{\"direct\":true}"), E "\n"},
    {"a browser's user agent is filled in when missing, as valid JSON", BROWSER | AGENT, TG_TRACK, T(""),
     E " context={\"userAgent\":\"Mo\\\"z\xef\xbf\xbd\"}\n"},
    {"and left alone when there", BROWSER | AGENT, TG_TRACK, T(",\"context\":{\"userAgent\":\"x\"}"), E "\n"},
    {"a server's is not filled in", AGENT, TG_TRACK, T(""), E "\n"},
    {"address and agent together", BROWSER | AGENT | IP, TG_TRACK, T(",\"context\":{\"a\":1}"),
     E " context={\"a\":1,\"ip\":\"192.0.2.9\",\"userAgent\":\"Mo\\\"z\xef\xbf\xbd\"}\n"},
    {"a trusted relay's context stays as sent", BROWSER | AGENT | IP | TRUSTED, TG_TRACK,
     T(",\"context\":{\"direct\":true}"), E "\n"},
};
/* clang-format on */

/* Each SDK's own shape becomes the event that its user means. */
static void test_sdk_shapes(void **state)
{
    (void)state;
    check_rows(sdk_rows, COUNT(sdk_rows));
}

/* Each sentence about types, ids and required fields holds. */
static void test_fields(void **state)
{
    (void)state;
    check_rows(field_rows, COUNT(field_rows));
}

/* Each sentence about times holds. */
static void test_times(void **state)
{
    (void)state;
    check_rows(time_rows, COUNT(time_rows));
}

/* Each sentence about envelope and connection holds. */
static void test_merging(void **state)
{
    (void)state;
    check_rows(merge_rows, COUNT(merge_rows));
}

/* The item's bytes are handed on as they were sent, [] and white space included, and the span is the item
 * alone. */
static void test_body_stays(void **state)
{
    (void)state;
    static const char item[] =
        "{ \"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"properties\":[ ], \"n\":1.50 }";
    char text[256];
    (void)snprintf(text, sizeof text, "{\"batch\":[ 5 , %s ],\"context\":{\"a\":1}}", item);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault;
    struct tg_normalise_in in = input(BATCH, 0);
    assert_int_equal(run(&in, text, &items, &fault), TG_OK);
    assert_int_equal(items.n_events, 1);
    assert_true(tg_str_is(items.events[0].body, item));
    assert_int_equal(items.n_bad, 1);
    assert_true(tg_str_is(items.bad[0].body, "5"));
    assert_true(tg_str_is(items.bad[0].source, "web"));
    assert_true(items.bad[0].received_at == now);
    tg_items_fini(&items);
}

/* --- limits --- */

static void long_body(struct tg_buf *text, const char *before, size_t n, const char *after)
{
    tg_buf_clear(text);
    assert_int_equal(tg_buf_adds(text, before), TG_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tg_buf_addc(text, 'x'), TG_OK);
    assert_int_equal(tg_buf_adds(text, after), TG_OK);
    assert_non_null(tg_buf_cstr(text));
}

/* A message id may have 256 bytes; a longer one is set aside, and its message says how long it was. */
static void test_message_id_length(void **state)
{
    (void)state;
    struct tg_buf text = TG_BUF_INIT(1 << 16);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault;
    struct tg_normalise_in in = input(0, TG_IDENTIFY);
    for (size_t n = 255; n <= 258; n++) {
        long_body(&text, "{\"userId\":\"u\",\"messageId\":\"", n, "\"}");
        assert_int_equal(run(&in, text.data, &items, &fault), TG_OK);
        assert_int_equal(items.n_events, n <= 256);
        assert_int_equal(items.n_bad, n > 256);
        if (n > 256) {
            assert_true(tg_str_is(items.bad[0].reason, "invalid_message_id"));
            assert_non_null(memmem(items.bad[0].detail.p, items.bad[0].detail.n, "25", 2));
        }
    }
    tg_buf_fini(&text);
    tg_items_fini(&items);
}

/* An event of the largest size passes, one byte more is set aside with its id. */
static void test_event_size(void **state)
{
    (void)state;
    struct tg_buf text = TG_BUF_INIT(1 << 16);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault;
    struct tg_normalise_in in = input(0, TG_IDENTIFY);
    const char *before = "{\"userId\":\"u\",\"messageId\":\"m\",\"traits\":{\"t\":\"", *after = "\"}}";
    size_t fill = in.max_event_bytes - strlen(before) - strlen(after);
    long_body(&text, before, fill, after);
    assert_int_equal(run(&in, text.data, &items, &fault), TG_OK);
    assert_int_equal(items.n_events, 1);
    long_body(&text, before, fill + 1, after);
    assert_int_equal(run(&in, text.data, &items, &fault), TG_OK);
    assert_int_equal(items.n_events, 0);
    assert_true(tg_str_is(items.bad[0].reason, "event_too_large"));
    assert_true(tg_str_is(items.bad[0].message_id, "m"));
    assert_true(tg_str_is(items.bad[0].detail, "event: 2001 bytes; an event may have 2000"));
    tg_buf_fini(&text);
    tg_items_fini(&items);
}

/* What is wrong with the whole request is a fault with a code and a sentence, and nothing is accepted. */
static void test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *body, *code, *says;
    } rows[] = {
        {"", "invalid_json", "not valid JSON"},
        {"{", "invalid_json", "not valid JSON"},
        {"{\"batch\":[]}x", "invalid_json", "not valid JSON"},
        {"{\"a\":\"\xff\"}", "invalid_json", "not valid JSON"},
        {"[]", "invalid_request", "object"},
        {"null", "invalid_request", "object"},
        {"\"x\"", "invalid_request", "object"},
        {"{}", "invalid_batch", "batch: missing"},
        {"{\"batch\":null}", "invalid_batch", "is null"},
        {"{\"batch\":{}}", "invalid_batch", "is {}"},
        {"{\"batch\":[{}],\"batch\":\"x\"}", "invalid_batch", "is \"x\""},
        {"{\"batch\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "batch_too_large", "20 items"},
    };
    struct tg_items items;
    tg_items_init(&items);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_request_fault fault = {0};
        struct tg_normalise_in in = input(BATCH, 0);
        assert_int_equal(run(&in, rows[i].body, &items, &fault), TG_INVALID);
        assert_string_equal(fault.code, rows[i].code);
        if (!strstr(fault.err.msg, rows[i].says))
            fail_msg("%s: %s", rows[i].body, fault.err.msg);
        assert_int_equal(items.n_events + items.n_bad + items.merges, 0);
    }
    tg_items_fini(&items);
}

/* JSON that is nested deeper than the limit is refused by its own code. */
static void test_depth(void **state)
{
    (void)state;
    struct tg_request_fault fault = {0};
    struct tg_str body;
    assert_int_equal(tg_body_parse(TG_STR("{\"a\":[[]]}"), 3, &body, &fault), TG_OK);
    assert_int_equal(tg_body_parse(TG_STR("{\"a\":[[]]}"), 2, &body, &fault), TG_INVALID);
    assert_string_equal(fault.code, "json_too_deep");
    assert_non_null(strstr(fault.err.msg, "2 levels"));
}

/* A large envelope cannot be multiplied by many small items: neither its own size nor the sum may pass the
 * limits. */
static void test_amplification(void **state)
{
    (void)state;
    struct tg_buf text = TG_BUF_INIT(1 << 16);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    struct tg_normalise_in in = input(BATCH, 0);
    long_body(&text, "{\"batch\":[" T("") "],\"context\":{\"a\":\"", 2000, "\"}}");
    assert_int_equal(run(&in, text.data, &items, &fault), TG_INVALID);
    assert_string_equal(fault.code, "envelope_too_large");
    long_body(&text, "{\"batch\":[" T("") "," T(",\"context\":{\"b\":1}") "],\"context\":{\"a\":\"", 1000,
              "\"}}");
    assert_int_equal(run(&in, text.data, &items, &fault), TG_OK);
    assert_int_equal(items.n_events, 2);
    in.max_total_bytes = 2000;
    assert_int_equal(run(&in, text.data, &items, &fault), TG_INVALID);
    assert_string_equal(fault.code, "request_too_large");
    assert_int_equal(items.n_events, 0);
    tg_buf_fini(&text);
    tg_items_fini(&items);
}

static void add_members(struct tg_buf *text, int n, int value)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(tg_buf_printf(text, ",\"k%d\":%d", i, value), TG_OK);
}

/* A context of very many members is merged with an envelope of very many members (comparing each with each
 * would take minutes). */
static void test_many_members(void **state)
{
    (void)state;
    enum { MEMBERS = 40000 };
    struct tg_buf text = TG_BUF_INIT(8 << 20);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    assert_int_equal(
        tg_buf_adds(&text, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"own\":1"), TG_OK);
    add_members(&text, MEMBERS, 1);
    assert_int_equal(tg_buf_adds(&text, "}}],\"context\":{\"lent\":2"), TG_OK);
    add_members(&text, MEMBERS, 2);
    assert_int_equal(tg_buf_adds(&text, "}}"), TG_OK);
    struct tg_normalise_in in = input(BATCH, 0);
    in.max_event_bytes = in.max_total_bytes = 8 << 20;
    assert_int_equal(run(&in, tg_buf_cstr(&text), &items, &fault), TG_OK);
    assert_int_equal(items.n_events, 1);
    struct tg_str context = items.events[0].context;
    assert_int_equal(tg_json_validate(context, 4, NULL, NULL), TG_OK);
    assert_true(tg_str_is(tg_json_get(context, "lent"), "2"));
    assert_true(tg_str_is(tg_json_get(context, "own"), "1"));
    assert_true(tg_str_is(tg_json_get(context, "k39999"), "1"));
    tg_buf_fini(&text);
    tg_items_fini(&items);
}

/* One name written very often in the envelope does not cost each of very many items a walk over all of it
 * (that would take minutes): the last stands, in the order sent. */
static void test_repeated_member(void **state)
{
    (void)state;
    enum { MEMBERS = 80000, ITEMS = 20000 };
    struct tg_buf text = TG_BUF_INIT(8 << 20);
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    assert_int_equal(tg_buf_adds(&text, "{\"context\":{\"b\":0"), TG_OK);
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(tg_buf_adds(&text, ",\"a\":1"), TG_OK);
    assert_int_equal(tg_buf_adds(&text, ",\"c\":2,\"direct\":true},\"batch\":[5"), TG_OK);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(tg_buf_adds(&text, "," T(",\"context\":{\"own\":1}")), TG_OK);
    assert_int_equal(tg_buf_adds(&text, "]}"), TG_OK);
    struct tg_normalise_in in = input(BATCH | IP, 0);
    in.max_event_bytes = in.max_total_bytes = 16 << 20;
    in.max_items = ITEMS + 1;
    assert_int_equal(run(&in, tg_buf_cstr(&text), &items, &fault), TG_OK);
    assert_int_equal(items.n_events, ITEMS);
    assert_true(tg_str_is(items.events[ITEMS - 1].context,
                          "{\"own\":1,\"b\":0,\"a\":1,\"c\":2,\"direct\":true,\"ip\":\"192.0.2.9\"}"));
    tg_buf_fini(&text);
    tg_items_fini(&items);
}

/* Messages stay valid UTF-8 when the value that they show is cut. */
static void test_messages_are_text(void **state)
{
    (void)state;
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    struct tg_normalise_in in = input(BATCH, 0);
    for (int shift = 0; shift < 4; shift++) {
        struct tg_buf text = TG_BUF_INIT(1024);
        assert_int_equal(tg_buf_printf(&text, "{\"batch\":[{\"type\":\"%.*s", shift, "abc"), TG_OK);
        for (int i = 0; i < 12; i++)
            assert_int_equal(tg_buf_adds(&text, "\xf0\x9f\x98\x80"), TG_OK);
        assert_int_equal(tg_buf_adds(&text, "\"}]}"), TG_OK);
        assert_int_equal(run(&in, tg_buf_cstr(&text), &items, &fault), TG_OK);
        assert_int_equal(items.n_bad, 1);
        struct tg_str detail = items.bad[0].detail;
        assert_int_equal(tg_json_utf8(detail.p, detail.n), detail.n);
        tg_buf_fini(&text);
    }
    tg_items_fini(&items);
}

/* Made ids differ from each other, within a request and between requests. */
static void test_made_ids_differ(void **state)
{
    (void)state;
    enum { MADE = 60 };
    char seen[MADE][36];
    struct tg_items items;
    tg_items_init(&items);
    struct tg_request_fault fault = {0};
    struct tg_normalise_in in = input(BATCH, 0);
    for (size_t n = 0; n < MADE;) {
        const char *text = "{\"batch\":[{\"type\":\"page\",\"userId\":1},{\"type\":\"page\",\"userId\":1}]}";
        assert_int_equal(run(&in, text, &items, &fault), TG_OK);
        assert_int_equal(items.n_events, 2);
        for (size_t i = 0; i < 2; i++, n++) {
            assert_int_equal(items.events[i].message_id.n, 36);
            memcpy(seen[n], items.events[i].message_id.p, 36);
            for (size_t k = 0; k < n; k++)
                assert_memory_not_equal(seen[n], seen[k], 36);
        }
    }
    tg_items_fini(&items);
}

/* --- write key --- */

/* The write key is found wherever it stands at the top level, and nowhere else. */
static void test_write_key(void **state)
{
    (void)state;
    static const struct {
        const char *body, *key; /* NULL: none */
    } rows[] = {
        {"{\"batch\":[{\"writeKey\":\"no\"}],\"sentAt\":\"x\",\"writeKey\":\"WK\"}", "WK"},
        {"{\"writeKey\":\"WK\",\"batch\":[]}", "WK"},
        {"{\"writeKey\":\"key:***\"}", "key:***"},
        {"{\"writeKey\":12345678901234567890}", "12345678901234567890"},
        {"{\"wr\\u0069teKey\":\"a\\u0062\"}", "ab"},
        {"{\"writeKey\":\"a\",\"writeKey\":\"b\"}", "b"},
        {"{\"context\":{\"writeKey\":\"no\"}}", NULL},
        {"{}", NULL},
        {"{\"writeKey\":null}", NULL},
        {"{\"writeKey\":\"\"}", NULL},
        {"{\"writeKey\":true}", NULL},
        {"{\"writeKey\":{}}", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_buf key = TG_BUF_INIT(64);
        int rc = tg_body_write_key(tg_str_of(rows[i].body), &key);
        assert_int_equal(rc, rows[i].key ? TG_OK : TG_NOTFOUND);
        assert_true(tg_str_is(tg_buf_str(&key), rows[i].key ? rows[i].key : ""));
        tg_buf_fini(&key);
    }
}

/* Out of memory at any point: TG_NOMEM and no results, no leak. */
static void test_torture(void **state)
{
    (void)state;
    const char *text =
        "{\"batch\":[" T(",\"context\":{\"\\u0061\":1}") ",{\"type\":\"p\\u0061ge\",\"userId\":\"\\u0075\"},"
                                                         "{\"type\":\"group\"},5],\"context\":{\"b\":1,"
                                                         "\"\\u0063\":2},\"integrations\":{\"All\":true}}";
    bool refused = true;
    for (long n = 1; refused; n++) {
        struct tg_items items;
        tg_items_init(&items);
        struct tg_request_fault fault = {0};
        struct tg_normalise_in in = input(BATCH | BROWSER | IP | AGENT, 0);
        tg_mem_fail_after(n);
        int rc = run(&in, text, &items, &fault);
        refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_int_equal(rc, refused ? TG_NOMEM : TG_OK);
        assert_int_equal(items.n_events, refused ? 0 : 2);
        assert_int_equal(items.n_bad, refused ? 0 : 2);
        tg_items_fini(&items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sdk_shapes),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_times),           cmocka_unit_test(test_merging),
        cmocka_unit_test(test_body_stays),      cmocka_unit_test(test_message_id_length),
        cmocka_unit_test(test_event_size),      cmocka_unit_test(test_faults),
        cmocka_unit_test(test_depth),           cmocka_unit_test(test_amplification),
        cmocka_unit_test(test_many_members),    cmocka_unit_test(test_messages_are_text),
        cmocka_unit_test(test_repeated_member), cmocka_unit_test(test_made_ids_differ),
        cmocka_unit_test(test_write_key),       cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
