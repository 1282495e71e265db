#include "deliver/egress.h"

#include <stdio.h>

static bool listed(const struct tg_egress *egress, const struct tg_ip *ip)
{
    struct tg_ip inner = tg_ip_unwrap(ip);
    for (size_t i = 0; i < egress->n; i++)
        if (tg_cidr_has(&egress->list[i], &inner) || tg_cidr_has(&egress->list[i], ip))
            return true;
    return false;
}

bool tg_egress_allows(const struct tg_egress *egress, const struct tg_ip *ip, bool https,
                      char why[TG_EGRESS_WHY])
{
    char text[TG_IP_TEXT];
    bool private = tg_ip_private(ip);
    if (egress->allow_private && (egress->n ? listed(egress, ip) : private))
        return true;
    if (!private && https)
        return true;
    tg_ip_format(ip, text);
    if (private)
        snprintf(why, TG_EGRESS_WHY, "%s is not a public address; egress.allow_private %s", text,
                 egress->allow_private ? "does not list it" : "= true (or a list with it) would allow it");
    else
        snprintf(why, TG_EGRESS_WHY,
                 "%s is a public address, and only https may go there: http is for addresses "
                 "that egress.allow_private covers",
                 text);
    return false;
}
