#include "tg_test.h"

#include "ingest/client_ip.h"

#include <arpa/inet.h>

/* What is a block of addresses and what is not. */
static void cidr_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        unsigned bits;
    } cases[] = {
        {"10.0.0.0/8", true, 104},
        {"10.1.2.3", true, 128},
        {"0.0.0.0/0", true, 96},
        {"::/0", true, 0},
        {"fd00::/8", true, 8},
        {"::1", true, 128},
        {"10.0.0.0/33", false, 0},
        {"::/129", false, 0},
        {"10.0.0.0/", false, 0},
        {"10.0.0.0/-1", false, 0},
        {"10.0.0.0/8x", false, 0},
        {"10.0.0/8", false, 0},
        {"", false, 0},
        {"/8", false, 0},
        {"relay.example", false, 0},
        {"10.0.0.0/0008", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_cidr cidr;
        if ((tg_cidr_parse(tg_str_of(cases[i].text), &cidr, NULL) == TG_OK) != cases[i].good)
            fail_msg("%s", cases[i].text);
        if (cases[i].good)
            assert_int_equal(cidr.bits, cases[i].bits);
    }
}

/* Addresses are written as everybody writes them. */
static void address_texts(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        char want[INET_ADDRSTRLEN], got[TG_IP_TEXT];
        struct sockaddr_in peer = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(octet << 24 | 10u << 16 | octet)};
        struct tg_ip ip;
        assert_true(tg_ip_of((struct sockaddr *)&peer, &ip));
        tg_ip_format(&ip, got);
        assert_string_equal(got, inet_ntop(AF_INET, &peer.sin_addr, want, sizeof want));
    }
}

static struct tg_client_ip from(const char *peer, const char *first, const char *second, const char *trusted)
{
    static struct tg_http_msg msg;
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    if (inet_pton(AF_INET, peer, &v4->sin_addr) == 1)
        v4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, peer, &v6->sin6_addr) == 1)
        v6->sin6_family = AF_INET6;
    msg.n_headers = 0;
    if (first)
        msg.headers[msg.n_headers++] = (struct tg_http_header){TG_STR("x-forwarded-for"), tg_str_of(first)};
    if (second)
        msg.headers[msg.n_headers++] = (struct tg_http_header){TG_STR("X-Forwarded-For"), tg_str_of(second)};
    struct tg_cidr cidr;
    bool any = trusted && tg_cidr_parse(tg_str_of(trusted), &cidr, NULL) == TG_OK;
    return tg_client_ip((struct sockaddr *)&address, &msg, (struct tg_cidrs){&cidr, any});
}

/* Only what trusted proxies say is believed, from the nearest to the first that is not trusted. */
static void forwarded(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *first, *second, *trusted, *ip;
        bool via;
    } cases[] = {
        {"192.0.2.1", NULL, NULL, NULL, "192.0.2.1", false},
        {"192.0.2.1", "6.6.6.6", NULL, NULL, "192.0.2.1", false},
        {"192.0.2.1", "6.6.6.6", NULL, "10.0.0.0/8", "192.0.2.1", false},
        {"10.0.0.1", "203.0.113.9", NULL, "10.0.0.0/8", "203.0.113.9", true},
        {"10.0.0.1", "6.6.6.6, 203.0.113.9,10.2.3.4", NULL, "10.0.0.0/8", "203.0.113.9", true},
        {"10.0.0.1", "6.6.6.6", "203.0.113.9, 10.2.3.4", "10.0.0.0/8", "203.0.113.9", true},
        {"10.0.0.1", "6.6.6.6", "10.2.3.4", "10.0.0.0/8", "6.6.6.6", true},
        {"10.0.0.1", "10.0.0.7", NULL, "10.0.0.0/8", "10.0.0.7", true},
        {"10.0.0.1", "6.6.6.6, garbage, 10.0.0.5", NULL, "10.0.0.0/8", "10.0.0.5", true},
        {"10.0.0.1", "6.6.6.6", "garbage", "10.0.0.0/8", "10.0.0.1", true},
        {"10.0.0.1", ",", NULL, "10.0.0.0/8", "10.0.0.1", true},
        {"10.0.0.1", "203.0.113.9:4711", NULL, "10.0.0.0/8", "203.0.113.9", true},
        {"10.0.0.1", "[2001:db8::5]:443", NULL, "10.0.0.0/8", "2001:db8::5", true},
        {"10.0.0.1", "2001:db8::5", NULL, "10.0.0.0/8", "2001:db8::5", true},
        {"10.0.0.1", "[2001:db8::5", NULL, "10.0.0.0/8", "10.0.0.1", true},
        {"::ffff:10.0.0.1", "203.0.113.9", NULL, "10.0.0.0/8", "203.0.113.9", true},
        {"::ffff:192.0.2.1", NULL, NULL, NULL, "192.0.2.1", false},
        {"fd00::1", "203.0.113.9", NULL, "fd00::/9", "203.0.113.9", true},
        {"fd80::1", "203.0.113.9", NULL, "fd00::/9", "fd80::1", false},
        {"nothing", NULL, NULL, NULL, "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tg_client_ip ip = from(cases[i].peer, cases[i].first, cases[i].second, cases[i].trusted);
        if (strcmp(ip.text, cases[i].ip) != 0 || ip.via_proxy != cases[i].via)
            fail_msg("case %zu: %s", i, ip.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(address_texts), cmocka_unit_test(cidr_texts),
                                       cmocka_unit_test(forwarded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
