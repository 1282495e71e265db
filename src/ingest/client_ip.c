#include "ingest/client_ip.h"

static bool is_trusted(struct tg_cidrs trusted, const struct tg_ip *a)
{
    for (size_t i = 0; i < trusted.n; i++) {
        if (tg_cidr_has(&trusted.list[i], a))
            return true;
    }
    return false;
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80" */
static bool parse_hop(struct tg_str hop, struct tg_ip *out)
{
    hop = tg_str_trim(hop);
    if (hop.n && hop.p[0] == '[') {
        const char *close = memchr(hop.p, ']', hop.n);
        return close && tg_ip_parse(tg_str_n(hop.p + 1, (size_t)(close - hop.p - 1)), out);
    }
    const char *colon = hop.n ? memchr(hop.p, ':', hop.n) : NULL;
    if (colon && !memchr(colon + 1, ':', (size_t)(hop.p + hop.n - colon - 1)))
        hop.n = (size_t)(colon - hop.p);
    return tg_ip_parse(hop, out);
}

/* Goes from the nearest hop to the farthest. False when the walk is over: an address that nobody vouches for.
 */
static bool walk_hops(struct tg_str hops, struct tg_cidrs trusted, struct tg_ip *ip)
{
    while (hops.n) {
        const char *comma = memrchr(hops.p, ',', hops.n);
        const char *hop = comma ? comma + 1 : hops.p;
        struct tg_ip next;
        if (!parse_hop(tg_str_n(hop, (size_t)(hops.p + hops.n - hop)), &next))
            return false;
        *ip = next;
        if (!is_trusted(trusted, ip))
            return false;
        hops.n = comma ? (size_t)(comma - hops.p) : 0;
    }
    return true;
}

struct tg_client_ip tg_client_ip(const struct sockaddr *peer, const struct tg_http_msg *msg,
                                 struct tg_cidrs trusted)
{
    struct tg_client_ip result = {.via_proxy = false};
    struct tg_ip ip;
    if (!tg_ip_of(peer, &ip))
        return result;
    result.via_proxy = trusted.n && is_trusted(trusted, &ip);
    bool on = result.via_proxy;
    for (size_t i = msg->n_headers; on && i-- > 0;) {
        if (tg_str_ieq(msg->headers[i].name, "X-Forwarded-For"))
            on = walk_hops(msg->headers[i].value, trusted, &ip);
    }
    tg_ip_format(&ip, result.text);
    return result;
}
