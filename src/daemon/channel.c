#include "daemon/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int tg_channel_open(int fds[2], struct tg_err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0)
        return TG_OK;
    return tg_fail_errno(err, errno, "socket pair for a worker");
}

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

int tg_channel_send(int channel, const struct tg_msg *msg, int fd)
{
    struct tg_msg copy = *msg;
    struct iovec iov = {&copy, sizeof copy};
    union control control = {0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do
        n = sendmsg(channel, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof copy)
        return TG_OK;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? TG_BUSY : TG_CLOSED;
}

/* The first descriptor of a message, or -1; further ones are nobody's and closed. */
static int passed_fd(struct msghdr *m)
{
    int first = -1, fd;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                       ? (c->cmsg_len - CMSG_LEN(0)) / sizeof fd
                       : 0;
        for (size_t i = 0; i < n; i++) {
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (first < 0)
                first = fd;
            else
                (void)close(fd);
        }
    }
    return first;
}

int tg_channel_receive(int channel, struct tg_msg *msg, int *fd)
{
    struct iovec iov = {msg, sizeof *msg};
    union control control = {0};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *fd = -1;
    ssize_t n;
    do
        n = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return TG_BUSY;
    if (n <= 0)
        return TG_CLOSED;
    *fd = passed_fd(&m);
    msg->text[sizeof msg->text - 1] = '\0';
    if (n == (ssize_t)sizeof *msg && !(m.msg_flags & MSG_TRUNC))
        return TG_OK;
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    return TG_CLOSED;
}
