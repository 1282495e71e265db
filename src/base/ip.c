#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* clang-format off */
static const struct tg_ip mapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};

/* IPv4 ranges that are not the public internet (IANA's special-purpose registry, multicast, reserved). */
static const struct { unsigned char b[4]; unsigned bits; } private4[] = {
    {{0, 0, 0, 0}, 8},       {{10, 0, 0, 0}, 8},      {{100, 64, 0, 0}, 10},   {{127, 0, 0, 0}, 8},
    {{169, 254, 0, 0}, 16},  {{172, 16, 0, 0}, 12},   {{192, 0, 0, 0}, 24},    {{192, 0, 2, 0}, 24},
    {{192, 88, 99, 0}, 24},  {{192, 168, 0, 0}, 16},  {{198, 18, 0, 0}, 15},   {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24},  {{224, 0, 0, 0}, 4},     {{240, 0, 0, 0}, 4},
};
static const struct tg_cidr private6[] = {
    {{{0}}, 96},                                   /* unspecified, loopback, IPv4-compatible ones */
    {{{0, 0x64, 0xff, 0x9b, 0, 1}}, 48},           /* local NAT64 */
    {{{1, 0}}, 64},                                /* discard */
    {{{0x20, 0x01, 0, 0}}, 32},                    /* Teredo */
    {{{0x20, 0x01, 0x0d, 0xb8}}, 32},              /* documentation */
    {{{0xfc}}, 7}, {{{0xfe, 0x80}}, 10}, {{{0xfe, 0xc0}}, 10}, {{{0xff}}, 8},
};
/* clang-format on */

static struct tg_ip from4(const unsigned char b[4])
{
    struct tg_ip ip = mapped;
    memcpy(ip.b + 12, b, 4);
    return ip;
}

static bool is4(const struct tg_ip *ip)
{
    return memcmp(ip->b, mapped.b, 12) == 0;
}

bool tg_cidr_has(const struct tg_cidr *cidr, const struct tg_ip *ip)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;
    if (memcmp(cidr->ip.b, ip->b, whole) != 0)
        return false;
    return rest == 0 || ((cidr->ip.b[whole] ^ ip->b[whole]) >> (8 - rest)) == 0;
}

bool tg_ip_parse(struct tg_str text, struct tg_ip *ip)
{
    char z[INET6_ADDRSTRLEN];
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = tg_str_n(text.p + 1, text.n - 2);
    if (text.n == 0 || text.n >= sizeof z || memchr(text.p, 0, text.n))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    unsigned char four[4];
    if (inet_pton(AF_INET, z, four) == 1) {
        *ip = from4(four);
        return true;
    }
    return inet_pton(AF_INET6, z, ip->b) == 1;
}

static bool parse_bits(struct tg_str text, unsigned most, unsigned *bits)
{
    *bits = 0;
    if (text.n == 0 || text.n > 3)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *bits = *bits * 10 + (unsigned)(text.p[i] - '0');
    }
    return *bits <= most;
}

int tg_cidr_parse(struct tg_str text, struct tg_cidr *cidr, struct tg_err *err)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct tg_str address = slash ? tg_str_n(text.p, (size_t)(slash - text.p)) : text;
    if (!tg_ip_parse(address, &cidr->ip))
        return tg_fail(err, TG_INVALID, "\"%.*s\" is not an address or a range such as 10.0.0.0/8",
                       TG_STR_ARG(text));
    bool four = is4(&cidr->ip);
    cidr->bits = 128;
    if (!slash)
        return TG_OK;
    unsigned bits, most = four ? 32 : 128;
    if (!parse_bits(tg_str_n(slash + 1, text.n - address.n - 1), most, &bits))
        return tg_fail(err, TG_INVALID, "\"%.*s\": behind the slash stands a number from 0 to %u",
                       TG_STR_ARG(text), most);
    cidr->bits = four ? bits + 96 : bits;
    return TG_OK;
}

bool tg_ip_of(const struct sockaddr *sa, struct tg_ip *ip)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        unsigned char four[4];
        memcpy(four, &in.sin_addr, 4);
        *ip = from4(four);
        return true;
    }
    if (sa->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof in6);
    memcpy(ip->b, &in6.sin6_addr, 16);
    return true;
}

static char *put_octet(char *to, unsigned char octet)
{
    if (octet >= 100)
        *to++ = (char)('0' + octet / 100);
    if (octet >= 10)
        *to++ = (char)('0' + octet / 10 % 10);
    *to++ = (char)('0' + octet % 10);
    return to;
}

/* inet_ntop prints with sprintf: twenty times as long, and every request has an address. */
static void format4(const unsigned char b[4], char *to)
{
    for (int i = 0; i < 4; i++) {
        to = put_octet(to, b[i]);
        *to++ = i < 3 ? '.' : '\0';
    }
}

void tg_ip_format(const struct tg_ip *ip, char out[TG_IP_TEXT])
{
    if (is4(ip))
        format4(ip->b + 12, out);
    else if (!inet_ntop(AF_INET6, ip->b, out, TG_IP_TEXT))
        out[0] = 0;
}

struct tg_ip tg_ip_unwrap(const struct tg_ip *ip)
{
    static const struct tg_cidr nat64 = {{{0, 0x64, 0xff, 0x9b}}, 96}, six_to_four = {{{0x20, 0x02}}, 16},
                                compatible = {{{0}}, 96};
    if (tg_cidr_has(&nat64, ip))
        return from4(ip->b + 12);
    if (tg_cidr_has(&six_to_four, ip))
        return from4(ip->b + 2);
    /* ::1 and :: are addresses of their own. */
    if (tg_cidr_has(&compatible, ip) && (ip->b[12] || ip->b[13] || ip->b[14]))
        return from4(ip->b + 12);
    return *ip;
}

bool tg_ip_private(const struct tg_ip *address)
{
    struct tg_ip ip = tg_ip_unwrap(address);
    if (is4(&ip)) {
        for (size_t i = 0; i < sizeof private4 / sizeof private4[0]; i++) {
            struct tg_cidr c = {from4(private4[i].b), private4[i].bits + 96};
            if (tg_cidr_has(&c, &ip))
                return true;
        }
        return false;
    }
    for (size_t i = 0; i < sizeof private6 / sizeof private6[0]; i++)
        if (tg_cidr_has(&private6[i], &ip))
            return true;
    return false;
}
