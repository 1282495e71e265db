/* The relay's own listening sockets: for each address one per worker, and the admin listener's, which all
 * workers accept from. */
#ifndef TG_DAEMON_LISTENERS_H
#define TG_DAEMON_LISTENERS_H

#include "daemon/snapshot.h"
#include "daemon/sockets.h"

struct tg_listeners {
    int *fds; /* [address][worker] */
    size_t n; /* addresses */
    unsigned workers;
    char (*bound)[TG_ADDRESS_MAX];
    int admin; /* or -1 */
    char admin_bound[TG_ADDRESS_MAX];
};

/* Whatever is returned, end it with fini; it closes nothing, the process that ends does. */
TG_MUST_CHECK int tg_listeners_init(struct tg_listeners *l, const struct tg_plain *plain, struct tg_err *err);
void tg_listeners_fini(struct tg_listeners *l);
/* The socket of one worker at one address. */
int tg_listeners_fd(const struct tg_listeners *l, size_t address, unsigned worker);

#endif
