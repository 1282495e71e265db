/* The admin listener by itself: its pages are looked at in tests/e2e/admin.test.mjs. */
#include "base/clock.h"
#include "daemon/admin.h"
#include "daemon/sockets.h"
#include "tg_test.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 150, KEPT = 64, PATIENCE_MS = 60000 };

static int connect_to(int listener)
{
    struct sockaddr_in addr;
    socklen_t n = sizeof addr;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &n), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void turn(struct event_base *base)
{
    const struct timeval piece = {0, 5000};
    (void)event_base_loopexit(base, &piece);
    (void)event_base_dispatch(base);
}

/* Asks on that connection, and gives what comes back. */
static const char *ask(struct event_base *base, int fd, const char *request)
{
    static char answer[1024];
    int64_t until = tg_mono_ms() + PATIENCE_MS;
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    while (!is_readable(fd) && tg_mono_ms() < until)
        turn(base);
    ssize_t n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    answer[n] = '\0';
    return answer;
}

/* Connections that are opened and left give way to new ones: there are never more than a few. */
static void test_connections_are_limited(void **state)
{
    struct event_base *base = event_base_new();
    struct tg_metrics *metrics = tg_metrics_new(1);
    struct tg_board *board = tg_board_new(1);
    struct tg_admin *admin = NULL;
    char bound[TG_ADDRESS_MAX];
    int listener, fds[CLIENTS], closed = 0;
    (void)state;
    assert_ok(tg_listen("127.0.0.1:0", &listener, 1, bound, NULL));
    assert_ok(tg_admin_new(base, listener, "key", board, metrics, &admin, NULL));
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(listener);
        turn(base); /* so that the queue of the socket does not overflow */
    }
    const char *request = "GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: bearer key\r\n\r\n";
    assert_int_equal(strncmp(ask(base, fds[CLIENTS - 1], request), "HTTP/1.1 200 OK\r\n", 17), 0);
    for (int64_t until = tg_mono_ms() + PATIENCE_MS; closed < CLIENTS - KEPT && tg_mono_ms() < until;) {
        turn(base); /* the kernel may be late with the ends */
        closed = 0;
        for (int i = 0; i < CLIENTS; i++)
            closed += is_readable(fds[i]);
    }
    assert_in_range(closed, CLIENTS - KEPT, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        (void)close(fds[i]);
    tg_admin_free(&admin);
    (void)close(listener);
    tg_board_free(&board);
    tg_metrics_free(&metrics);
    event_base_free(base);
}

/* A token that is missing, wrong, cut short or too long is refused; so are other methods and torn requests.
 */
static void test_refusals(void **state)
{
    static const char *const requests[][2] = {
        {"GET /status HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 401 "},
        {"GET /status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n\r\n", "HTTP/1.1 401 "},
        {"GET /status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ke\r\n\r\n", "HTTP/1.1 401 "},
        {"GET /status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer keys\r\n\r\n", "HTTP/1.1 401 "},
        {"GET /nothing HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer key\r\n\r\n", "HTTP/1.1 404 "},
        {"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405 "},
        {"nonsense\r\n\r\n", "HTTP/1.1 400 "},
    };
    struct event_base *base = event_base_new();
    struct tg_metrics *metrics = tg_metrics_new(1);
    struct tg_board *board = tg_board_new(1);
    struct tg_admin *admin = NULL;
    char bound[TG_ADDRESS_MAX];
    int listener;
    (void)state;
    assert_ok(tg_listen("127.0.0.1:0", &listener, 1, bound, NULL));
    assert_ok(tg_admin_new(base, listener, "key", board, metrics, &admin, NULL));
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int fd = connect_to(listener);
        const char *answer = ask(base, fd, requests[i][0]);
        assert_int_equal(strncmp(answer, requests[i][1], strlen(requests[i][1])), 0);
        (void)close(fd);
    }
    tg_admin_free(&admin);
    (void)close(listener);
    tg_board_free(&board);
    tg_metrics_free(&metrics);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_limited),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
