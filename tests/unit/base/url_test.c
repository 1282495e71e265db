#include "tg_test.h"

#include "base/url.h"

/* The parts of a whole URL are spans of its text. */
static void parts(void **state)
{
    (void)state;
    struct tg_url u;
    struct tg_str text = TG_STR("https://Api.example.com:8443/v2/a%20b?x=1&y=?/#top?");
    assert_ok(tg_url_parse(text, &u, NULL));
    assert_str(u.scheme, "https");
    assert_true(u.https);
    assert_str(u.host, "Api.example.com");
    assert_int_equal(u.port, 8443);
    assert_str(u.port_text, "8443");
    assert_str(u.path, "/v2/a%20b");
    assert_str(u.query, "x=1&y=?/");
    assert_str(u.fragment, "top?");
    assert_false(u.ipv6);
    assert_ptr_equal(u.host.p, text.p + 8);
}

/* What is not written is empty, and the port follows from the scheme. */
static void absent_parts(void **state)
{
    (void)state;
    struct tg_url u;
    assert_ok(tg_url_parse(TG_STR("http://localhost"), &u, NULL));
    assert_int_equal(u.port, 80);
    assert_false(u.https);
    assert_str(u.port_text, "");
    assert_str(u.path, "");
    assert_ok(tg_url_parse(TG_STR("HTTPS://a?q"), &u, NULL));
    assert_int_equal(u.port, 443);
    assert_true(u.https);
    assert_str(u.path, "");
    assert_str(u.query, "q");
    assert_ok(tg_url_parse(TG_STR("http://a:/#f"), &u, NULL));
    assert_int_equal(u.port, 80);
    assert_str(u.path, "/");
    assert_str(u.fragment, "f");
    assert_ok(tg_url_parse(TG_STR("http://a#f"), &u, NULL));
    assert_str(u.host, "a");
    assert_ok(tg_url_parse(TG_STR("http://a/b?"), &u, NULL));
    assert_str(u.query, "");
}

/* IPv6 addresses stand between brackets, without them in `host`. */
static void ipv6(void **state)
{
    (void)state;
    struct tg_url u;
    assert_ok(tg_url_parse(TG_STR("http://[2001:db8::7]:8080/c=GB?x"), &u, NULL));
    assert_str(u.host, "2001:db8::7");
    assert_true(u.ipv6);
    assert_int_equal(u.port, 8080);
    assert_ok(tg_url_parse(TG_STR("http://[::ffff:127.0.0.1]"), &u, NULL));
    assert_str(u.host, "::ffff:127.0.0.1");
    assert_int_equal(u.port, 80);
}

/* What is no absolute http URL is refused with a message that says why. */
static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "must begin with"},
        {"example.com/a", "must begin with"},
        {"//example.com", "must begin with"},
        {"/path", "must begin with"},
        {"https:/a", "must begin with"},
        {"https:a", "must begin with"},
        {"ftp://ftp.is.co.za/rfc/rfc1808.txt", "\"ftp\" is neither"},
        {"javascript://x/%0aalert(1)", "neither"},
        {"://a", "neither"},
        {"http://", "host is missing"},
        {"http:///path", "host is missing"},
        {"http://:80/", "host is missing"},
        {"http://?q", "host is missing"},
        {"http://user@host/", "user and password"},
        {"http://user:pw@host/", "user and password"},
        {"http://a.example\\@b.example/", "user and password"},
        {"http://a\\b/", "cannot be in a host"},
        {"http://a%2eb/", "cannot be in a host"},
        {"http://a,b/", "cannot be in a host"},
        {"http://a:0/", "the port"},
        {"http://a:65536/", "the port"},
        {"http://a:99999999999999999999/", "the port"},
        {"http://a:80a/", "the port"},
        {"http://a:+80/", "the port"},
        {"http://a:1:2/", "the port"},
        {"http://[::1", "IPv6"},
        {"http://[]/", "IPv6"},
        {"http://[127.0.0.1]/", "IPv6"},
        {"http://[fe80::1%25eth0]/", "IPv6"},
        {"http://[::1]x/", "may follow the brackets"},
        {"http://[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]/", "IPv6"},
        {"http://a/ b", "byte 0x20 at offset 9"},
        {"http://a/\r\nX: y", "byte 0x0d at offset 9"},
        {"http://a/\x7f", "byte 0x7f"},
        {"http://a/\xc3\xa9", "byte 0xc3 at offset 9"},
        {"http://\xc3\xa9/", "percent-encoded"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_url u;
        struct tg_err err = {0};
        if (tg_url_parse(tg_str_of(rows[i].text), &u, &err) != TG_INVALID)
            fail_msg("\"%s\" parses", rows[i].text);
        if (!strstr(err.msg, rows[i].why))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", rows[i].text, err.msg, rows[i].why);
    }
    struct tg_url u;
    assert_int_equal(tg_url_parse(tg_str_n("http://a/\0b", 11), &u, NULL), TG_INVALID);
    assert_int_equal(tg_url_parse((struct tg_str){0}, &u, NULL), TG_INVALID);
}

/* A host name may have 253 bytes, not more. */
static void host_length(void **state)
{
    (void)state;
    char text[300] = "http://";
    struct tg_url u;
    memset(text + 7, 'a', 253);
    assert_ok(tg_url_parse(tg_str_n(text, 260), &u, NULL));
    text[260] = 'a';
    assert_int_equal(tg_url_parse(tg_str_n(text, 261), &u, NULL), TG_INVALID);
}

/* All but the unreserved characters of RFC 3986 become %XX, in upper case. */
static void encode(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(1024);
    assert_ok(tg_url_encode(&b, TG_STR("AZaz09-._~")));
    assert_buf(&b, "AZaz09-._~");
    tg_buf_clear(&b);
    assert_ok(tg_url_encode(&b, TG_STR(" !*'();:@&=+$,/?#[]%\"<>\\^`{|}")));
    assert_buf(&b, "%20%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%2F%3F%23%5B%5D%25%22%3C%3E%5C%5E%60%7B%7C%7D");
    tg_buf_clear(&b);
    assert_ok(tg_url_encode(&b, tg_str_n("\0\r\n\x7f\xff\xc3\xa9", 7)));
    assert_buf(&b, "%00%0D%0A%7F%FF%C3%A9");
    tg_buf_fini(&b);
}

/* Every byte comes back through encoding and decoding. */
static void round_trip(void **state)
{
    (void)state;
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct tg_buf text = TG_BUF_INIT(1024), back = TG_BUF_INIT(1024);
    assert_ok(tg_url_encode(&text, tg_str_n(all, 256)));
    for (int plus = 0; plus < 2; plus++) {
        tg_buf_clear(&back);
        assert_ok(tg_url_decode(&back, tg_buf_str(&text), plus));
        assert_int_equal(back.len, 256);
        assert_memory_equal(back.data, all, 256);
    }
    tg_buf_fini(&text);
    tg_buf_fini(&back);
}

/* Bad escapes stay as they are; '+' is a space in forms only. */
static void decode(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(1024);
    assert_ok(tg_url_decode(&b, TG_STR("a%20b+c%2B%2b%2f%"), true));
    assert_buf(&b, "a b c++/%");
    tg_buf_clear(&b);
    assert_ok(tg_url_decode(&b, TG_STR("a+b%4%zz%4g%%41%"), false));
    assert_buf(&b, "a+b%4%zz%4g%A%");
    tg_buf_fini(&b);
}

/* A form is a=b&c=d, names and values encoded; what does not fit is not half there. */
static void form(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(16);
    bool first = true;
    assert_ok(tg_form_add(&b, &first, TG_STR("a b"), TG_STR("1&2")));
    assert_false(first);
    assert_ok(tg_form_add(&b, &first, TG_STR("c"), TG_STR("")));
    assert_buf(&b, "a%20b=1%262&c=");
    assert_int_equal(tg_form_add(&b, &first, TG_STR("d"), TG_STR("e")), TG_TOOBIG);
    assert_buf(&b, "a%20b=1%262&c=");
    tg_buf_fini(&b);
}

/* Walking yields raw names and values in order, and passes over empty pieces. */
static void walk(void **state)
{
    (void)state;
    static const char *const want[] = {"a", "1", "b", "", "c", "x=y", "", "v", "a", "%32"};
    struct tg_form_walk w = tg_form_walk(TG_STR("&a=1&&b&c=x=y&=v&a=%32&"));
    size_t n = 0;
    for (; tg_form_next(&w); n += 2) {
        assert_true(n < sizeof want / sizeof want[0]);
        assert_str(w.name, want[n]);
        assert_str(w.value, want[n + 1]);
    }
    assert_int_equal(n, sizeof want / sizeof want[0]);
    w = tg_form_walk((struct tg_str){0});
    assert_false(tg_form_next(&w));
    w = tg_form_walk(TG_STR("&&&"));
    assert_false(tg_form_next(&w));
}

/* A NUL within a query is a byte like any other: the walk ends, and behind all of it. */
static void walk_over_nul(void **state)
{
    (void)state;
    struct tg_form_walk w = tg_form_walk(tg_str_n("a\0=\0b&\0", 7));
    assert_true(tg_form_next(&w));
    assert_int_equal(w.name.n, 2);
    assert_int_equal(w.value.n, 2);
    assert_true(tg_form_next(&w));
    assert_int_equal(w.name.n, 1);
    assert_false(tg_form_next(&w));
}

/* CR, LF and NUL would break a header; nothing else does. */
static void header_breaks(void **state)
{
    (void)state;
    assert_true(tg_has_header_break(TG_STR("a\rb")));
    assert_true(tg_has_header_break(TG_STR("a\n")));
    assert_true(tg_has_header_break(tg_str_n("\0", 1)));
    assert_false(tg_has_header_break(TG_STR("a b\t\xc3\xa9")));
    assert_false(tg_has_header_break((struct tg_str){0}));
}

static int encode_case(void *arg)
{
    (void)arg;
    struct tg_buf b = TG_BUF_INIT(4096);
    bool first = true;
    int rc = TG_OK;
    for (int i = 0; !rc && i < 40; i++)
        rc = tg_form_add(&b, &first, TG_STR("name &"), TG_STR("value = +"));
    if (!rc)
        rc = tg_url_decode(&b, TG_STR("%41%42"), true);
    tg_buf_fini(&b);
    return rc;
}

/* Out of memory is reported. */
static void torture(void **state)
{
    (void)state;
    tg_torture(encode_case, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),      cmocka_unit_test(absent_parts),  cmocka_unit_test(ipv6),
        cmocka_unit_test(refused),    cmocka_unit_test(host_length),   cmocka_unit_test(encode),
        cmocka_unit_test(round_trip), cmocka_unit_test(decode),        cmocka_unit_test(form),
        cmocka_unit_test(walk),       cmocka_unit_test(walk_over_nul), cmocka_unit_test(header_breaks),
        cmocka_unit_test(torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
