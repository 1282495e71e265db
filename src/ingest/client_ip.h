/* Which address a request came from, when it may have come through proxies. */
#ifndef TG_INGEST_CLIENT_IP_H
#define TG_INGEST_CLIENT_IP_H

#include "base/ip.h"
#include "ingest/http_parser.h"

struct sockaddr;

struct tg_cidrs {
    const struct tg_cidr *list;
    size_t n;
};

struct tg_client_ip {
    char text[TG_IP_TEXT]; /* empty: not known */
    bool via_proxy;        /* the peer is a trusted proxy: its other X-Forwarded- headers may be believed */
};

/* The peer's address; or, when the peer is trusted, the last address of X-Forwarded-For that is not. */
struct tg_client_ip tg_client_ip(const struct sockaddr *peer, const struct tg_http_msg *msg,
                                 struct tg_cidrs trusted);

#endif
