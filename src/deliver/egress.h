/* Which addresses deliveries may reach: what the configuration's egress says of a resolved address.
 *
 * The ways to write an IPv4 address inside an IPv6 one are unwrapped first, so that none of them is a way
 * round. Pure. */
#ifndef TG_DELIVER_EGRESS_H
#define TG_DELIVER_EGRESS_H

#include "base/ip.h"

/* What the configuration's egress says. */
struct tg_egress {
    bool allow_private;         /* true, or a list was given */
    const struct tg_cidr *list; /* none with allow_private: every private address */
    size_t n;
};
enum { TG_EGRESS_WHY = 256 };
/* Whether a connection to this address is allowed: public ones with https only, private ones (also with http)
 * where allow_private covers them. When not, `why` names the address and the option. */
bool tg_egress_allows(const struct tg_egress *egress, const struct tg_ip *ip, bool https,
                      char why[TG_EGRESS_WHY]);

#endif
