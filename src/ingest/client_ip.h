/* Which address a request came from, when it may have come through proxies. */
#ifndef TG_INGEST_CLIENT_IP_H
#define TG_INGEST_CLIENT_IP_H

#include "ingest/http_parser.h"

#include <netinet/in.h>

struct sockaddr;

/* A block of addresses; IPv4 ones are kept in their IPv6-mapped form. */
struct tg_cidr {
    struct in6_addr address;
    unsigned bits; /* 0 to 128 */
};

/* "10.0.0.0/8", "::1", "fd00::/8"; without a length the address alone is meant. */
bool tg_cidr_parse(struct tg_str text, struct tg_cidr *cidr);

struct tg_cidrs {
    const struct tg_cidr *list;
    size_t n;
};

enum { TG_IP_TEXT = INET6_ADDRSTRLEN };

struct tg_client_ip {
    char text[TG_IP_TEXT]; /* empty: not known */
    bool via_proxy;        /* the peer is a trusted proxy: its other X-Forwarded- headers may be believed */
};

/* The peer's address; or, when the peer is trusted, the last address of X-Forwarded-For that is not. */
struct tg_client_ip tg_client_ip(const struct sockaddr *peer, const struct tg_http_msg *msg,
                                 struct tg_cidrs trusted);

#endif
