#include "base/event.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct tg_event full = {
    .type = TG_GROUP,
    .source = {"web", 3},
    .message_id = {"m-1", 3},
    .user_id = {"u\xc3\xa9", 3},
    .anonymous_id = {"a-1", 3},
    .name = {"g-1", 3},
    .received_at = 1767323045678,
    .timestamp = 1767323045000,
    .original_timestamp = -1,
    .sent_at = 0,
    .context = {"{\"ip\":\"192.0.2.1\"}", 18},
    .integrations = {"{\"All\":false}", 13},
    .bundled = {"[\"Segment.io\"]", 14},
    .body = {"{}", 2},
};

static const struct tg_event least = {
    .type = TG_TRACK,
    .message_id = {"m", 1},
    .received_at = 1000,
    .timestamp = 1000,
    .original_timestamp = TG_NO_TIME,
    .sent_at = TG_NO_TIME,
    .body = {"{}", 2},
};

static void assert_span(struct tg_str got, struct tg_str want)
{
    if (!tg_str_eq(got, want))
        fail_msg("got  %.*s\nwant %.*s", TG_STR_ARG(got), TG_STR_ARG(want));
}

static void assert_same(const struct tg_event *a, const struct tg_event *b)
{
    assert_int_equal(a->type, b->type);
    assert_span(a->source, b->source);
    assert_span(a->message_id, b->message_id);
    assert_span(a->user_id, b->user_id);
    assert_span(a->anonymous_id, b->anonymous_id);
    assert_span(a->name, b->name);
    assert_true(a->received_at == b->received_at && a->timestamp == b->timestamp);
    assert_true(a->original_timestamp == b->original_timestamp && a->sent_at == b->sent_at);
    assert_span(a->context, b->context);
    assert_span(a->integrations, b->integrations);
    assert_span(a->bundled, b->bundled);
    assert_span(a->body, b->body);
}

/* Every type has a name that reads back as that type; other words, other cases and prefixes do not parse. */
static void test_type_names(void **state)
{
    (void)state;
    static const char *const names[] = {"track", "identify", "page", "screen", "group", "alias", "delete"};
    assert_int_equal(COUNT(names), TG_EVENT_TYPES);
    enum tg_event_type type;
    for (int i = 0; i < TG_EVENT_TYPES; i++) {
        assert_string_equal(tg_event_type_name((enum tg_event_type)i), names[i]);
        assert_true(tg_event_type_parse(tg_str_of(names[i]), &type));
        assert_int_equal(type, i);
    }
    static const char *const strangers[] = {"", "Track", "trac", "tracks", "merge", "\"track\""};
    for (size_t i = 0; i < COUNT(strangers); i++)
        assert_false(tg_event_type_parse(tg_str_of(strangers[i]), &type));
    assert_non_null(tg_event_type_name((enum tg_event_type)99));
}

/* What was encoded is read back whole, behind whatever stood in the buffer before. */
static void test_header_round_trip(void **state)
{
    (void)state;
    char long_id[300];
    memset(long_id, 'x', sizeof long_id);
    struct tg_event longer = full;
    longer.message_id = tg_str_n(long_id, sizeof long_id);
    const struct tg_event *const events[] = {&full, &least, &longer};
    for (size_t i = 0; i < COUNT(events); i++) {
        struct tg_buf b = TG_BUF_INIT(4096);
        assert_int_equal(tg_buf_adds(&b, "before"), TG_OK);
        assert_int_equal(tg_event_encode(events[i], &b), TG_OK);
        assert_memory_equal(b.data, "before", 6);
        struct tg_event got;
        struct tg_err err;
        assert_int_equal(tg_event_decode(tg_str_n(b.data + 6, b.len - 6), events[i]->body, &got, &err),
                         TG_OK);
        assert_same(&got, events[i]);
        tg_buf_fini(&b);
    }
}

/* Where the body's own integrations stand is kept, and that it has none; an event of which it is not known
 * stays so, and a header without its body says nothing of it. */
static void test_header_place(void **state)
{
    (void)state;
    static const char body[] = "{\"a\":1,\"integrations\":{\"All\":false}}";
    for (int i = 0; i < 3; i++) {
        struct tg_event ev = least, got;
        struct tg_buf b = TG_BUF_INIT(4096);
        ev.body = tg_str_of(body);
        ev.knows_integrations = i > 0;
        if (i == 2)
            ev.body_integrations = tg_str_n(strstr(body, "{\"All"), strlen("{\"All\":false}"));
        assert_int_equal(tg_event_encode(&ev, &b), TG_OK);
        assert_int_equal(tg_event_decode(tg_buf_str(&b), ev.body, &got, NULL), TG_OK);
        assert_int_equal(got.knows_integrations, ev.knows_integrations);
        assert_span(got.body_integrations, ev.body_integrations);
        assert_true(i < 2 || got.body_integrations.p == ev.body_integrations.p);
        assert_int_equal(tg_event_decode(tg_buf_str(&b), TG_STR(""), &got, NULL), TG_OK);
        assert_false(got.knows_integrations);
        tg_buf_fini(&b);
    }
}

/* The stored bytes are those that the top of event.c documents. */
static void test_header_bytes(void **state)
{
    (void)state;
    static const char want[] = "\x01"
                               "\x01\x01\x00"
                               "\x07\x08\xe8\x03\0\0\0\0\0\0"
                               "\x08\x08\xe8\x03\0\0\0\0\0\0"
                               "\x03\x01m";
    struct tg_buf b = TG_BUF_INIT(4096);
    assert_int_equal(tg_event_encode(&least, &b), TG_OK);
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(b.data, want, b.len);
    tg_buf_fini(&b);
}

/* A header that ends inside a field is corrupt, wherever it is cut; only cuts between optional fields still
 * parse. */
static void test_header_cut(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(4096);
    assert_int_equal(tg_event_encode(&full, &b), TG_OK);
    for (size_t n = 0; n < b.len; n++) {
        char *cut = tg_memdup(b.data, n); /* exact size, so that a read past the end is seen */
        struct tg_event got;
        struct tg_err err = {0};
        int rc = tg_event_decode(tg_str_n(cut, n), full.body, &got, &err);
        assert_true(rc == TG_OK || (rc == TG_CORRUPT && err.code == TG_CORRUPT && err.msg[0]));
        if (rc == TG_OK)
            assert_span(got.message_id, full.message_id);
        tg_free(cut);
    }
    tg_buf_fini(&b);
}

#define TIMES "\x07\x08\xe8\x03\0\0\0\0\0\0\x08\x08\xe8\x03\0\0\0\0\0\0"
#define ID    "\x03\x01m"
#define HEADER(s)                                                                                            \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }

/* Broken and foreign headers: each gets its code, none is read past its end. */
static void test_header_hostile(void **state)
{
    (void)state;
    static const struct {
        struct tg_str header;
        int rc;
    } rows[] = {
        {HEADER(""), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID), TG_OK},
        {HEADER("\x02\x01\x01\x00" TIMES ID), TG_BADVERSION},
        {HEADER("\x00\x01\x01\x00" TIMES ID), TG_BADVERSION},
        {HEADER("\x01\x01\x01\x07" TIMES ID), TG_CORRUPT},                          /* no such type */
        {HEADER("\x01\x01\x02\x00\x00" TIMES ID), TG_CORRUPT},                      /* type of two bytes */
        {HEADER("\x01\x01\x01\x00" TIMES "\x03\x00"), TG_CORRUPT},                  /* empty message id */
        {HEADER("\x01\x01\x01\x00" TIMES), TG_CORRUPT},                             /* no message id */
        {HEADER("\x01\x01\x01\x00" ID "\x07\x08\xe8\x03\0\0\0\0\0\0"), TG_CORRUPT}, /* no timestamp */
        {HEADER("\x01" TIMES ID), TG_CORRUPT},                                      /* no type */
        {HEADER("\x01\x01\x01\x00" TIMES ID ID), TG_CORRUPT},                       /* twice */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x09\x04\0\0\0\0"), TG_CORRUPT},       /* time of four bytes */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x80\x03"
                "abc"),
         TG_OK},                                                      /* unknown tag */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0f\x00"), TG_OK},      /* unknown tag, empty */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0e\x00"), TG_CORRUPT}, /* a place without bytes */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0e\x08\0\0\0\0\2\0\0\0"), TG_OK},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0e\x08\1\0\0\0\2\0\0\0"), TG_CORRUPT}, /* behind the body */
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0e\x08\3\0\0\0\0\0\0\0"), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x0e\x08\1\0\0\0\xff\xff\xff\xff"), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x80\xff\xff\xff\xff\x0f"), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x80\xff\xff\xff\xff\xff\x01"), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x80\x80"), TG_CORRUPT},
        {HEADER("\x01\x01\x01\x00" TIMES ID "\x05"), TG_CORRUPT},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *exact = tg_memdup(rows[i].header.p, rows[i].header.n);
        struct tg_event got;
        struct tg_err err = {0};
        int rc = tg_event_decode(tg_str_n(exact, rows[i].header.n), tg_str_of("{}"), &got, &err);
        if (rc != rows[i].rc)
            fail_msg("row %zu: %d, expected %d (%s)", i, rc, rows[i].rc, err.msg);
        assert_int_equal(tg_event_decode(tg_str_n(exact, rows[i].header.n), tg_str_of("{}"), &got, NULL), rc);
        tg_free(exact);
    }
}

/* --- forward bytes --- */

/* type, messageId, timestamp and receivedAt as `least` gives them, as members behind others. */
#define T   "\"type\":\"track\""
#define M   "\"messageId\":\"m\""
#define TS  "\"timestamp\":\"1970-01-01T00:00:01.000Z\""
#define R   "\"receivedAt\":\"1970-01-01T00:00:01.000Z\""
#define ALL T "," M "," TS "," R

struct forward_row {
    const char *body, *want;
    const char *context, *integrations; /* of the event; NULL: none */
};

static const struct forward_row forward_rows[] = {
    /* What is missing is appended. */
    {"{}", "{" ALL "}", NULL, NULL},
    {" { } ", "{" ALL " }", NULL, NULL},
    {"{\"a\":1}", "{\"a\":1," ALL "}", NULL, NULL},
    {"{\n  \"a\": 1\n}", "{\n  \"a\": 1," ALL "\n}", NULL, NULL},
    /* What is there is replaced where it stands. */
    {"{\"type\":\"page\",\"a\":1}", "{" T ",\"a\":1," M "," TS "," R "}", NULL, NULL},
    {"{\"messageId\":null,\"timestamp\":\"x\",\"receivedAt\":5,\"type\":[1]}", "{" M "," TS "," R "," T "}",
     NULL, NULL},
    {"{ \"type\" : \"page\" , \"b\" : 2 }", "{ \"type\" : \"track\" , \"b\" : 2," M "," TS "," R " }", NULL,
     NULL},
    /* A key written with escapes is the same key. */
    {"{\"t\\u0079pe\":\"page\"}", "{\"t\\u0079pe\":\"track\"," M "," TS "," R "}", NULL, NULL},
    /* Write key and _metadata go, wherever they stand, and take one comma along. */
    {"{\"writeKey\":\"k\"}", "{" ALL "}", NULL, NULL},
    {"{\"writeKey\":\"k\",\"a\":1}", "{\"a\":1," ALL "}", NULL, NULL},
    {"{\"a\":1,\"writeKey\":\"k\"}", "{\"a\":1," ALL "}", NULL, NULL},
    {"{\"a\":1 , \"writeKey\":\"k\" , \"b\":2}", "{\"a\":1 , \"b\":2," ALL "}", NULL, NULL},
    {"{\"_metadata\":{\"bundled\":[]},\"writeKey\":\"k\", \"b\":2,\"_metadata\":1}", "{ \"b\":2," ALL "}",
     NULL, NULL},
    /* Nested members of those names are the sender's own. */
    {"{\"properties\":{\"writeKey\":1,\"_metadata\":2,\"type\":3}}",
     "{\"properties\":{\"writeKey\":1,\"_metadata\":2,\"type\":3}," ALL "}", NULL, NULL},
    /* Key order, digits, empty arrays, white space, escapes and duplicates of other members stay. */
    {"{\"z\":1.50,\"a\":12345678901234567890, \"c\":[ ],\"d\":{ },\"e\":\"\\u00e9\\/\",\"z\":1e5}",
     "{\"z\":1.50,\"a\":12345678901234567890, \"c\":[ ],\"d\":{ },\"e\":\"\\u00e9\\/\",\"z\":1e5," ALL "}",
     NULL, NULL},
    /* context and integrations stay as sent unless the event brings its own. */
    {"{\"context\":[],\"integrations\":[]}", "{\"context\":[],\"integrations\":[]," ALL "}", NULL, NULL},
    {"{\"context\":[],\"a\":1}", "{\"context\":{\"ip\":1},\"a\":1," ALL "}", "{\"ip\":1}", NULL},
    {"{\"a\":1}", "{\"a\":1," ALL ",\"context\":{\"ip\":1},\"integrations\":{}}", "{\"ip\":1}", "{}"},
    /* originalTimestamp and sentAt stay as sent when no time could be read from them. */
    {"{\"sentAt\":\"soon\",\"originalTimestamp\":7}", "{\"sentAt\":\"soon\",\"originalTimestamp\":7," ALL "}",
     NULL, NULL},
    /* Of a member that stands twice the last one counts, and stays where it is. */
    {"{\"type\":\"a\",\"b\":1,\"type\":\"c\"}", "{\"b\":1," T "," M "," TS "," R "}", NULL, NULL},
    {"{\"context\":1,\"context\":{},\"b\":1,\"context\":[ 2 ]}", "{\"b\":1,\"context\":[ 2 ]," ALL "}", NULL,
     NULL},
    {"{\"writeKey\":1,\"writeKey\":2,\"type\":1,\"t\\u0079pe\":2}",
     "{\"t\\u0079pe\":\"track\"," M "," TS "," R "}", NULL, NULL},
};

/* The body is forwarded with exactly the documented changes, and the result is again one valid object. */
static void test_forward(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(forward_rows); i++) {
        const struct forward_row *row = &forward_rows[i];
        struct tg_event ev = least;
        ev.body = tg_str_of(row->body);
        ev.context = tg_str_of(row->context);
        ev.integrations = tg_str_of(row->integrations);
        struct tg_buf out = TG_BUF_INIT(4096);
        assert_int_equal(tg_event_forward(&ev, &out), TG_OK);
        if (!tg_str_is(tg_buf_str(&out), row->want))
            fail_msg("row %zu\nbody %s\ngot  %.*s\nwant %s", i, row->body, TG_STR_ARG(tg_buf_str(&out)),
                     row->want);
        assert_int_equal(tg_json_validate(tg_buf_str(&out), TG_JSON_MAX_DEPTH, NULL, NULL), TG_OK);
        tg_buf_fini(&out);
    }
}

/* Every known time and a message id that needs escaping are written as JSON. */
static void test_forward_all_fields(void **state)
{
    (void)state;
    struct tg_event ev = full;
    ev.message_id = tg_str_of("a\"b");
    ev.body = tg_str_of("{\"sentAt\":1,\"groupId\":5}");
    struct tg_buf out = TG_BUF_INIT(4096);
    assert_int_equal(tg_event_forward(&ev, &out), TG_OK);
    assert_span(
        tg_buf_str(&out),
        tg_str_of(
            "{\"sentAt\":\"1970-01-01T00:00:00.000Z\",\"groupId\":5,\"type\":\"group\",\"messageId\":"
            "\"a\\\"b\","
            "\"timestamp\":\"2026-01-02T03:04:05.000Z\",\"originalTimestamp\":\"1969-12-31T23:59:59.999Z\","
            "\"receivedAt\":\"2026-01-02T03:04:05.678Z\",\"context\":{\"ip\":\"192.0.2.1\"},"
            "\"integrations\":{\"All\":false}}"));
    tg_buf_fini(&out);
}

/* Forwarding what was forwarded changes nothing more. */
static void test_forward_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(forward_rows); i++) {
        struct tg_event ev = least;
        ev.body = tg_str_of(forward_rows[i].body);
        struct tg_buf once = TG_BUF_INIT(4096), twice = TG_BUF_INIT(4096);
        assert_int_equal(tg_event_forward(&ev, &once), TG_OK);
        ev.body = tg_buf_str(&once);
        assert_int_equal(tg_event_forward(&ev, &twice), TG_OK);
        assert_span(tg_buf_str(&twice), tg_buf_str(&once));
        tg_buf_fini(&once);
        tg_buf_fini(&twice);
    }
}

/* To another relay goes what a browser has served itself, and of _metadata nothing else; the collector's own
 * name is no destination. */
static void test_pass_on(void **state)
{
    (void)state;
    static const struct {
        const char *bundled, *body, *want;
    } rows[] = {
        {NULL, "{\"_metadata\":{\"nodeVersion\":1},\"a\":1}", "{\"a\":1," ALL "}"},
        {"[\"Segment.io\"]", "{\"_metadata\":1,\"a\":1}", "{\"a\":1," ALL "}"},
        {"[\"Segment.io\", \"X\"]", "{\"a\":1,\"_metadata\":{\"bundledIds\":[]} }",
         "{\"a\":1,\"_metadata\":{\"bundled\":[\"Segment.io\", \"X\"]}," ALL " }"},
        {"[1]", "{\"_metadata\":1,\"writeKey\":1,\"_metadata\":2}", "{" ALL "}"},
        {"[\"X\"]", "{\"_metadata\":1,\"writeKey\":1,\"_metadata\":2}",
         "{\"_metadata\":{\"bundled\":[\"X\"]}," ALL "}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct tg_event ev = least;
        ev.body = tg_str_of(rows[i].body);
        ev.bundled = tg_str_of(rows[i].bundled);
        struct tg_buf out = TG_BUF_INIT(4096);
        assert_int_equal(tg_event_pass_on(&ev, &out), TG_OK);
        assert_span(tg_buf_str(&out), tg_str_of(rows[i].want));
        tg_buf_fini(&out);
    }
}

/* A body that is not an object is refused, and a full or failing buffer keeps what it held. */
static void test_forward_failures(void **state)
{
    (void)state;
    static const char *const others[] = {"", " ", "[]", "1", "\"x\"", "null"};
    struct tg_event ev = full;
    struct tg_buf out = TG_BUF_INIT(4096);
    for (size_t i = 0; i < COUNT(others); i++) {
        ev.body = tg_str_of(others[i]);
        assert_int_equal(tg_event_forward(&ev, &out), TG_INVALID);
        assert_int_equal(out.len, 0);
    }
    tg_buf_fini(&out);
    ev.body = tg_str_of("{\"type\":1,\"a\":[1,2,3],\"type\":2}");
    for (size_t max = 4; max < 200; max++) {
        struct tg_buf small = TG_BUF_INIT(max);
        assert_int_equal(tg_buf_adds(&small, "head"), TG_OK);
        assert_int_equal(tg_event_forward(&ev, &small), TG_TOOBIG);
        assert_true(tg_str_is(tg_buf_str(&small), "head"));
        tg_buf_fini(&small);
    }
}

/* Out of memory at any point: the code says so, nothing leaks, nothing half-written stays. */
static void test_torture(void **state)
{
    (void)state;
    bool refused = true;
    for (long n = 1; refused; n++) {
        struct tg_event ev = full;
        ev.body = tg_str_of("{\"type\":1,\"type\":2}");
        struct tg_buf header = TG_BUF_INIT(1 << 20), out = TG_BUF_INIT(1 << 20);
        tg_mem_fail_after(n);
        int rc = tg_event_encode(&ev, &header);
        int rc2 = tg_event_pass_on(&ev, &out);
        refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_true(refused ? rc == TG_NOMEM || rc2 == TG_NOMEM : rc == TG_OK && rc2 == TG_OK);
        assert_true(rc == TG_OK || header.len == 0);
        assert_true(rc2 == TG_OK || out.len == 0);
        tg_buf_fini(&header);
        tg_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_type_names),       cmocka_unit_test(test_header_round_trip),
        cmocka_unit_test(test_header_place),     cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_header_cut),       cmocka_unit_test(test_header_hostile),
        cmocka_unit_test(test_forward),          cmocka_unit_test(test_forward_all_fields),
        cmocka_unit_test(test_forward_twice),    cmocka_unit_test(test_pass_on),
        cmocka_unit_test(test_forward_failures), cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
