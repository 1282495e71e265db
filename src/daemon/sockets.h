/* Listening sockets. The supervisor binds one SO_REUSEPORT socket per address and worker and keeps them all
 * open, so that the connections that wait at a worker that died are served by its successor. */
#ifndef TG_DAEMON_SOCKETS_H
#define TG_DAEMON_SOCKETS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Binds n sockets to one address ("host:port"; port 0: the kernel chooses one, the same for all) and listens.
 * `bound` gets the real address. TG_IO names the address and the reason. */
enum { TG_ADDRESS_MAX = 128 };
TG_MUST_CHECK int tg_listen(const char *address, int *fds, size_t n, char bound[TG_ADDRESS_MAX],
                            struct tg_err *err);

/* A Unix socket at <folder>/<name>, mode 0600, whatever the length of the folder's path; an old one is
 * replaced. */
TG_MUST_CHECK int tg_listen_unix(const char *folder, const char *name, int *fd, struct tg_err *err);
TG_MUST_CHECK int tg_connect_unix(const char *folder, const char *name, int *fd, struct tg_err *err);

#endif
