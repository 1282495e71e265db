/* IP addresses and CIDR blocks. Pure.
 *
 * Every address is looked at as 16 bytes; IPv4 is its IPv4-mapped form. */
#ifndef TG_BASE_IP_H
#define TG_BASE_IP_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;

struct tg_ip {
    unsigned char b[16];
};
struct tg_cidr {
    struct tg_ip ip;
    unsigned bits; /* of 128: an IPv4 /8 is 104 */
};

/* "10.0.0.0/8", "::1", "fd00::/8", "[::1]"; without a length it is the one address. TG_INVALID names what is
 * wrong. Bits behind the prefix are ignored. */
TG_MUST_CHECK int tg_cidr_parse(struct tg_str text, struct tg_cidr *cidr, struct tg_err *err);
bool tg_cidr_has(const struct tg_cidr *cidr, const struct tg_ip *ip);

/* An address literal, brackets allowed. */
bool tg_ip_parse(struct tg_str text, struct tg_ip *ip);
/* False for families other than IPv4 and IPv6. */
bool tg_ip_of(const struct sockaddr *sa, struct tg_ip *ip);
enum { TG_IP_TEXT = 64 };
void tg_ip_format(const struct tg_ip *ip, char out[TG_IP_TEXT]);
/* The IPv4 address hidden in an IPv6 one (compatible, NAT64, 6to4), in mapped form; others as they are. */
struct tg_ip tg_ip_unwrap(const struct tg_ip *ip);
/* Loopback, private, link-local, shared, documentation, benchmark, multicast, reserved: all but the public
 * internet. */
bool tg_ip_private(const struct tg_ip *ip);

#endif
