#include "tg_test.h"

#include "base/digest.h"
#include "base/gzip.h"
#include "base/json.h"
#include "ingest/dedup.h"
#include "ingest/http_client.h"
#include "ingest/ingest.h"
#include "ingest/reply.h"

#include <signal.h>
#include <stdio.h>

enum { MOST = 64, DEDUP_ENTRIES = 1000 };

/* A sink that remembers what it got, and answers at once, later or badly. */
struct fake_sink {
    int ready; /* what it says */
    const char *why;
    int retry_after;
    int append; /* what append returns */
    bool later; /* done is called by the test */
    int status; /* for done */
    char ids[MOST][80];
    char types[MOST][16];
    char bodies[MOST][256];
    char contexts[MOST][256];
    size_t n_events;
    char reasons[MOST][40];
    size_t n_bad;
    size_t appends;
    void (*done[MOST])(void *, int, const char *);
    void *done_arg[MOST];
    size_t n_waiting;
};

static void copy(char *to, size_t size, struct tg_str s)
{
    snprintf(to, size, "%.*s", TG_STR_ARG(s));
}

static int fake_ready(void *arg, const char **why, int *retry_after_s)
{
    struct fake_sink *s = arg;
    if (s->ready) {
        *why = s->why;
        *retry_after_s = s->retry_after;
    }
    return s->ready;
}

static int fake_append(void *arg, const struct tg_event *events, size_t n, const struct tg_setaside *bad,
                       size_t n_bad, void (*done)(void *, int, const char *), void *done_arg)
{
    struct fake_sink *s = arg;
    if (s->append)
        return s->append;
    s->appends++;
    for (size_t i = 0; i < n; i++) {
        assert_true(s->n_events < MOST);
        copy(s->ids[s->n_events], 80, events[i].message_id);
        copy(s->types[s->n_events], 16, tg_str_of(tg_event_type_name(events[i].type)));
        copy(s->bodies[s->n_events], 256, events[i].body);
        copy(s->contexts[s->n_events++], 256, events[i].context);
    }
    for (size_t i = 0; i < n_bad; i++) {
        assert_true(s->n_bad < MOST);
        copy(s->reasons[s->n_bad++], 40, bad[i].reason);
    }
    if (s->later) {
        s->done[s->n_waiting] = done;
        s->done_arg[s->n_waiting++] = done_arg;
    } else {
        done(done_arg, s->status, NULL);
    }
    return TG_OK;
}

struct fixture {
    struct event_base *base;
    struct tg_metrics *metrics;
    struct fake_sink sink;
    void *dedup_block;
    struct tg_dedup *dedup;
    struct tg_ingest *in;
    int listener, fd;
    uint16_t port;
    struct tg_buf got;
};

static const char *const web_keys[] = {"WK", "WK2"}, *const colon_keys[] = {"abc:secret"},
                         *const off_keys[] = {"OFF"}, *const shop_keys[] = {"SHOP"},
                         *const del_keys[] = {"DEL"}, *const slow_keys[] = {"SLOW"},
                         *const tight_keys[] = {"TIGHT"};
static const char *const shop_origins[] = {"https://shop.example"}, *const local[] = {"127.0.0.0/8",
                                                                                      "10.0.0.0/8"};

static const struct tg_ingest_source all_sources[] = {
    {.name = "web", .write_keys = web_keys, .n_write_keys = 2, .enabled = true},
    {.name = "jitsu", .write_keys = colon_keys, .n_write_keys = 1, .enabled = true},
    {.name = "off", .write_keys = off_keys, .n_write_keys = 1},
    {.name = "shop",
     .write_keys = shop_keys,
     .n_write_keys = 1,
     .enabled = true,
     .record_ip = true,
     .allowed_origins = shop_origins,
     .n_allowed_origins = 1,
     .trusted_proxies = local,
     .n_trusted_proxies = 2},
    {.name = "privacy", .write_keys = del_keys, .n_write_keys = 1, .enabled = true, .allow_delete = true},
    {.name = "slow", .write_keys = slow_keys, .n_write_keys = 1, .enabled = true, .rate = 2},
    {.name = "tight",
     .write_keys = tight_keys,
     .n_write_keys = 1,
     .enabled = true,
     .body_bytes = 1000,
     .event_bytes = 200,
     .batch_events = 3},
};
enum { N_SOURCES = sizeof all_sources / sizeof all_sources[0] };

static int setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    struct fixture *f = tg_calloc(1, sizeof *f);
    f->base = event_base_new();
    f->metrics = tg_metrics_new(1);
    f->dedup_block = aligned_alloc(64, (tg_dedup_bytes(DEDUP_ENTRIES) + 63) / 64 * 64);
    memset(f->dedup_block, 0, tg_dedup_bytes(DEDUP_ENTRIES));
    assert_ok(tg_dedup_init(&f->dedup, f->dedup_block, DEDUP_ENTRIES, 3600 * 1000));
    struct tg_ingest_options options = {
        .base = f->base,
        .metrics = f->metrics,
        .limits = tg_ingest_default_limits,
        .sink = {.arg = &f->sink, .ready = fake_ready, .append = fake_append},
        .dedup = f->dedup,
    };
    options.limits.http.body_bytes = 20000;
    options.limits.event_bytes = 2000;
    options.limits.batch_events = 100;
    assert_ok(tg_ingest_new(&f->in, &options, NULL));
    assert_ok(tg_ingest_set_sources(f->in, all_sources, N_SOURCES, NULL));
    f->listener = client_listen(&f->port);
    assert_ok(tg_http_accept_for(tg_ingest_http(f->in), f->listener, NULL, NULL));
    f->fd = client_connect(f->port);
    tg_buf_init(&f->got, 1 << 24);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tg_ingest_free(&f->in);
    close(f->listener);
    close(f->fd);
    tg_metrics_free(&f->metrics);
    event_base_free(f->base);
    tg_buf_fini(&f->got);
    free(f->dedup_block);
    tg_free(f);
    return 0;
}

static void reconnect(struct fixture *f)
{
    close(f->fd);
    tg_buf_clear(&f->got);
    f->fd = client_connect(f->port);
}

/* Sends a request (first line, further header lines, body) and returns the answer. */
static struct tg_str ask(struct fixture *f, const char *first, const char *headers, struct tg_str body)
{
    struct tg_buf text = TG_BUF_INIT(1 << 22);
    assert_ok(tg_buf_printf(&text, "%s HTTP/1.1\r\nHost: relay.example\r\n%s", first, headers));
    if (body.n)
        assert_ok(tg_buf_printf(&text, "Content-Length: %zu\r\n", body.n));
    assert_ok(tg_buf_adds(&text, "\r\n"));
    assert_ok(tg_buf_addstr(&text, body));
    assert_true(client_send(f->base, f->fd, tg_buf_str(&text)));
    tg_buf_fini(&text);
    struct tg_str a = client_answer_of(f->base, f->fd, &f->got, strncmp(first, "HEAD", 4) == 0);
    if (memmem(a.p, a.n, "Connection: close", 17))
        reconnect(f);
    return a;
}

static int status_of(struct tg_str answer)
{
    return answer.n > 12 ? atoi(answer.p + 9) : 0;
}

static struct tg_str body_of(struct tg_str answer)
{
    const char *end = memmem(answer.p, answer.n, "\r\n\r\n", 4);
    assert_non_null(end);
    return tg_str_n(end + 4, (size_t)(answer.p + answer.n - end - 4));
}

#define BASIC_WK "Authorization: Basic V0s6\r\n" /* WK: */
#define TRACK    TG_STR("{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}")
#define BATCH    TG_STR("{\"batch\":[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}]}")

/* Every route with its aliases takes its event; the answer is 200 and {"success":true}. */
static void event_routes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *type;
    } routes[] = {
        {"/v1/track", "track"},
        {"/v1/t", "track"},
        {"/track", "track"},
        {"/t", "track"},
        {"/v1/track/", "track"},
        {"/v1/t/", "track"},
        {"/v1/identify", "identify"},
        {"/v1/i", "identify"},
        {"/i", "identify"},
        {"/v1/page", "page"},
        {"/v1/p", "page"},
        {"/p", "page"},
        {"/v1/screen", "screen"},
        {"/v1/s", "screen"},
        {"/s", "screen"},
        {"/v1/group", "group"},
        {"/v1/g", "group"},
        {"/g", "group"},
        {"/v1/alias", "alias"},
        {"/v1/a", "alias"},
        {"/a", "alias"},
        {"/api/s/track", "track"},
        {"/api/s/s2s/page", "page"},
        {"/v1/track/t", "track"},
        {"http://relay.example/v1/t", "track"},
        {"/v1/t?x=1", "track"},
    };
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        char first[128];
        snprintf(first, sizeof first, "POST %s", routes[i].path);
        f->sink.n_events = 0;
        struct tg_str a =
            ask(f, first, BASIC_WK,
                TG_STR("{\"event\":\"E\",\"userId\":\"u\",\"groupId\":\"g\",\"previousId\":\"p\"}"));
        if (status_of(a) != 200 || f->sink.n_events != 1)
            fail_msg("%s: %.*s", routes[i].path, TG_STR_ARG(a));
        assert_str(body_of(a), "{\"success\":true}");
        assert_has(a, "Content-Type: application/json\r\n");
        assert_string_equal(f->sink.types[0], routes[i].type);
    }
}

/* Every route of batches. */
static void batch_routes(void **state)
{
    struct fixture *f = *state;
    static const char *const routes[] = {"/v1/batch",
                                         "/v1/b",
                                         "/b",
                                         "/batch",
                                         "/v1/import",
                                         "/v1/import/",
                                         "/v1/batch/b",
                                         "/batch/b",
                                         "/v1/b/",
                                         "/api/s/s2s/batch",
                                         "/beacon/v1/batch?writeKey=WK"};
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        char first[128];
        snprintf(first, sizeof first, "POST %s", routes[i]);
        f->sink.n_events = 0;
        struct tg_str a = ask(f, first, strchr(routes[i], '?') ? "" : BASIC_WK, BATCH);
        if (status_of(a) != 200 || f->sink.n_events != 1)
            fail_msg("%s: %.*s", routes[i], TG_STR_ARG(a));
    }
}

/* The key is found in each of its places, and the better place wins. */
static void write_key_places(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *headers, *body_key;
        int status;
        const char *code;
    } cases[] = {
        {"", BASIC_WK, NULL, 200, NULL},
        {"", "authorization: basic V0s=\r\n", NULL, 200, NULL},             /* WK, no colon */
        {"", "Authorization: Basic V0s6cGFzcw==\r\n", NULL, 200, NULL},     /* WK:pass */
        {"", "Authorization: Basic YWJjOnNlY3JldDo=\r\n", NULL, 200, NULL}, /* abc:secret: */
        {"", "X-Write-Key: abc:secret\r\n", "abc:***", 200, NULL},          /* masked in the body */
        {"", "X-Write-Key: WK2\r\n", NULL, 200, NULL},
        {"?writeKey=WK", "", NULL, 200, NULL},
        {"?a=b&writeKey=abc%3Asecret", "", NULL, 200, NULL},
        {"", "", "WK", 200, NULL},
        {"", "Authorization: Bearer some.token\r\n", "WK", 200, NULL},
        {"", "Authorization: Bearer WK\r\n", NULL, 401, "missing_write_key"},
        {"", "Authorization: Basic Og==\r\n", "WK", 200, NULL}, /* ":" */
        {"", BASIC_WK, "NOPE", 200, NULL},
        {"?writeKey=NOPE", BASIC_WK "X-Write-Key: NOPE\r\n", "NOPE", 200, NULL},
        {"", "Authorization: Basic Tk9QRTo=\r\nX-Write-Key: WK\r\n", "WK", 401, "unknown_write_key"},
        {"?writeKey=WK", "X-Write-Key: NOPE\r\n", "WK", 401, "unknown_write_key"},
        {"?writeKey=NOPE", "", "WK", 401, "unknown_write_key"},
        {"", "", "NOPE", 401, "unknown_write_key"},
        {"", "", "wk", 401, "unknown_write_key"},
        {"", "", NULL, 401, "missing_write_key"},
        {"", "", "OFF", 401, "source_disabled"},
        {"", "X-Write-Key: OFF\r\n", NULL, 401, "source_disabled"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char first[128], body[200];
        snprintf(first, sizeof first, "POST /v1/track%s", cases[i].query);
        /* The key last, as Python sends it. */
        snprintf(body, sizeof body, "{\"event\":\"E\",\"userId\":\"u\"%s%s%s}",
                 cases[i].body_key ? ",\"writeKey\":\"" : "", cases[i].body_key ? cases[i].body_key : "",
                 cases[i].body_key ? "\"" : "");
        struct tg_str a = ask(f, first, cases[i].headers, tg_str_of(body));
        if (status_of(a) != cases[i].status)
            fail_msg("case %zu: %.*s", i, TG_STR_ARG(a));
        if (cases[i].code)
            assert_str(tg_json_get(body_of(a), "code"),
                       (snprintf(body, sizeof body, "\"%s\"", cases[i].code), body));
    }
}

/* What is wrong with a request: status and code, in a body that every SDK can read, with CORS headers. */
static void refusals(void **state)
{
    struct fixture *f = *state;
    static char big[30000];
    memset(big, 'x', sizeof big - 1);
    static const struct {
        const char *first, *headers;
        struct tg_str body;
        int status;
        const char *code;
    } cases[] = {
        {"GET /nowhere", "", {NULL, 0}, 404, "not_found"},
        {"POST /v1/nowhere", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"POST /", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"POST //v1/track", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"POST /v1/track/x", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"POST /v1/batch/batch", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"POST /v1/redirect", BASIC_WK, {"{}", 2}, 404, "not_found"},
        {"GET /v1/track", "", {NULL, 0}, 405, "method_not_allowed"},
        {"PUT /v1/track", "", {NULL, 0}, 405, "method_not_allowed"},
        {"POST /v1/pixel/track", "", {"{}", 2}, 405, "method_not_allowed"},
        {"POST /v1/batch", BASIC_WK, {"{", 1}, 400, "invalid_json"},
        {"POST /v1/batch", BASIC_WK, {NULL, 0}, 400, "invalid_json"},
        {"POST /v1/batch", BASIC_WK, {"[]", 2}, 400, "invalid_request"},
        {"POST /v1/batch", BASIC_WK, {"{\"batch\":{}}", 12}, 400, "invalid_batch"},
        {"POST /v1/batch",
         BASIC_WK "Content-Encoding: gzip\r\n",
         {"not gzip", 8},
         400,
         "invalid_compression"},
        {"POST /v1/batch", BASIC_WK "Content-Encoding: br\r\n", {"x", 1}, 415, "unsupported_encoding"},
        {"POST /v1/batch",
         BASIC_WK "Content-Encoding: gzip, gzip\r\n",
         {"x", 1},
         415,
         "unsupported_encoding"},
        {"POST /v1/batch", BASIC_WK, {big, sizeof big}, 400, "payload_too_large"},
        {"POST /v1/batch", "X-Write-Key: NOPE\r\n", {big, sizeof big}, 401, "unknown_write_key"},
        {"POST /v1/delete", BASIC_WK, {"{\"userId\":\"u\"}", 14}, 403, "delete_not_allowed"},
        {"POST /v1/delete", "X-Write-Key: DEL\r\nX: ", {"{\"userId\":\"u\"}", 14}, 403, "delete_not_allowed"},
        {"POST /v1/track", "X-Write-Key: SHOP\r\nX: ", {"{}", 2}, 403, "origin_not_allowed"},
        {"POST /v1/track",
         "X-Write-Key: NOPE\r\nContent-Encoding: br\r\n",
         {"{", 1},
         401,
         "unknown_write_key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char headers[300], code[64];
        bool cut = strlen(cases[i].headers) > 3 &&
                   strcmp(cases[i].headers + strlen(cases[i].headers) - 3, "X: ") == 0;
        snprintf(headers, sizeof headers, "%s%sOrigin: https://a.example\r\n", cases[i].headers,
                 cut ? "1\r\n" : "");
        struct tg_str a = ask(f, cases[i].first, headers, cases[i].body);
        if (status_of(a) != cases[i].status)
            fail_msg("case %zu (%s): %.*s", i, cases[i].first, TG_STR_ARG(a));
        assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
        assert_has(a, "Access-Control-Expose-Headers: Retry-After\r\n");
        assert_has(a, "Vary: Origin\r\n");
        assert_has(a, "Content-Type: application/json\r\n");
        struct tg_str body = body_of(a);
        assert_ok(tg_json_validate(body, 4, NULL, NULL));
        assert_str(tg_json_get(body, "success"), "false");
        snprintf(code, sizeof code, "\"%s\"", cases[i].code);
        assert_str(tg_json_get(body, "code"), code);
        assert_true(tg_json_get(body, "message").n > 2);
        assert_true(tg_str_eq(tg_json_get(body, "message"), tg_json_get(body, "error")));
        snprintf(code, sizeof code, "code=\"%s\"", cases[i].code);
        assert_true(tg_metric_total(f->metrics, "tidegate_ingest_refused_total", code) > 0);
    }
    assert_int_equal(f->sink.appends, 0);
}

/* Headers over the limit are 431, malformed requests 400, both as JSON. */
static void transport_faults(void **state)
{
    struct fixture *f = *state;
    char headers[17000];
    memset(headers, 'x', sizeof headers);
    memcpy(headers, "Origin: https://a.example\r\nCookie: ", 35);
    memcpy(headers + sizeof headers - 3, "\r\n", 3);
    struct tg_str a = ask(f, "POST /v1/track", headers, TG_STR("{}"));
    assert_int_equal(status_of(a), 431);
    assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
    assert_has(a, "\"code\":\"headers_too_large\"");
    a = ask(f, "POST /v1/track", "Origin: https://a.example\r\nA: b\r\n c\r\n", TG_STR("{}"));
    assert_int_equal(status_of(a), 400);
    assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
    assert_has(a, "\"code\":\"malformed_request\"");
}

/* A preflight mirrors the origin and the headers that it asks for, on every path. */
static void preflight(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/v1/t", "/v1/projects/WK/settings", "/sourceConfig/", "/nowhere"};
    for (size_t i = 0; i < 4; i++) {
        char first[64];
        snprintf(first, sizeof first, "OPTIONS %s", paths[i]);
        struct tg_str a = ask(f, first,
                              "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
                              "Access-Control-Request-Headers: authorization,x-retry-count\r\n",
                              tg_str_n(NULL, 0));
        assert_begins(a, "HTTP/1.1 204 No Content\r\n");
        assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
        assert_has(a, "Access-Control-Allow-Headers: authorization,x-retry-count\r\n");
        assert_has(a, "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n");
        assert_has(a, "Access-Control-Allow-Credentials: true\r\n");
        assert_has(a, "Access-Control-Max-Age: 7200\r\n");
        assert_has(a, "Vary: Origin\r\n");
        assert_lacks(a, "Content-Length");
    }
}

/* Each SDK's own list of headers, of retries too, is what it gets. */
static void preflight_headers(void **state)
{
    struct fixture *f = *state;
    static const char *const wanted[] = {
        "authorization",                                 /* Segment browser */
        "authorization,x-retry-count",                   /* on a retry */
        "anonymousid,authorization,content-type,sentat", /* RudderStack browser */
        "anonymousid,authorization,content-type,rsa-retry-attempt,rsa-retry-reason,rsa-since-first-attempt,"
        "rsa-since-last-attempt,sentat", /* on a retry */
        "content-type,x-write-key",      /* Jitsu */
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char headers[400], line[400];
        snprintf(headers, sizeof headers, "Origin: null\r\nAccess-Control-Request-Headers: %s\r\n",
                 wanted[i]);
        snprintf(line, sizeof line, "Access-Control-Allow-Headers: %s\r\n", wanted[i]);
        struct tg_str a = ask(f, "OPTIONS /v1/track", headers, tg_str_n(NULL, 0));
        assert_has(a, line);
        assert_has(a, "Access-Control-Allow-Origin: null\r\n");
    }
}

/* The source's origins are enforced on POST; senders without an Origin are servers. */
static void origins(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        status_of(ask(f, "POST /v1/t", "X-Write-Key: SHOP\r\nOrigin: https://shop.example\r\n", TRACK)), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/t", "X-Write-Key: SHOP\r\n", TRACK)), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/t", "X-Write-Key: SHOP\r\nOrigin: null\r\n", TRACK)), 403);
    assert_int_equal(
        status_of(ask(f, "POST /v1/t", "X-Write-Key: SHOP\r\nOrigin: https://shop.example.evil\r\n", TRACK)),
        403);
    assert_int_equal(status_of(ask(f, "GET /v1/projects/SHOP/settings", "Origin: https://other.example\r\n",
                                   tg_str_n(NULL, 0))),
                     200);
}

/* gzip with any content type, chunked, and the decompressed size is what is limited. */
static void compressed(void **state)
{
    struct fixture *f = *state;
    struct tg_buf z = TG_BUF_INIT(1 << 20), big = TG_BUF_INIT(1 << 20);
    assert_ok(tg_gzip(&z, BATCH, 6));
    struct tg_str a =
        ask(f, "POST /v1/batch",
            BASIC_WK "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n",
            tg_buf_str(&z));
    assert_int_equal(status_of(a), 200);
    assert_int_equal(f->sink.n_events, 1);

    struct tg_buf chunked = TG_BUF_INIT(1 << 20);
    assert_ok(tg_buf_printf(&chunked,
                            "POST /v1/b HTTP/1.1\r\nHost: r\r\n" BASIC_WK
                            "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
                            z.len));
    assert_ok(tg_buf_addstr(&chunked, tg_buf_str(&z)));
    assert_ok(tg_buf_adds(&chunked, "\r\n0\r\n\r\n"));
    assert_true(client_send(f->base, f->fd, tg_buf_str(&chunked)));
    assert_int_equal(status_of(client_answer(f->base, f->fd, &f->got)), 200);
    assert_int_equal(f->sink.n_events, 2);

    assert_ok(tg_buf_printf(&big, "{\"batch\":[]%030000d}", 0));
    tg_buf_clear(&z);
    assert_ok(tg_gzip(&z, tg_buf_str(&big), 9));
    a = ask(f, "POST /v1/batch", BASIC_WK "Content-Encoding: gzip\r\n", tg_buf_str(&z));
    assert_int_equal(status_of(a), 400);
    assert_has(a, "payload_too_large");
    z.len -= 4;
    a = ask(f, "POST /v1/batch", BASIC_WK "Content-Encoding: gzip\r\n", tg_buf_str(&z));
    assert_int_equal(status_of(a), 400);
    tg_buf_fini(&z);
    tg_buf_fini(&big);
    tg_buf_fini(&chunked);
}

/* Nobody is judged by a Content-Type: not by those that SDKs send, nor by none or nonsense. */
static void content_types(void **state)
{
    struct fixture *f = *state;
    static const char *const types[] = {
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: application/json; charset=UTF-8\r\n",
        "Content-Type: application/json;charset=utf-8\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: text/plain;charset=UTF-8\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data\r\n",
        "Content-Type: ???\r\n",
        "Content-Type:\r\n",
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char headers[200];
        snprintf(headers, sizeof headers, BASIC_WK "%s", types[i]);
        assert_int_equal(status_of(ask(f, "POST /v1/batch", headers, BATCH)), 200);
        assert_int_equal(f->sink.n_events, i + 1);
    }
}

/* Bad items of a good batch are set aside with their reasons; the batch is 200. */
static void bad_items(void **state)
{
    struct fixture *f = *state;
    struct tg_str a =
        ask(f, "POST /v1/batch", BASIC_WK,
            TG_STR("{\"batch\":[1,{\"type\":\"track\",\"userId\":\"u\"},{\"type\":\"merge\"},"
                   "{\"type\":\"delete\",\"userId\":\"u\"},{\"type\":\"page\",\"userId\":\"u\"}]}"));
    assert_int_equal(status_of(a), 200);
    assert_int_equal(f->sink.n_events, 1);
    assert_string_equal(f->sink.types[0], "page");
    assert_int_equal(f->sink.n_bad, 3);
    assert_string_equal(f->sink.reasons[0], "not_an_object");
    assert_string_equal(f->sink.reasons[1], "missing_event");
    assert_string_equal(f->sink.reasons[2], "delete_not_allowed");
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_events_rejected_total",
                                     "source=\"web\",reason=\"missing_event\""),
                     1);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_events_merge_total", "source=\"web\""), 1);
    assert_int_equal(
        tg_metric_total(f->metrics, "tidegate_events_accepted_total", "source=\"web\",type=\"page\""), 1);
    a = ask(f, "POST /v1/track", BASIC_WK, TG_STR("{}"));
    assert_int_equal(status_of(a), 200);
    assert_int_equal(f->sink.n_bad, 4);
}

/* Deletion needs the permission and a sender that is no browser. */
static void deletion(void **state)
{
    struct fixture *f = *state;
    struct tg_str one = TG_STR("{\"userId\":\"u\"}"),
                  batch = TG_STR("{\"batch\":[{\"type\":\"delete\",\"userId\":\"u\"}]}");
    assert_int_equal(status_of(ask(f, "POST /v1/delete", "X-Write-Key: DEL\r\n", one)), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/batch", "X-Write-Key: DEL\r\n", batch)), 200);
    assert_int_equal(f->sink.n_events, 2);
    assert_string_equal(f->sink.types[1], "delete");
    assert_int_equal(
        status_of(ask(f, "POST /v1/delete", "X-Write-Key: DEL\r\nOrigin: https://a.example\r\n", one)), 403);
    assert_int_equal(
        status_of(ask(f, "POST /v1/batch", "X-Write-Key: DEL\r\nOrigin: https://a.example\r\n", batch)), 200);
    assert_int_equal(f->sink.n_events, 2);
    assert_string_equal(f->sink.reasons[0], "delete_not_allowed");
}

/* When nothing can be accepted the answer says when to come again, after the checks of key and body. */
static void no_room(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int rc, status;
        const char *code;
    } cases[] = {{TG_BUSY, 429, "overloaded"},
                 {TG_FULL, 503, "disk_full"},
                 {TG_IO, 503, "storage_error"},
                 {TG_CLOSED, 503, "stopping"}};
    for (size_t i = 0; i < 4; i++) {
        f->sink.ready = cases[i].rc;
        f->sink.why = "because";
        f->sink.retry_after = 7;
        struct tg_str a = ask(f, "POST /v1/batch", BASIC_WK, BATCH);
        assert_int_equal(status_of(a), cases[i].status);
        assert_has(a, "Retry-After: 7\r\n");
        if (cases[i].status == 429)
            assert_has(a, "X-RateLimit-Reset: 7\r\n");
        else
            assert_lacks(a, "X-RateLimit-Reset");
        assert_has(a, cases[i].code);
        assert_has(a, "\"message\":\"because\"");
        assert_int_equal(status_of(ask(f, "POST /v1/batch", "", BATCH)), 401);
        assert_int_equal(status_of(ask(f, "POST /v1/batch", BASIC_WK, TG_STR("{"))), 400);
        assert_int_equal(status_of(ask(f, "GET /health", "", tg_str_n(NULL, 0))),
                         cases[i].rc == TG_BUSY ? 200 : 503);
        f->sink.ready = TG_OK;
        f->sink.append = cases[i].rc;
        a = ask(f, "POST /v1/batch", BASIC_WK, BATCH);
        assert_int_equal(status_of(a), cases[i].status);
        assert_has(a, "Retry-After: ");
        f->sink.append = TG_OK;
        f->sink.status = cases[i].rc;
        a = ask(f, "POST /v1/batch", BASIC_WK "Origin: https://a.example\r\n", BATCH);
        assert_int_equal(status_of(a), cases[i].status);
        assert_has(a, "Retry-After: ");
        assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
        f->sink.status = TG_OK;
    }
    assert_int_equal(
        tg_metric_total(f->metrics, "tidegate_events_accepted_total", "source=\"web\",type=\"track\""), 0);
}

/* What the sink asks for stays within what senders understand: whole seconds, from 1 to 300. */
static void retry_after_range(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int asked;
        const char *told;
    } cases[] = {{1, "Retry-After: 1\r\n"},
                 {300, "Retry-After: 300\r\n"},
                 {0, "Retry-After: 5\r\n"},
                 {-1, "Retry-After: 5\r\n"},
                 {301, "Retry-After: 5\r\n"}};
    f->sink.ready = TG_BUSY;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->sink.retry_after = cases[i].asked;
        assert_has(ask(f, "POST /v1/batch", BASIC_WK, BATCH), cases[i].told);
    }
    f->sink.ready = TG_OK;
    struct tg_ingest_source seldom = all_sources[0];
    seldom.rate = 0.001; /* one event in 1000 s */
    assert_ok(tg_ingest_set_sources(f->in, &seldom, 1, NULL));
    assert_int_equal(status_of(ask(f, "POST /v1/track", BASIC_WK, TRACK)), 200);
    struct tg_str a = ask(f, "POST /v1/track", BASIC_WK, TRACK);
    assert_int_equal(status_of(a), 429);
    assert_has(a, "Retry-After: 300\r\n");
}

/* Above its rate a source is told to wait; others are not. */
static void rate_limit(void **state)
{
    struct fixture *f = *state;
    int ok = 0, limited = 0;
    for (int i = 0; i < 1000 && !limited; i++) { /* a machine that stands still fills the bucket */
        struct tg_str a = ask(f, "POST /v1/track", "X-Write-Key: SLOW\r\n", TRACK);
        f->sink.n_events = 0;
        if (status_of(a) == 200) {
            ok++;
            continue;
        }
        limited++;
        assert_int_equal(status_of(a), 429);
        assert_has(a, "Retry-After: 1\r\n");
        assert_has(a, "rate_limited");
    }
    assert_true(ok >= 2);
    assert_true(limited >= 1);
    assert_int_equal(status_of(ask(f, "POST /v1/track", BASIC_WK, TRACK)), 200);
}

/* A batch of n events, each with padding of that many bytes, the key as last member (or none). */
static struct tg_str batch_of(struct tg_buf *text, size_t n, int padding, const char *key)
{
    tg_buf_clear(text);
    assert_ok(tg_buf_adds(text, "{\"batch\":["));
    for (size_t i = 0; i < n; i++)
        assert_ok(tg_buf_printf(text, "%s{\"type\":\"page\",\"userId\":\"u\",\"x\":\"%0*d\"}", i ? "," : "",
                                padding, 0));
    assert_ok(key ? tg_buf_printf(text, "],\"writeKey\":\"%s\"}", key) : tg_buf_adds(text, "]}"));
    return tg_buf_str(text);
}

/* A source's own limits of body, event and batch hold wherever its key stands, on decompressed bytes, and for
 * no other source. */
static void limits_of_a_source(void **state)
{
    struct fixture *f = *state;
    struct tg_buf text = TG_BUF_INIT(1 << 20), packed = TG_BUF_INIT(1 << 20);
    static const struct {
        size_t n;
        int padding;
        bool gzip;
        int status;
        const char *code;
        size_t accepted, aside;
    } cases[] = {
        {1, 1, false, 200, NULL, 1, 0},
        {3, 100, false, 200, NULL, 3, 0},
        {3, 100, true, 200, NULL, 3, 0},
        {4, 1, false, 400, "batch_too_large", 0, 0},
        {1, 1000, false, 400, "payload_too_large", 0, 0},
        {1, 1000, true, 400, "payload_too_large", 0, 0},
        {2, 300, false, 200, NULL, 0, 2}, /* too large, each of them */
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        bool in_body = i % 2;
        char headers[100];
        struct tg_str body = batch_of(&text, cases[i / 2].n, cases[i / 2].padding, in_body ? "TIGHT" : NULL);
        if (cases[i / 2].gzip) {
            tg_buf_clear(&packed);
            assert_ok(tg_gzip(&packed, body, 6));
            body = tg_buf_str(&packed);
        }
        snprintf(headers, sizeof headers, "%s%s", in_body ? "" : "X-Write-Key: TIGHT\r\n",
                 cases[i / 2].gzip ? "Content-Encoding: gzip\r\n" : "");
        f->sink.n_events = f->sink.n_bad = 0;
        struct tg_str a = ask(f, "POST /v1/batch", headers, body);
        if (status_of(a) != cases[i / 2].status)
            fail_msg("case %zu: %.*s", i, TG_STR_ARG(a));
        if (cases[i / 2].code)
            assert_has(a, cases[i / 2].code);
        assert_int_equal(f->sink.n_events, cases[i / 2].accepted);
        assert_int_equal(f->sink.n_bad, cases[i / 2].aside);
    }
    f->sink.n_events = 0;
    assert_int_equal(status_of(ask(f, "POST /v1/batch", BASIC_WK, batch_of(&text, 9, 1500, NULL))), 200);
    assert_int_equal(f->sink.n_events, 9);
    tg_buf_fini(&text);
    tg_buf_fini(&packed);
}

/* The answer comes when the sink says that the events are durable, not before. */
static void answers_after_the_disk(void **state)
{
    struct fixture *f = *state;
    f->sink.later = true;
    assert_true(client_send(f->base, f->fd,
                            TG_STR("POST /v1/t HTTP/1.1\r\nHost: r\r\n" BASIC_WK
                                   "Origin: https://a.example\r\nContent-Length: 27\r\n\r\n"
                                   "{\"event\":\"E\",\"userId\":\"u1\"}")));
    turn_until(f->base, f->sink.n_waiting == 1);
    for (int i = 0; i < 20; i++)
        turn(f->base);
    assert_int_equal(client_poll(f->fd, &f->got), 0);
    /* The configuration may change meanwhile. */
    assert_ok(tg_ingest_set_sources(f->in, all_sources, 1, NULL));
    f->sink.done[0](f->sink.done_arg[0], TG_OK, NULL);
    struct tg_str a = client_answer(f->base, f->fd, &f->got);
    assert_int_equal(status_of(a), 200);
    assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
    assert_int_equal(
        tg_metric_total(f->metrics, "tidegate_events_accepted_total", "source=\"web\",type=\"track\""), 1);
}

/* What is durable suppresses a copy: 200 and a counter. Ids are the source's own. */
static void duplicates(void **state)
{
    struct fixture *f = *state;
    struct tg_str one = TG_STR("{\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"m1\"}");
    assert_int_equal(status_of(ask(f, "POST /v1/t", BASIC_WK, one)), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/t", BASIC_WK, one)), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/t", "X-Write-Key: WK2\r\n", one)), 200);
    assert_int_equal(f->sink.n_events, 1);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_events_duplicate_total", "source=\"web\""), 2);
    assert_int_equal(status_of(ask(f, "POST /v1/t", "X-Write-Key: DEL\r\n", one)), 200);
    assert_int_equal(f->sink.n_events, 2);
    /* A batch of old and new, and one id twice. */
    assert_int_equal(
        status_of(ask(f, "POST /v1/b", BASIC_WK,
                      TG_STR("{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"m1\"},"
                             "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"m2\"},"
                             "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"m3\"},"
                             "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"m2\"}]}"))),
        200);
    assert_int_equal(f->sink.n_events, 4);
    assert_string_equal(f->sink.ids[2], "m2");
    assert_string_equal(f->sink.ids[3], "m3");
}

/* A copy of an event that is not durable yet, or never became so, is taken. */
static void duplicates_in_flight(void **state)
{
    struct fixture *f = *state;
    struct tg_str one = TG_STR("{\"event\":\"E\",\"userId\":\"u\",\"messageId\":\"m1\"}");
    f->sink.status = TG_IO;
    assert_int_equal(status_of(ask(f, "POST /v1/t", BASIC_WK, one)), 503);
    f->sink.status = TG_OK;
    f->sink.later = true;
    char text[300];
    snprintf(text, sizeof text,
             "POST /v1/t HTTP/1.1\r\nHost: r\r\n" BASIC_WK "Content-Length: %zu\r\n\r\n%.*s", one.n,
             TG_STR_ARG(one));
    int other = client_connect(f->port);
    assert_true(client_send(f->base, f->fd, tg_str_of(text)));
    assert_true(client_send(f->base, other, tg_str_of(text)));
    turn_until(f->base, f->sink.n_waiting == 2);
    assert_int_equal(f->sink.n_events, 3);
    f->sink.done[0](f->sink.done_arg[0], TG_OK, NULL);
    f->sink.done[1](f->sink.done_arg[1], TG_OK, NULL);
    assert_int_equal(status_of(client_answer(f->base, f->fd, &f->got)), 200);
    assert_int_equal(status_of(client_answer(f->base, other, &f->got)), 200);
    f->sink.later = false;
    assert_int_equal(status_of(ask(f, "POST /v1/t", BASIC_WK, one)), 200);
    assert_int_equal(f->sink.n_events, 3);
    close(other);
}

/* Freed while events are on their way to the disk, the front waits for the sink to call back, without
 * answering. */
static void freed_in_flight(void **state)
{
    struct fixture *f = *state;
    f->sink.later = true;
    static const char request[] = "POST /v1/t HTTP/1.1\r\nHost: r\r\n" BASIC_WK "Content-Length: 26\r\n\r\n"
                                  "{\"event\":\"E\",\"userId\":\"u\"}";
    int gone = client_connect(f->port);
    assert_true(client_send(f->base, gone, tg_str_of(request)));
    assert_true(client_send(f->base, f->fd, tg_str_of(request)));
    turn_until(f->base, f->sink.n_waiting == 2);
    struct linger reset = {.l_onoff = 1};
    setsockopt(gone, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(gone);
    turn_until(f->base, tg_http_connections(tg_ingest_http(f->in)) == 1);
    tg_ingest_free(&f->in);
    f->sink.done[0](f->sink.done_arg[0], TG_OK, NULL);
    f->sink.done[1](f->sink.done_arg[1], TG_IO, NULL);
    client_closed(f->base, f->fd, &f->got);
}

/* Pixels give an event from base64 or flat parameters, and a picture whatever happens. */
static void pixels(void **state)
{
    struct fixture *f = *state;
    struct tg_buf data = TG_BUF_INIT(1000), first = TG_BUF_INIT(2000);
    assert_ok(tg_buf_adds(&first, "GET /v1/pixel/track?data="));
    assert_ok(tg_base64(&first, "{\"writeKey\":\"WK\",\"userId\":\"u\",\"event\":\"P>?\"}", 44, true, false));
    struct tg_str a = ask(f, tg_buf_cstr(&first), "", tg_str_n(NULL, 0));
    assert_int_equal(status_of(a), 200);
    assert_has(a, "Content-Type: image/gif\r\n");
    assert_true(tg_str_eq(body_of(a), tg_reply_pixel));
    assert_int_equal(f->sink.n_events, 1);
    a = ask(f, "GET /pixel/v1/page?userId=u&properties.a.b=x%20y&properties.a.c=1&writeKey=WK&properties=no",
            "", tg_str_n(NULL, 0));
    assert_int_equal(f->sink.n_events, 2);
    assert_string_equal(f->sink.types[1], "page");
    assert_string_equal(
        f->sink.bodies[1],
        "{\"userId\":\"u\",\"properties\":{\"a\":{\"b\":\"x y\",\"c\":\"1\"}},\"writeKey\":\"WK\"}");
    a = ask(f, "GET /api/px/identify?userId=u&writeKey=WK", "", tg_str_n(NULL, 0));
    assert_int_equal(f->sink.n_events, 3);
    static const char *const bad[] = {
        "GET /v1/pixel/track", "GET /v1/pixel/track?data=%%%", "GET /v1/pixel/track?data=e30",
        "GET /v1/pixel/track?userId=u&writeKey=NOPE", "HEAD /v1/pixel/track?data=e30"};
    for (size_t i = 0; i < 5; i++) {
        a = ask(f, bad[i], "", tg_str_n(NULL, 0));
        assert_int_equal(status_of(a), 200);
        assert_has(a, "image/gif");
    }
    /* Of no event, of a source that is off, from an origin that is not listed, and longer than headers may
     * be. */
    static char endless[20000] = "GET /v1/pixel/track?writeKey=WK&userId=";
    memset(endless + strlen(endless), 'u', sizeof endless - 1 - strlen(endless));
    const char *const refused[] = {"GET /v1/pixel/delete?writeKey=DEL&userId=u", "GET /v1/pixel?writeKey=WK",
                                   "GET /v1/pixel/page?writeKey=OFF&userId=u", endless};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct tg_buf request = TG_BUF_INIT(1 << 16);
        assert_ok(tg_buf_printf(&request, "%s HTTP/1.1\r\nHost: r\r\n\r\n", refused[i]));
        assert_true(client_send(f->base, f->fd, tg_buf_str(&request)));
        a = client_answer(f->base, f->fd, &f->got);
        assert_int_equal(status_of(a), 200);
        assert_true(tg_str_eq(body_of(a), tg_reply_pixel));
        tg_buf_fini(&request);
        reconnect(f);
    }
    assert_int_equal(f->sink.n_events, 3);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_ingest_refused_total", "code=\"not_found\""), 2);
    assert_int_equal(
        tg_metric_total(f->metrics, "tidegate_ingest_refused_total", "code=\"headers_too_large\""), 1);
    f->sink.ready = TG_FULL;
    a = ask(f, "GET /v1/pixel/page?userId=u&writeKey=WK", "", tg_str_n(NULL, 0));
    assert_int_equal(status_of(a), 200);
    assert_int_equal(f->sink.n_events, 3);
    assert_int_equal(tg_reply_pixel.n, 43);
    tg_buf_fini(&data);
    tg_buf_fini(&first);
}

/* Settings name the relay as apiHost, as the browser reached it; unknown keys get none. */
static void settings(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"GET /v1/projects/WK/settings", "GET /projects/WK/settings",
                                        "GET /v1/projects/projects/WK/settings",
                                        "GET /v1/projects/%57K/settings/"};
    for (size_t i = 0; i < 4; i++) {
        struct tg_str a = ask(f, paths[i], "Origin: https://a.example\r\n", tg_str_n(NULL, 0));
        assert_int_equal(status_of(a), 200);
        assert_has(a, "Access-Control-Allow-Origin: https://a.example\r\n");
        assert_ok(tg_json_validate(body_of(a), 16, NULL, NULL));
        assert_has(a, "{\"integrations\":{\"Segment.io\":{\"apiKey\":\"WK\",\"apiHost\":\"relay.example/v1\","
                      "\"protocol\":\"http\"}}");
    }
    struct tg_str a =
        ask(f, "GET /v1/projects/SHOP/settings",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: events.example\r\n", tg_str_n(NULL, 0));
    assert_has(a, "\"apiHost\":\"events.example/v1\",\"protocol\":\"https\"");
    a = ask(f, "GET /v1/projects/WK/settings",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n", tg_str_n(NULL, 0));
    assert_has(a, "\"apiHost\":\"relay.example/v1\",\"protocol\":\"http\"");
    assert_int_equal(status_of(ask(f, "GET /v1/projects/NOPE/settings", "", tg_str_n(NULL, 0))), 401);
    assert_int_equal(status_of(ask(f, "GET /v1/projects/OFF/settings", "", tg_str_n(NULL, 0))), 401);
    a = ask(f, "GET /sourceConfig/?p=npm&v=3.34.1&writeKey=WK", BASIC_WK, tg_str_n(NULL, 0));
    assert_int_equal(status_of(a), 200);
    assert_ok(tg_json_validate(body_of(a), 16, NULL, NULL));
    assert_str(tg_json_path(body_of(a), TG_STR("source.enabled")), "true");
    assert_str(tg_json_path(body_of(a), TG_STR("source.writeKey")), "\"WK\"");
    assert_str(tg_json_path(body_of(a), TG_STR("source.destinations")), "[]");
    assert_int_equal(status_of(ask(f, "GET /sourceConfig", "", tg_str_n(NULL, 0))), 401);
}

/* The public URL, when there is one, is told instead of the request's host; a bad one changes nothing. */
static void public_url(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *url, *told;
    } cases[] = {
        {"https://events.example", "\"apiHost\":\"events.example/v1\",\"protocol\":\"https\""},
        {"http://[::1]:8080/a/b//", "\"apiHost\":\"[::1]:8080/a/b/v1\",\"protocol\":\"http\""},
        {NULL, "\"apiHost\":\"relay.example/v1\",\"protocol\":\"http\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_err err = {0};
        assert_ok(tg_ingest_set_public_url(f->in, cases[i].url, NULL));
        assert_int_equal(tg_ingest_set_public_url(f->in, "relay.example", &err), TG_INVALID);
        assert_non_null(strstr(err.msg, "public_url"));
        assert_has(ask(f, "GET /v1/projects/WK/settings", "", tg_str_n(NULL, 0)), cases[i].told);
    }
}

/* Pages get the operator's copy of their script once it is set, with a tag by which they need not load it
 * again until it changes; unknown keys get nothing. */
static void browser_script(void **state)
{
    struct fixture *f = *state;
    static const char path[] = "GET /analytics.js/v1/WK/analytics.min.js";
    const struct tg_str none = {NULL, 0};
    struct tg_str a = ask(f, path, "Origin: https://shop.example\r\n", none);
    assert_int_equal(status_of(a), 404);
    assert_has(a, "analytics_js");
    assert_ok(tg_ingest_set_browser_script(f->in, "first();", NULL));
    a = ask(f, path, "Origin: https://shop.example\r\n", none);
    assert_int_equal(status_of(a), 200);
    assert_str(body_of(a), "first();");
    assert_has(a, "Content-Type: text/javascript; charset=utf-8\r\n");
    assert_has(a, "Cache-Control: public, max-age=120\r\n");
    assert_has(a, "Access-Control-Allow-Origin: https://shop.example\r\n");
    char again[200];
    const char *tag = memmem(a.p, a.n, "ETag: ", 6);
    assert_non_null(tag);
    (void)snprintf(again, sizeof again, "If-None-Match: \"other\", W/%.*s\r\n", 34, tag + 6);
    a = ask(f, path, again, none);
    assert_int_equal(status_of(a), 304);
    assert_null(memmem(a.p, a.n, "Content-Length", 14));
    assert_int_equal(status_of(ask(f, "GET /analytics.js/v1/NOPE/analytics.min.js", "", none)), 401);
    assert_ok(tg_ingest_set_browser_script(f->in, "second();", NULL));
    assert_int_equal(status_of(ask(f, path, again, none)), 200);
    assert_ok(tg_ingest_set_browser_script(f->in, NULL, NULL));
    assert_int_equal(status_of(ask(f, path, again, none)), 404);
}

/* What is not for the relay is answered and dropped: SDK metrics without a key, merge with one. */
static void dropped(void **state)
{
    struct fixture *f = *state;
    struct tg_str a = ask(f, "POST /v1/m", "", TG_STR("{\"series\":[]}"));
    assert_int_equal(status_of(a), 200);
    assert_str(body_of(a), "{\"success\":true}");
    assert_int_equal(status_of(ask(f, "POST /v1/merge", BASIC_WK, TG_STR("{}"))), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/merge", "", TG_STR("{\"writeKey\":\"WK\"}"))), 200);
    assert_int_equal(status_of(ask(f, "POST /v1/merge", "", TG_STR("{}"))), 401);
    assert_int_equal(tg_metric_total(f->metrics, "tidegate_events_merge_total", "source=\"web\""), 2);
    assert_int_equal(status_of(ask(f, "GET /health", "", tg_str_n(NULL, 0))), 200);
    assert_int_equal(f->sink.appends, 0);
}

/* The sender's address goes into context.ip when the source wants it; proxies are believed when they are
 * trusted. */
static void addresses(void **state)
{
    struct fixture *f = *state;
    ask(f, "POST /v1/t",
        "X-Write-Key: SHOP\r\nOrigin: https://shop.example\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9, "
        "10.1.1.1\r\n",
        TRACK);
    assert_non_null(strstr(f->sink.contexts[0], "\"ip\":\"203.0.113.9\""));
    ask(f, "POST /v1/t", "X-Write-Key: SHOP\r\nOrigin: https://shop.example\r\n", TRACK);
    assert_non_null(strstr(f->sink.contexts[1], "\"ip\":\"127.0.0.1\""));
    ask(f, "POST /v1/t", BASIC_WK "Origin: https://shop.example\r\nX-Forwarded-For: 203.0.113.9\r\n", TRACK);
    assert_null(strstr(f->sink.contexts[2], "\"ip\""));
    /* fetch of Node looks like a browser's but for Origin: it is a server. */
    ask(f, "POST /v1/t",
        "X-Write-Key: SHOP\r\nSec-Fetch-Mode: cors\r\nAccept-Language: *\r\nUser-Agent: node\r\n", TRACK);
    assert_string_equal(f->sink.contexts[3], "");
}

/* A set of sources that cannot be is refused with its reason, and the old one serves on. */
static void bad_sources(void **state)
{
    struct fixture *f = *state;
    static const char *const not_cidr[] = {"10.0.0.0/33"}, *const empty[] = {""};
    struct tg_ingest_source twice[] = {all_sources[0], all_sources[0]}, proxies = all_sources[0],
                            none = all_sources[0];
    twice[1].name = "copy";
    proxies.trusted_proxies = not_cidr;
    proxies.n_trusted_proxies = 1;
    none.write_keys = empty;
    none.n_write_keys = 1;
    struct tg_err err = {0};
    assert_int_equal(tg_ingest_set_sources(f->in, twice, 2, &err), TG_EXISTS);
    assert_non_null(strstr(err.msg, "copy"));
    assert_int_equal(tg_ingest_set_sources(f->in, &proxies, 1, &err), TG_INVALID);
    assert_non_null(strstr(err.msg, "10.0.0.0/33"));
    assert_int_equal(tg_ingest_set_sources(f->in, &none, 1, &err), TG_INVALID);
    assert_int_equal(status_of(ask(f, "POST /v1/track", BASIC_WK, TRACK)), 200);
    assert_ok(tg_ingest_set_sources(f->in, all_sources + 1, N_SOURCES - 1, &err));
    assert_int_equal(status_of(ask(f, "POST /v1/track", BASIC_WK, TRACK)), 401);
}

/* Refused allocations lose at most the answer; nothing is taken by half and the relay serves on. */
static void torture(void **state)
{
    struct fixture *f = *state;
    static const char request[] =
        "POST /v1/b HTTP/1.1\r\nHost: r\r\n" BASIC_WK
        "Origin: https://a.example\r\nConnection: close\r\nContent-Length: 133\r\n\r\n"
        "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"},{\"type\":\"page\",\"userId\":\"u\"},"
        "{\"type\":\"page\",\"userId\":\"u\"},{\"type\":\"track\"}],\"context\":{\"a\":1}}";
    assert_int_equal(strlen(strstr(request, "\r\n\r\n") + 4), 133);
    for (long n = 1; n < 40; n++) {
        f->sink.n_events = f->sink.n_bad = f->sink.appends = 0;
        reconnect(f);
        assert_ok(tg_buf_reserve(&f->got, 1 << 17));
        tg_mem_fail_after(n);
        (void)client_send(f->base, f->fd, tg_str_of(request));
        for (int i = 0; i < 5; i++)
            turn(f->base);
        tg_mem_fail_after(0);
        turn_until(f->base, tg_http_connections(tg_ingest_http(f->in)) == 0);
        if (f->sink.appends) {
            assert_int_equal(f->sink.n_events, 3);
            assert_int_equal(f->sink.n_bad, 1);
        }
    }
    for (long n = 1; n < 60; n++) {
        tg_mem_fail_after(n);
        int rc = tg_ingest_set_sources(f->in, all_sources, N_SOURCES, NULL);
        int refused = tg_mem_failed();
        tg_mem_fail_after(0);
        assert_int_equal(rc, refused ? TG_NOMEM : TG_OK);
    }
    reconnect(f);
    assert_int_equal(status_of(ask(f, "POST /v1/track", BASIC_WK, TRACK)), 200);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(event_routes),
        WITH(batch_routes),
        WITH(write_key_places),
        WITH(refusals),
        WITH(transport_faults),
        WITH(preflight),
        WITH(preflight_headers),
        WITH(origins),
        WITH(compressed),
        WITH(content_types),
        WITH(bad_items),
        WITH(deletion),
        WITH(no_room),
        WITH(retry_after_range),
        WITH(rate_limit),
        WITH(limits_of_a_source),
        WITH(answers_after_the_disk),
        WITH(duplicates),
        WITH(duplicates_in_flight),
        WITH(pixels),
        WITH(freed_in_flight),
        WITH(settings),
        WITH(public_url),
        WITH(browser_script),
        WITH(dropped),
        WITH(addresses),
        WITH(bad_sources),
        WITH(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
