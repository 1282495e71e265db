#include "tg_test.h"

#include "base/buf.h"
#include "ingest/http_parser.h"

static const struct tg_http_parse_limits limits = {.head = 1024, .body = 64};

struct feed {
    struct tg_buf buf;
    struct tg_http_parser parser;
    struct tg_http_msg msg;
};

static void feed_init(struct feed *f)
{
    tg_buf_init(&f->buf, 1 << 20);
    tg_http_parser_reset(&f->parser);
}

/* Feeds `text` in pieces of `step` bytes until the parser has a result. */
static enum tg_http_parse feed(struct feed *f, struct tg_str text, size_t step)
{
    enum tg_http_parse rc = TG_HTTP_MORE;
    for (size_t at = 0; at < text.n && rc == TG_HTTP_MORE; at += step) {
        assert_ok(tg_buf_add(&f->buf, text.p + at, text.n - at < step ? text.n - at : step));
        rc = tg_http_parse(&f->parser, f->buf.data, &f->buf.len, &limits, &f->msg);
    }
    return rc;
}

static enum tg_http_parse parse(struct feed *f, struct tg_str text, size_t step)
{
    feed_init(f);
    return feed(f, text, step);
}

#define HOST "Host: relay\r\n"

/* A request comes out the same whatever the pieces in which it arrives. */
static void whole_requests(void **state)
{
    (void)state;
    static const struct {
        struct tg_str text;
        enum tg_http_method method;
        const char *path, *query, *body;
        bool keep_alive;
    } cases[] = {
        {TG_STR("POST /v1/t?x=1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"), TG_HTTP_POST, "/v1/t",
         "x=1", "hello", true},
        {TG_STR("\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_GET, "/", "", "", true},
        {TG_STR("GET /a HTTP/1.1\r\nhost:relay\r\nConnection: close\r\n\r\n"), TG_HTTP_GET, "/a", "", "",
         false},
        {TG_STR("GET /a HTTP/1.0\r\n\r\n"), TG_HTTP_GET, "/a", "", "", false},
        {TG_STR("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), TG_HTTP_GET, "/a", "", "", true},
        {TG_STR("HEAD /a#b?c HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_HEAD, "/a", "", "", true},
        {TG_STR("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_OPTIONS, "*", "", "", true},
        {TG_STR("PUT http://relay:80/v1/b?q HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_OTHER, "/v1/b", "q", "",
         true},
        {TG_STR("GET HTTPS://relay?q#f HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_GET, "/", "q", "", true},
        {TG_STR("GET http://relay HTTP/1.1\r\n" HOST "\r\n"), TG_HTTP_GET, "/", "", "", true},
        {TG_STR("GET /a HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
         TG_HTTP_GET, "/a", "", "", true},
        {TG_STR("POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                "5\r\nhello\r\n00A;x=\"y\"\r\n, world\r\n!\r\n0\r\nTrailer: yes\r\n\r\n"),
         TG_HTTP_POST, "/c", "", "hello, world\r\n!", true},
        {TG_STR("POST /c HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), TG_HTTP_POST,
         "/c", "", "", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step <= cases[i].text.n; step++) {
            struct feed f;
            assert_int_equal(parse(&f, cases[i].text, step), TG_HTTP_DONE);
            assert_int_equal(f.msg.method, cases[i].method);
            assert_str(f.msg.path, cases[i].path);
            assert_str(f.msg.query, cases[i].query);
            assert_str(f.msg.body, cases[i].body);
            assert_int_equal(f.msg.keep_alive, cases[i].keep_alive);
            assert_int_equal(f.msg.consumed, f.buf.len);
            tg_buf_fini(&f.buf);
        }
    }
}

/* Header values lose the white space around them; lookup ignores case and takes the first. */
static void headers(void **state)
{
    (void)state;
    struct feed f;
    assert_int_equal(
        parse(&f,
              TG_STR("GET / HTTP/1.1\r\n" HOST "X-Write-Key:  a b \t \r\nEmpty:\r\nx-write-key: c\r\n\r\n"),
              7),
        TG_HTTP_DONE);
    assert_str(tg_http_header(&f.msg, "x-WRITE-key"), "a b");
    assert_int_equal(tg_http_header(&f.msg, "Empty").n, 0);
    assert_int_equal(tg_http_header(&f.msg, "Absent").n, 0);
    assert_int_equal(f.msg.n_headers, 4);
    tg_buf_fini(&f.buf);
}

/* What follows a complete request is left for the next one, behind chunks too. */
static void pipelined(void **state)
{
    (void)state;
    static const char second[] = "GET /2 HTTP/1.1\r\n" HOST "\r\n";
    static const struct tg_str both[] = {
        TG_STR("POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR("POST /1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
               "GET /2 HTTP/1.1\r\n" HOST "\r\n"),
    };
    for (size_t i = 0; i < 2; i++) {
        struct feed f;
        assert_int_equal(parse(&f, both[i], both[i].n), TG_HTTP_DONE);
        assert_str(f.msg.body, "abc");
        tg_buf_consume(&f.buf, f.msg.consumed);
        assert_str(tg_buf_str(&f.buf), second);
        tg_http_parser_reset(&f.parser);
        assert_int_equal(tg_http_parse(&f.parser, f.buf.data, &f.buf.len, &limits, &f.msg), TG_HTTP_DONE);
        assert_str(f.msg.path, "/2");
        tg_buf_fini(&f.buf);
    }
}

#define POST   "POST / HTTP/1.1\r\n" HOST
#define CHUNKS POST "Transfer-Encoding: chunked\r\n\r\n"

/* Shapes that two servers in a chain could read differently are refused, however they arrive. */
static void smuggling(void **state)
{
    (void)state;
    static const struct tg_str shapes[] = {
        TG_STR(POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
        TG_STR(POST "Content-Length: 4, 4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: +4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: -4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: 0x4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: 4 4\r\n\r\nabcd"),
        TG_STR(POST "Content-Length:\r\n\r\nabcd"),
        TG_STR(POST "Content-Length: 99999999999999999999\r\n\r\nabcd"),
        TG_STR(POST "Content-Length : 4\r\n\r\nabcd"),
        TG_STR(POST "Content Length: 4\r\n\r\nabcd"),
        TG_STR(POST " Content-Length: 4\r\n\r\nabcd"),
        TG_STR(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding: identity\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding:\x0b chunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
        TG_STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        TG_STR(POST "A: b\r\n c\r\n\r\n"),
        TG_STR(POST "A: b\r\n\tc\r\n\r\n"),
        TG_STR(POST "A:\r\n b\r\n\r\n"),
        TG_STR("POST / HTTP/1.1\r\n Host: x\r\n\r\n"),
        TG_STR("POST / HTTP/1.1\nHost: relay\n\n"),
        TG_STR("POST / HTTP/1.1\r\nHost: relay\n\r\n"),
        TG_STR("POST / HTTP/1.1\r\nHost: relay\r\n\n"),
        TG_STR("POST / HTTP/1.1\r\nHost: relay\rA: b\r\n\r\n"),
        TG_STR("POST / HTTP/1.1\r\nHost: relay\r\n\rA: b\r\n\r\n"),
        TG_STR(POST "A: b\0c\r\n\r\n"),
        TG_STR(POST "A\0: b\r\n\r\n"),
        TG_STR("POST /\0 HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR(POST "A: b\x7f\r\n\r\n"),
        TG_STR(POST ": b\r\n\r\n"),
        TG_STR(POST "no colon\r\n\r\n"),
        TG_STR("POST / HTTP/1.1\r\n\r\n"),
        TG_STR(POST "Host: other\r\n\r\n"),
        TG_STR("POST / HTTP/1.2\r\n" HOST "\r\n"),
        TG_STR("POST / HTTP/2.0\r\n" HOST "\r\n"),
        TG_STR("POST / HTTP/0.9\r\n" HOST "\r\n"),
        TG_STR("POST /\r\n" HOST "\r\n"),
        TG_STR("POST / a HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR("POST  HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR("\r\n\r\nPOST / HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR("NOSUCH / HTTP/1.1\r\n" HOST "\r\n"),
        TG_STR("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello on a plain port"),
        TG_STR(CHUNKS "x\r\n"),
        TG_STR(CHUNKS "\r\n"),
        TG_STR(CHUNKS " 1\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1 \r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "0x1\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "+1\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "-1\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1\r\na\n0\r\n\r\n"),
        TG_STR(CHUNKS "1\r\nab\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1\r\na0\r\n\r\n"),
        TG_STR(CHUNKS "1\r\na\rb0\r\n\r\n"),
        TG_STR(CHUNKS "1;a\nb\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1;a\rb\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "1;a\0b\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "000000001\r\na\r\n0\r\n\r\n"),
        TG_STR(CHUNKS "0\r\n a: b\r\n\r\n"),
        TG_STR(CHUNKS "0\r\na: b\n\r\n"),
        TG_STR(CHUNKS "0\r\na: b\r\n\n"),
        TG_STR(CHUNKS "0\r\n\rX"),
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (size_t step = 1; step <= shapes[i].n; step++) {
            struct feed f;
            enum tg_http_parse rc = parse(&f, shapes[i], step);
            if (rc != TG_HTTP_BAD || f.parser.why.fault != TG_HTTP_MALFORMED || !f.parser.why.reason)
                fail_msg("case %zu in steps of %zu: %d: %.*s", i, step, (int)rc, TG_STR_ARG(shapes[i]));
            tg_buf_fini(&f.buf);
        }
    }
}

/* Of all bytes, wherever they stand in a header's value, control characters but tab are refused. */
static void bytes_of_a_value(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\n" HOST "A: ................................\r\n\r\n";
    const size_t first = sizeof "GET / HTTP/1.1\r\n" HOST "A: " - 1, n = sizeof head - 1;
    for (size_t at = first; at < n - 4; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[sizeof head];
            memcpy(text, head, n);
            text[at] = (char)byte;
            struct feed f;
            bool good = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
            if (parse(&f, tg_str_n(text, n), n) != (good ? TG_HTTP_DONE : TG_HTTP_BAD))
                fail_msg("byte %d at %zu", byte, at);
            tg_buf_fini(&f.buf);
        }
    }
}

/* A request that is not complete yet is waited for. */
static void incomplete(void **state)
{
    (void)state;
    static const struct tg_str text =
        TG_STR(POST "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\na: b\r\n\r\n");
    for (size_t n = 1; n < text.n; n++) {
        struct feed f;
        assert_int_equal(parse(&f, tg_str_n(text.p, n), n), TG_HTTP_MORE);
        tg_buf_fini(&f.buf);
    }
}

/* Heads over the limit and too many headers are 431; headers that were whole before are there for the answer.
 */
static void head_limit(void **state)
{
    (void)state;
    struct feed f;
    struct tg_buf text = TG_BUF_INIT(1 << 20);
    assert_ok(tg_buf_adds(&text, "GET / HTTP/1.1\r\n" HOST "Origin: https://a.example\r\nCookie: "));
    while (text.len < limits.head + 10)
        assert_ok(tg_buf_addc(&text, 'x'));
    for (size_t step = 1; step < text.len; step += 13) {
        assert_int_equal(parse(&f, tg_buf_str(&text), step), TG_HTTP_BAD);
        assert_int_equal(f.parser.why.fault, TG_HTTP_HEAD_SIZE);
        assert_str(tg_http_header(&f.msg, "Origin"), "https://a.example");
        tg_buf_fini(&f.buf);
    }
    tg_buf_clear(&text);
    assert_ok(tg_buf_adds(&text, "GET / HTTP/1.1\r\n" HOST));
    for (int i = 0; i < TG_HTTP_MAX_HEADERS; i++)
        assert_ok(tg_buf_adds(&text, "a:\r\n"));
    assert_ok(tg_buf_adds(&text, "\r\n"));
    assert_int_equal(parse(&f, tg_buf_str(&text), text.len), TG_HTTP_BAD);
    assert_int_equal(f.parser.why.fault, TG_HTTP_HEAD_SIZE);
    tg_buf_fini(&f.buf);
    tg_buf_clear(&text);
    assert_ok(tg_buf_adds(&text, "GET /a/path?"));
    while (text.len < limits.head + 10)
        assert_ok(tg_buf_addc(&text, 'x'));
    for (size_t step = 1; step < text.len;
         step += 13) { /* of a line without end what was asked for is known */
        assert_int_equal(parse(&f, tg_buf_str(&text), step), TG_HTTP_BAD);
        assert_int_equal(f.parser.why.fault, TG_HTTP_HEAD_SIZE);
        assert_int_equal(f.msg.method, TG_HTTP_GET);
        assert_str(f.msg.path, "/a/path");
        tg_buf_fini(&f.buf);
    }
    tg_buf_fini(&text);
}

/* A body of the limit passes, one byte more is told apart from other faults, with a length and in chunks. */
static void body_limit(void **state)
{
    (void)state;
    static const struct {
        struct tg_str head;
        bool fits;
    } cases[] = {
        {TG_STR(POST "Content-Length: 64\r\n\r\n"), true},
        {TG_STR(POST "Content-Length: 65\r\n\r\n"), false},
        {TG_STR(CHUNKS "40\r\n"), true},
        {TG_STR(CHUNKS "41\r\n"), false},
        {TG_STR(CHUNKS "1\r\nx\r\n40\r\n"), false},
        {TG_STR(CHUNKS "ffffffff\r\n"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct feed f;
        enum tg_http_parse rc = parse(&f, cases[i].head, 5);
        assert_int_equal(rc, cases[i].fits ? TG_HTTP_MORE : TG_HTTP_BAD);
        if (!cases[i].fits)
            assert_int_equal(f.parser.why.fault, TG_HTTP_BODY_SIZE);
        tg_buf_fini(&f.buf);
    }
}

/* A limit that is lowered beneath what has come of a chunked body holds for what is still to come. */
static void lowered_limit(void **state)
{
    (void)state;
    struct feed f;
    const struct tg_http_parse_limits lower = {.head = 1024, .body = 4};
    assert_int_equal(
        parse(&f, TG_STR("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n"),
              1000),
        TG_HTTP_MORE);
    assert_ok(tg_buf_adds(&f.buf, "ffffff\r\n"));
    assert_int_equal(tg_http_parse(&f.parser, f.buf.data, &f.buf.len, &lower, &f.msg), TG_HTTP_BAD);
    assert_int_equal(f.parser.why.fault, TG_HTTP_BODY_SIZE);
    tg_buf_fini(&f.buf);
}

/* Extensions and trailers of chunks are dropped, but not without end. */
static void chunk_framing_limit(void **state)
{
    (void)state;
    struct feed f;
    assert_int_equal(parse(&f, TG_STR(CHUNKS "1;"), 99), TG_HTTP_MORE);
    enum tg_http_parse rc = TG_HTTP_MORE;
    for (size_t i = 0; i < limits.head + 1 && rc == TG_HTTP_MORE; i++)
        rc = feed(&f, TG_STR("x"), 1);
    assert_int_equal(rc, TG_HTTP_BAD);
    assert_int_equal(f.parser.why.fault, TG_HTTP_HEAD_SIZE);
    tg_buf_fini(&f.buf);
}

/* "100 Continue" is wanted only by HTTP/1.1 senders that have a body to send. */
static void expect_continue(void **state)
{
    (void)state;
    struct feed f;
    assert_int_equal(parse(&f, TG_STR(POST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"), 9),
                     TG_HTTP_MORE);
    assert_true(f.parser.expects_continue);
    assert_int_equal(tg_http_expected(&f.parser), f.buf.len + 3);
    tg_buf_fini(&f.buf);
    assert_int_equal(
        parse(&f, TG_STR("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"), 9),
        TG_HTTP_MORE);
    assert_false(f.parser.expects_continue);
    tg_buf_fini(&f.buf);
    assert_int_equal(parse(&f, TG_STR("GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"), 9),
                     TG_HTTP_DONE);
    assert_false(f.parser.expects_continue);
    tg_buf_fini(&f.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_requests),   cmocka_unit_test(headers),
        cmocka_unit_test(pipelined),        cmocka_unit_test(smuggling),
        cmocka_unit_test(incomplete),       cmocka_unit_test(head_limit),
        cmocka_unit_test(body_limit),       cmocka_unit_test(chunk_framing_limit),
        cmocka_unit_test(bytes_of_a_value), cmocka_unit_test(lowered_limit),
        cmocka_unit_test(expect_continue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
