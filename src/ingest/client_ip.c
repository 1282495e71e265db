#include "ingest/client_ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&a.s6_addr[12], &v4, sizeof v4);
    return a;
}

static bool parse_address(struct tg_str text, struct in6_addr *out)
{
    char z[TG_IP_TEXT];
    if (text.n == 0 || text.n >= sizeof z)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    struct in_addr v4;
    if (inet_pton(AF_INET, z, &v4) == 1) {
        *out = mapped(v4);
        return true;
    }
    return inet_pton(AF_INET6, z, out) == 1;
}

static bool parse_bits(struct tg_str text, unsigned most, unsigned *bits)
{
    if (text.n == 0 || text.n > 3)
        return false;
    *bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *bits = *bits * 10 + (unsigned)(text.p[i] - '0');
    }
    return *bits <= most;
}

bool tg_cidr_parse(struct tg_str text, struct tg_cidr *cidr)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct tg_str address = slash ? tg_str_n(text.p, (size_t)(slash - text.p)) : text;
    bool v4 = address.n && !memchr(address.p, ':', address.n);
    if (!parse_address(address, &cidr->address))
        return false;
    cidr->bits = v4 ? 32 : 128;
    if (slash && !parse_bits(tg_str_n(slash + 1, text.n - address.n - 1), cidr->bits, &cidr->bits))
        return false;
    cidr->bits += v4 ? 96 : 0;
    return true;
}

static bool contains(const struct tg_cidr *cidr, const struct in6_addr *a)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;
    if (memcmp(&cidr->address, a, whole) != 0)
        return false;
    unsigned char mask = (unsigned char)(0xff00u >> rest);
    return rest == 0 || ((cidr->address.s6_addr[whole] ^ a->s6_addr[whole]) & mask) == 0;
}

static bool is_trusted(struct tg_cidrs trusted, const struct in6_addr *a)
{
    for (size_t i = 0; i < trusted.n; i++) {
        if (contains(&trusted.list[i], a))
            return true;
    }
    return false;
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80" */
static bool parse_hop(struct tg_str hop, struct in6_addr *out)
{
    hop = tg_str_trim(hop);
    if (hop.n && hop.p[0] == '[') {
        const char *close = memchr(hop.p, ']', hop.n);
        return close && parse_address(tg_str_n(hop.p + 1, (size_t)(close - hop.p - 1)), out);
    }
    const char *colon = hop.n ? memchr(hop.p, ':', hop.n) : NULL;
    if (colon && !memchr(colon + 1, ':', (size_t)(hop.p + hop.n - colon - 1)))
        hop.n = (size_t)(colon - hop.p);
    return parse_address(hop, out);
}

/* Goes from the nearest hop to the farthest. False when the walk is over: an address that nobody vouches for.
 */
static bool walk_hops(struct tg_str hops, struct tg_cidrs trusted, struct in6_addr *ip)
{
    while (hops.n) {
        const char *comma = memrchr(hops.p, ',', hops.n);
        const char *hop = comma ? comma + 1 : hops.p;
        struct in6_addr next;
        if (!parse_hop(tg_str_n(hop, (size_t)(hops.p + hops.n - hop)), &next))
            return false;
        *ip = next;
        if (!is_trusted(trusted, ip))
            return false;
        hops.n = comma ? (size_t)(comma - hops.p) : 0;
    }
    return true;
}

static bool peer_address(const struct sockaddr *peer, struct in6_addr *ip)
{
    if (peer->sa_family == AF_INET)
        *ip = mapped(((const struct sockaddr_in *)peer)->sin_addr);
    else if (peer->sa_family == AF_INET6)
        *ip = ((const struct sockaddr_in6 *)peer)->sin6_addr;
    else
        return false;
    return true;
}

static void print_address(const struct in6_addr *ip, char out[TG_IP_TEXT])
{
    const unsigned char *b = ip->s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(ip))
        (void)snprintf(out, TG_IP_TEXT, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
    else
        (void)inet_ntop(AF_INET6, ip, out, TG_IP_TEXT);
}

struct tg_client_ip tg_client_ip(const struct sockaddr *peer, const struct tg_http_msg *msg,
                                 struct tg_cidrs trusted)
{
    struct tg_client_ip result = {.via_proxy = false};
    struct in6_addr ip;
    if (!peer_address(peer, &ip))
        return result;
    result.via_proxy = trusted.n && is_trusted(trusted, &ip);
    bool on = result.via_proxy;
    for (size_t i = msg->n_headers; on && i-- > 0;) {
        if (tg_str_ieq(msg->headers[i].name, "X-Forwarded-For"))
            on = walk_hops(msg->headers[i].value, trusted, &ip);
    }
    print_address(&ip, result.text);
    return result;
}
