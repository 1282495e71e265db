#include "tg_test.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/mask.h"
#include "base/url.h"

#include <stdio.h>

static int forget(void **state)
{
    (void)state;
    tg_mask_clear();
    return 0;
}

static void masks_to(const char *text, const char *want)
{
    struct tg_buf b = TG_BUF_INIT(4096);
    assert_ok(tg_mask_text(&b, tg_str_of(text)));
    assert_buf(&b, want);
    tg_buf_fini(&b);
}

/* With nothing registered text stays as it is. */
static void nothing_registered(void **state)
{
    (void)state;
    masks_to("password=hunter2", "password=hunter2");
    masks_to("", "");
}

/* Each occurrence becomes ***, at both ends of the text too. */
static void every_occurrence(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("hunter2")));
    assert_ok(tg_mask_add(TG_STR("hunter2")));
    masks_to("hunter2 a hunter2b hunter2", "*** a ***b ***");
    masks_to("hunter2hunter2", "******");
    masks_to("hunter", "hunter");
    masks_to("hunterhunter2", "hunter***");
    masks_to("Hunter2", "Hunter2");
}

/* A value shorter than four bytes would eat ordinary text and is let through. */
static void short_values_are_not_registered(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("abc")));
    assert_ok(tg_mask_add((struct tg_str){0}));
    masks_to("abc", "abc");
    assert_ok(tg_mask_add(TG_STR("abcd")));
    masks_to("abc abcd", "abc ***");
}

/* Secrets that begin alike: the longest one counts. */
static void longest_wins(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("secret")));
    assert_ok(tg_mask_add(TG_STR("secret-long")));
    assert_ok(tg_mask_add(TG_STR("secrex")));
    masks_to("secret-long secret-lon secrex secre", "*** ***-lon *** secre");
}

/* Where two secrets overlap, nothing of either shows. */
static void overlapping_secrets(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("abcdXYZ")));
    assert_ok(tg_mask_add(TG_STR("XYZ12345")));
    assert_ok(tg_mask_add(TG_STR("cdXY")));
    masks_to("-abcdXYZ12345-", "-***-");
    masks_to("-abcdXYZ-XYZ12345", "-***-***");
}

static void is_hidden(const char *before, struct tg_buf *form, const char *behind)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%s%s%s", before, tg_buf_cstr(form), behind);
    struct tg_buf b = TG_BUF_INIT(4096), want = TG_BUF_INIT(4096);
    assert_ok(tg_mask_text(&b, tg_str_of(text)));
    assert_ok(tg_buf_printf(&want, "%s***%s", before, behind));
    assert_buf(&b, tg_buf_cstr(&want));
    tg_buf_fini(&b);
    tg_buf_fini(&want);
    tg_buf_clear(form);
}

/* The base64 forms go too, with and without padding, in both alphabets, and as the user of Basic. */
static void base64_forms(void **state)
{
    (void)state;
    static const char *const secrets[] = {"sec?ret>key~1", "sec?ret>key~12", "sec?ret>key~123"};
    struct tg_buf form = TG_BUF_INIT(256), basic = TG_BUF_INIT(256);
    for (size_t i = 0; i < 3; i++) {
        tg_mask_clear();
        assert_ok(tg_mask_add(tg_str_of(secrets[i])));
        tg_buf_clear(&basic);
        assert_ok(tg_buf_printf(&basic, "%s:", secrets[i]));
        for (int kind = 0; kind < 4; kind++) {
            assert_ok(tg_base64(&form, secrets[i], strlen(secrets[i]), kind & 1, kind & 2));
            is_hidden("\"", &form, "\"");
            assert_ok(tg_base64(&form, basic.data, basic.len, kind & 1, kind & 2));
            is_hidden("Basic ", &form, " ");
        }
    }
    tg_buf_fini(&form);
    tg_buf_fini(&basic);
}

/* Inside of a longer base64 text ("user:secret") at most the groups at the edges are left, which may hold two
 * bytes each. */
static void base64_of_a_pair(void **state)
{
    (void)state;
    assert_ok(tg_mask_add(TG_STR("topsecret-password")));
    for (size_t before = 0; before < 6; before++) {
        struct tg_buf plain = TG_BUF_INIT(256), form = TG_BUF_INIT(256), out = TG_BUF_INIT(256);
        assert_ok(tg_buf_add(&plain, "user5:", before));
        assert_ok(tg_buf_adds(&plain, "topsecret-password"));
        assert_ok(tg_buf_adds(&plain, ";more"));
        assert_ok(tg_base64(&form, plain.data, plain.len, false, true));
        assert_ok(tg_mask_text(&out, tg_buf_str(&form)));
        assert_non_null(strstr(tg_buf_cstr(&out), "***"));
        assert_true(out.len <= form.len - 20 + 3); /* fifteen bytes at least are hidden */
        tg_buf_fini(&plain);
        tg_buf_fini(&form);
        tg_buf_fini(&out);
    }
}

/* A token in a URL is percent-encoded, one in JSON has escapes: hidden all the same. */
static void escaped_forms(void **state)
{
    (void)state;
    struct tg_str secret = TG_STR("a+b/c=\"d\\e\nf");
    assert_ok(tg_mask_add(secret));
    struct tg_buf form = TG_BUF_INIT(256);
    assert_ok(tg_url_encode(&form, secret));
    is_hidden("https://x.example/?t=", &form, "&u=1");
    assert_ok(tg_json_quote(&form, secret));
    tg_buf_consume(&form, 1); /* without its quotes */
    form.len--;
    is_hidden("{\"t\":\"", &form, "\"}");
    tg_buf_fini(&form);
}

/* Bytes are bytes: NUL and high ones in secrets and in text. */
static void binary(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(64);
    assert_ok(tg_mask_add(tg_str_n("\0\xff\0\xfe\x80", 5)));
    assert_ok(tg_mask_text(&b, tg_str_n("a\0\xff\0\xfe\x80z\0", 8)));
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "a***z\0", 6);
    tg_buf_fini(&b);
}

/* Hundreds of secrets are all found, in whatever order they came. */
static void many_secrets(void **state)
{
    (void)state;
    char text[64], want[64];
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(text, sizeof text, "key-%u-%08x", i * 7919 % 600, i * 2654435761u);
        assert_ok(tg_mask_add(tg_str_of(text)));
    }
    for (unsigned i = 0; i < 600; i++) {
        (void)snprintf(text, sizeof text, "%u=key-%u-%08x;", i, i * 7919 % 600, i * 2654435761u);
        (void)snprintf(want, sizeof want, "%u=***;", i);
        masks_to(text, want);
    }
}

/* What does not fit changes nothing, and what is forgotten shows again. */
static void ceiling_and_clear(void **state)
{
    (void)state;
    struct tg_buf b = TG_BUF_INIT(8);
    assert_ok(tg_mask_add(TG_STR("hunter2")));
    assert_ok(tg_buf_adds(&b, "a"));
    assert_int_equal(tg_mask_text(&b, TG_STR("12345hunter2")), TG_TOOBIG);
    assert_buf(&b, "a");
    tg_mask_clear();
    assert_ok(tg_mask_text(&b, TG_STR("hunter2")));
    assert_buf(&b, "ahunter2");
    tg_buf_fini(&b);
}

/* Headers that carry credentials are known whatever their case. */
static void headers(void **state)
{
    (void)state;
    static const char *const always[] = {
        "Authorization", "authorization",        "PROXY-AUTHORIZATION", "X-WSSE",
        "cookie",        "Refersion-Public-Key", "refersion-secret-key"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        assert_true(tg_mask_header(tg_str_of(always[i])));
    assert_false(tg_mask_header(TG_STR("Content-Type")));
    assert_false(tg_mask_header(TG_STR("Authorization2")));
    assert_false(tg_mask_header(TG_STR("")));
}

static int add_and_mask(void *arg)
{
    (void)arg;
    tg_mask_clear();
    int rc = tg_mask_add(TG_STR("some secret value"));
    for (int i = 0; !rc && i < 10; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "secret no. %d", i);
        rc = tg_mask_add(tg_str_of(text));
    }
    struct tg_buf b = TG_BUF_INIT(100);
    if (!rc)
        rc = tg_mask_text(&b, TG_STR("<some secret value>"));
    if (!rc)
        assert_buf(&b, "<***>");
    tg_buf_fini(&b);
    tg_mask_clear();
    return rc;
}

/* Out of memory is reported, and nothing leaks. */
static void torture(void **state)
{
    (void)state;
    tg_torture(add_and_mask, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_registered, forget),
        cmocka_unit_test_teardown(every_occurrence, forget),
        cmocka_unit_test_teardown(short_values_are_not_registered, forget),
        cmocka_unit_test_teardown(longest_wins, forget),
        cmocka_unit_test_teardown(overlapping_secrets, forget),
        cmocka_unit_test_teardown(base64_forms, forget),
        cmocka_unit_test_teardown(base64_of_a_pair, forget),
        cmocka_unit_test_teardown(escaped_forms, forget),
        cmocka_unit_test_teardown(binary, forget),
        cmocka_unit_test_teardown(many_secrets, forget),
        cmocka_unit_test_teardown(ceiling_and_clear, forget),
        cmocka_unit_test(headers),
        cmocka_unit_test_teardown(torture, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
