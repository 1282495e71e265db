/* A client for tests of servers that run on the same thread: every wait turns the server's loop. */
#ifndef TG_TEST_HTTP_CLIENT_H
#define TG_TEST_HTTP_CLIENT_H

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TG_UNUSED __attribute__((unused))

enum { CLIENT_DEADLINE_MS = 60000 };

/* A listening socket on a port that the kernel chose. */
TG_UNUSED static int client_listen(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

TG_UNUSED static int client_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

TG_UNUSED static void turn(struct event_base *base)
{
    assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

/* Turns the loop until the condition holds; fails the test when it never does. */
#define turn_until(base, condition)                                                                          \
    do {                                                                                                     \
        int64_t deadline_ = tg_mono_ms() + CLIENT_DEADLINE_MS;                                               \
        while (!(condition)) {                                                                               \
            if (tg_mono_ms() > deadline_)                                                                    \
                fail_msg("waited in vain for: %s", #condition);                                              \
            turn(base);                                                                                      \
        }                                                                                                    \
    } while (0)

/* Sends all of it. False when the server has closed. */
TG_UNUSED static bool client_send(struct event_base *base, int fd, struct tg_str text)
{
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while (text.n) {
        assert_true(tg_mono_ms() < deadline);
        ssize_t n = send(fd, text.p, text.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0)
            text = tg_str_n(text.p + n, text.n - (size_t)n);
        turn(base);
    }
    return true;
}

/* One look for bytes. 1: more came, 0: none now, -1: closed, -2: reset. */
TG_UNUSED static int client_poll(int fd, struct tg_buf *in)
{
    assert_ok(tg_buf_reserve(in, 65536));
    ssize_t n = recv(fd, in->data + in->len, 65536, 0);
    if (n == 0)
        return -1;
    if (n < 0)
        return errno == EAGAIN ? 0 : -2;
    in->len += (size_t)n;
    return 1;
}

/* Length of the first whole answer in `in`, 0 when it is not whole. head: no body follows. */
TG_UNUSED static size_t answer_length(struct tg_buf *in, bool head)
{
    const char *z = tg_buf_cstr(in);
    const char *end = z ? strstr(z, "\r\n\r\n") : NULL;
    if (!end)
        return 0;
    size_t n = (size_t)(end + 4 - z);
    const char *length = strstr(z, "Content-Length: ");
    if (length && length < end && !head)
        n += strtoul(length + 16, NULL, 10);
    return n <= in->len ? n : 0;
}

/* Waits for one answer; it is lent until the next call and then `in` begins behind it. */
TG_UNUSED static struct tg_str client_answer_of(struct event_base *base, int fd, struct tg_buf *in, bool head)
{
    static char answer[70000];
    size_t n = 0;
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    while (!(n = answer_length(in, head))) {
        assert_true(tg_mono_ms() < deadline);
        turn(base);
        int rc = client_poll(fd, in);
        if (rc < 0 && !answer_length(in, head))
            fail_msg("closed (%d) before an answer", rc);
    }
    assert_true(n < sizeof answer);
    memcpy(answer, in->data, n);
    answer[n] = '\0';
    tg_buf_consume(in, n);
    return tg_str_n(answer, n);
}

TG_UNUSED static struct tg_str client_answer(struct event_base *base, int fd, struct tg_buf *in)
{
    return client_answer_of(base, fd, in, false);
}

/* Waits until the server closes; nothing may come before that. */
TG_UNUSED static void client_closed(struct event_base *base, int fd, struct tg_buf *in)
{
    int64_t deadline = tg_mono_ms() + CLIENT_DEADLINE_MS;
    int rc;
    while ((rc = client_poll(fd, in)) == 0) {
        assert_true(tg_mono_ms() < deadline);
        turn(base);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(in->len, 0);
}

#define assert_has(text, z)   assert_non_null(memmem((text).p, (text).n, (z), strlen(z)))
#define assert_lacks(text, z) assert_null(memmem((text).p, (text).n, (z), strlen(z)))
#define assert_begins(text, z)                                                                               \
    do {                                                                                                     \
        if (!tg_str_starts((text), (z)))                                                                     \
            fail_msg("got \"%.*s\", wanted \"%s…\"", TG_STR_ARG(text), (z));                                 \
    } while (0)

#endif
