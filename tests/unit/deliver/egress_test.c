#include "deliver/egress.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct tg_ip ip(const char *text)
{
    struct tg_ip out;
    if (!tg_ip_parse(tg_str_of(text), &out))
        fail_msg("%s does not parse", text);
    return out;
}

/* The public internet is public; everything else is private, however it is written. */
static void tells_private_from_public(void **state)
{
    (void)state;
    static const char *const public[] = {
        "8.8.8.8",     "9.255.255.255", "11.0.0.0",       "100.63.255.255",   "100.128.0.0",
        "172.15.0.1",  "172.32.0.0",    "192.167.1.1",    "223.255.255.255",  "198.20.0.0",
        "2606:4700::", "2001:4860::1",  "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"};
    static const char *const private[] = {"0.0.0.0",
                                          "10.0.0.1",
                                          "10.255.255.255",
                                          "100.64.0.1",
                                          "127.0.0.1",
                                          "127.255.0.1",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.168.1.1",
                                          "198.18.0.1",
                                          "198.19.255.255",
                                          "224.0.0.1",
                                          "255.255.255.255",
                                          "192.0.2.1",
                                          "203.0.113.9",
                                          "::",
                                          "::1",
                                          "::ffff:10.0.0.1",
                                          "::ffff:127.0.0.1",
                                          "::10.0.0.1",
                                          "64:ff9b::a00:1",
                                          "2002:a00:1::1",
                                          "fc00::1",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "ff02::1",
                                          "2001:db8::1",
                                          "2001:0:1::",
                                          "64:ff9b:1::1",
                                          "100::1",
                                          "fec0::1"};
    for (size_t i = 0; i < sizeof public / sizeof public[0]; i++) {
        struct tg_ip a = ip(public[i]);
        if (tg_ip_private(&a))
            fail_msg("%s is public", public[i]);
    }
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++) {
        struct tg_ip a = ip(private[i]);
        if (!tg_ip_private(&a))
            fail_msg("%s is private", private[i]);
    }
}

/* A range holds its own addresses, to the bit. */
static void matches_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *cidr, *ip;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.1.2.3/8", "10.9.9.9", true},
        {"192.168.4.0/22", "192.168.7.255", true},
        {"192.168.4.0/22", "192.168.8.0", false},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "2606:4700::", false},
        {"::/0", "1.2.3.4", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"[fd00::]/8", "fdff::1", true},
        {"fd00::/8", "fe00::1", false},
        {"::1", "::1", true},
        {"10.0.0.0/32", "10.0.0.0", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tg_cidr c;
        struct tg_ip a = ip(rows[i].ip);
        assert_int_equal(tg_cidr_parse(tg_str_of(rows[i].cidr), &c, NULL), TG_OK);
        if (tg_cidr_has(&c, &a) != rows[i].in)
            fail_msg("%s in %s", rows[i].ip, rows[i].cidr);
    }
}

/* What is not a range is refused with its text. */
static void refuses_bad_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.0/-1",
                                      "10.0.0/8",
                                      "::1/129",
                                      "localhost",
                                      "10.0.0.0/8/8",
                                      "10.0.0.0/ 8",
                                      "[::1",
                                      "1.2.3.4.",
                                      "10.0.0.0/0x8",
                                      "10.0.0.0/0000",
                                      "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tg_cidr c;
        struct tg_err err;
        if (tg_cidr_parse(tg_str_of(bad[i]), &c, &err) != TG_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(err.msg, bad[i]));
    }
    struct tg_cidr c;
    assert_int_equal(tg_cidr_parse(tg_str_n("1.2.3.4\0junk", 12), &c, NULL), TG_INVALID);
}

/* Who may be reached how: public with https, private as allow_private says, http only there. */
static void decides_egress(void **state)
{
    (void)state;
    struct tg_cidr list[2];
    assert_int_equal(tg_cidr_parse(TG_STR("10.0.0.0/8"), &list[0], NULL), TG_OK);
    assert_int_equal(tg_cidr_parse(TG_STR("fd00::/8"), &list[1], NULL), TG_OK);
    struct tg_egress no = {0}, all = {.allow_private = true},
                     some = {.allow_private = true, .list = list, .n = 2};
    const struct {
        const struct tg_egress *egress;
        const char *ip;
        bool https, ok;
        const char *why;
    } rows[] = {
        {&no, "8.8.8.8", true, true, NULL},
        {&no, "8.8.8.8", false, false, "8.8.8.8"},
        {&no, "10.0.0.1", true, false, "10.0.0.1"},
        {&no, "::ffff:10.0.0.1", true, false, "egress.allow_private"},
        {&all, "10.0.0.1", false, true, NULL},
        {&all, "::1", true, true, NULL},
        {&all, "8.8.8.8", false, false, "https"},
        {&all, "8.8.8.8", true, true, NULL},
        {&some, "10.0.0.1", false, true, NULL},
        {&some, "::ffff:10.0.0.1", false, true, NULL},
        {&some, "fd00::1", true, true, NULL},
        {&some, "127.0.0.1", true, false, "127.0.0.1"},
        {&some, "64:ff9b::a00:1", true, true, NULL},
        {&some, "192.168.0.1", true, false, "does not list"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[TG_EGRESS_WHY] = "";
        struct tg_ip a = ip(rows[i].ip);
        if (tg_egress_allows(rows[i].egress, &a, rows[i].https, why) != rows[i].ok)
            fail_msg("row %zu, %s", i, rows[i].ip);
        if (rows[i].why && !strstr(why, rows[i].why))
            fail_msg("row %zu: %s", i, why);
    }
}

/* Socket addresses of other families are nobody's. */
static void knows_families(void **state)
{
    (void)state;
    struct sockaddr unix_address = {.sa_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    struct tg_ip out;
    assert_false(tg_ip_of(&unix_address, &out));
    assert_true(tg_ip_of((struct sockaddr *)&in, &out));
    char text[TG_IP_TEXT];
    tg_ip_format(&out, text);
    assert_string_equal(text, "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_private_from_public),
        cmocka_unit_test(matches_ranges),
        cmocka_unit_test(refuses_bad_ranges),
        cmocka_unit_test(decides_egress),
        cmocka_unit_test(knows_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
