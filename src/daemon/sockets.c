#include "daemon/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int resolve(const char *address, struct sockaddr_storage *out, socklen_t *len, struct tg_err *err)
{
    char host[TG_ADDRESS_MAX];
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    /* getaddrinfo takes 99999 for 34463. */
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || n >= sizeof host || end == colon + 1 || *end || port < 0 || port > 65535)
        return tg_fail(err, TG_INVALID, "%s: not an address; write host:port", address);
    memcpy(host, address, n);
    host[n] = '\0';
    char *name = host;
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        name = host + 1;
    }
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(*name ? name : NULL, colon + 1, &hints, &found);
    if (rc)
        return tg_fail(err, TG_INVALID, "%s: %s", address, gai_strerror(rc));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return TG_OK;
}

static int listen_one(const struct sockaddr_storage *addr, socklen_t len)
{
    int one = 1;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0 &&
        bind(fd, (const struct sockaddr *)addr, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static void describe(int fd, char bound[TG_ADDRESS_MAX], struct sockaddr_storage *addr)
{
    socklen_t len = sizeof *addr;
    char host[64] = "?", port[16] = "?";
    if (getsockname(fd, (struct sockaddr *)addr, &len) == 0)
        (void)getnameinfo((struct sockaddr *)addr, len, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(bound, TG_ADDRESS_MAX, addr->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* SO_REUSEPORT would also let us share a port with another program of the same user: a plain socket first
 * shows whether somebody listens there already. */
static int check_free(const struct sockaddr_storage *addr, socklen_t len)
{
    int one = 1, fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int rc = bind(fd, (const struct sockaddr *)addr, len);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return rc;
}

int tg_listen(const char *address, int *fds, size_t n, char bound[TG_ADDRESS_MAX], struct tg_err *err)
{
    struct sockaddr_storage addr;
    socklen_t len = 0;
    int rc = resolve(address, &addr, &len, err);
    if (rc)
        return rc;
    if (check_free(&addr, len))
        return tg_fail_errno(err, errno, "cannot listen on %s", address);
    for (size_t i = 0; i < n; i++) {
        fds[i] = listen_one(&addr, len);
        if (fds[i] < 0) {
            rc = tg_fail_errno(err, errno, "cannot listen on %s", address);
            while (i--)
                (void)close(fds[i]);
            return rc;
        }
        if (i == 0)
            describe(fds[0], bound, &addr); /* a port that the kernel chose is the port of all */
    }
    return TG_OK;
}

/* sun_path holds 107 bytes; a folder's descriptor makes any path short. */
static int unix_address(const char *folder, const char *name, struct sockaddr_un *addr, int *dir,
                        struct tg_err *err)
{
    *dir = open(folder, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (*dir < 0)
        return tg_fail_errno(err, errno, "%s", folder);
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(addr->sun_path, sizeof addr->sun_path, "/proc/self/fd/%d/%s", *dir, name);
    return TG_OK;
}

int tg_listen_unix(const char *folder, const char *name, int *fd, struct tg_err *err)
{
    struct sockaddr_un addr;
    int dir;
    int rc = unix_address(folder, name, &addr, &dir, err);
    if (rc)
        return rc;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    (void)unlinkat(dir, name, 0);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&addr, sizeof addr) || listen(*fd, 16)) {
        rc = tg_fail_errno(err, errno, "%s/%s", folder, name);
        if (*fd >= 0)
            (void)close(*fd);
        *fd = -1;
    }
    (void)umask(old);
    (void)close(dir);
    return rc;
}

int tg_connect_unix(const char *folder, const char *name, int *fd, struct tg_err *err)
{
    struct sockaddr_un addr;
    int dir;
    int rc = unix_address(folder, name, &addr, &dir, err);
    if (rc)
        return rc;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || connect(*fd, (struct sockaddr *)&addr, sizeof addr)) {
        rc = tg_fail_errno(err, errno, "%s/%s", folder, name);
        if (*fd >= 0)
            (void)close(*fd);
        *fd = -1;
    }
    (void)close(dir);
    return rc;
}
