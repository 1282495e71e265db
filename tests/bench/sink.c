/* Stand-in partner: as little server as can be, so that what is measured is the sender. Prints its port, then
 * serves until it is killed.
 *
 *     POST /<manner>/<name>   takes a body and counts the events in it under <name>, by the mark that load.c
 *                             puts into each messageId. Manners: `ok` answers 200; `500` and `429` (with
 *                             Retry-After: 1) refuse; `hang` answers 200 after 30 s; `drip` sends its answer
 *                             one byte a second. Only `ok` counts.
 *     GET /count              how many events arrived
 *     GET /stats              a line for each name: name, events, p50 and p99 in ms from post to arrival
 *     POST /reset             forgets all counts */
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MAX_NAMES = 16, NAME_SIZE = 32, ID_DIGITS = 16, HANG_S = 30, MAX_BODY = 16 << 20 };

struct client {
    int fd;
    char *in;
    size_t n, size;
    /* An answer that is still under way: sent one byte a second from `due` on, or whole then. */
    char late[256];
    size_t late_n, late_at;
    bool drip;
    int64_t due;
    struct client *next, *prev; /* list of those with an answer under way */
};

struct tally {
    char name[NAME_SIZE];
    struct histogram latency;
};

static struct tally tallies[MAX_NAMES];
static struct client late = {.next = &late, .prev = &late};
static int epoll;

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- counting --- */

static struct tally *tally_of(const char *name, size_t n)
{
    for (int i = 0; i < MAX_NAMES; i++) {
        struct tally *t = &tallies[i];
        if (!t->name[0] && n < NAME_SIZE)
            memcpy(t->name, name, n);
        if (strlen(t->name) == n && !memcmp(t->name, name, n))
            return t;
    }
    return NULL;
}

static void count(struct tally *t, const char *body, size_t n)
{
    const char *end = body + n;
    int64_t now = now_us();
    while ((body = memmem(body, (size_t)(end - body), "bench-", 6)) && end - body > 6 + ID_DIGITS) {
        int64_t sent = 0;
        for (int i = 0; i < ID_DIGITS; i++)
            sent = sent * 10 + (body[6 + i] - '0');
        histogram_add(&t->latency, now - sent);
        body += 6 + ID_DIGITS;
    }
}

static int write_count(char *to, size_t size)
{
    uint64_t n = 0;
    for (int i = 0; i < MAX_NAMES; i++)
        n += tallies[i].latency.n;
    return snprintf(to, size, "%llu\n", (unsigned long long)n);
}

static int write_stats(char *to, size_t size)
{
    int n = 0;
    for (int i = 0; i < MAX_NAMES && tallies[i].name[0]; i++) {
        const struct histogram *h = &tallies[i].latency;
        n += snprintf(to + n, size - (size_t)n, "%s %llu %.2f %.2f\n", tallies[i].name,
                      (unsigned long long)h->n, (double)histogram_at(h, 0.5) / 1e3,
                      (double)histogram_at(h, 0.99) / 1e3);
    }
    return n;
}

/* --- clients --- */

static void drop(struct client *c)
{
    if (c->next) {
        c->next->prev = c->prev;
        c->prev->next = c->next;
    }
    (void)close(c->fd);
    free(c->in);
    free(c);
}

static bool put(struct client *c, const char *text, size_t n)
{
    return write(c->fd, text, n) == (ssize_t)n; /* answers are smaller than any socket's buffer */
}

static bool answer(struct client *c, const char *status, const char *body, size_t n)
{
    char text[4096];
    int at = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%.*s", status, n, (int)n,
                      body);
    return put(c, text, (size_t)at);
}

static bool answer_late(struct client *c, bool drip)
{
    c->late_n = (size_t)snprintf(c->late, sizeof c->late, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    c->late_at = 0;
    c->drip = drip;
    c->due = now_us() + (drip ? 1 : HANG_S) * INT64_C(1000000);
    c->next = late.next;
    c->prev = &late;
    late.next = late.next->prev = c;
    return true;
}

static void send_late(void)
{
    int64_t now = now_us();
    struct client *c = late.next;
    while (c != &late) {
        struct client *next = c->next;
        if (c->due <= now) {
            size_t n = c->drip ? 1 : c->late_n;
            bool ok = put(c, c->late + c->late_at, n);
            c->late_at += n;
            c->due = now + 1000000;
            if (!ok) {
                drop(c);
            } else if (c->late_at == c->late_n) {
                c->next->prev = c->prev;
                c->prev->next = c->next;
                c->next = c->prev = NULL;
            }
        }
        c = next;
    }
}

static bool is_path(const char *head, const char *path)
{
    const char *at = strchr(head, ' ');
    return at && !strncmp(at + 1, path, strlen(path));
}

static bool serve_post(struct client *c, const char *head, const char *body, size_t n)
{
    const char *name = strchr(head, '/');
    name = name ? strchr(name + 1, '/') : NULL;
    if (is_path(head, "/500/"))
        return answer(c, "500 Internal Server Error", "", 0);
    if (is_path(head, "/429/"))
        return answer(c, "429 Too Many Requests\r\nRetry-After: 1", "", 0);
    if (is_path(head, "/hang/") || is_path(head, "/drip/"))
        return answer_late(c, is_path(head, "/drip/"));
    struct tally *t = name ? tally_of(name + 1, strcspn(name + 1, " /?")) : NULL;
    if (!is_path(head, "/ok/") || !t)
        return answer(c, "404 Not Found", "", 0);
    count(t, body, n);
    return answer(c, "200 OK", "", 0);
}

static bool serve(struct client *c, const char *head, const char *body, size_t n)
{
    char text[2048];
    if (is_path(head, "/count"))
        return answer(c, "200 OK", text, (size_t)write_count(text, sizeof text));
    if (is_path(head, "/stats"))
        return answer(c, "200 OK", text, (size_t)write_stats(text, sizeof text));
    if (is_path(head, "/reset")) {
        memset(tallies, 0, sizeof tallies);
        return answer(c, "200 OK", "", 0);
    }
    return serve_post(c, head, body, n);
}

/* Serves the request at the front of what was read. Returns its size, 0 when it is not whole, -1 to hang up.
 */
static ssize_t serve_first(struct client *c)
{
    char *end = memmem(c->in, c->n, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *end = 0;
    const char *length = strcasestr(c->in, "\ncontent-length:");
    size_t head = (size_t)(end - c->in) + 4, body = length ? strtoul(length + 16, NULL, 10) : 0;
    if (body > MAX_BODY)
        return -1;
    if (c->n < head + body) {
        if (strcasestr(c->in, "\nexpect:") && c->n == head)
            (void)put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        *end = '\r';
        return 0;
    }
    return serve(c, c->in, c->in + head, body) ? (ssize_t)(head + body) : -1;
}

static bool take(struct client *c)
{
    if (c->size - c->n < 65536) {
        char *grown = realloc(c->in, c->size * 2 + 65536 + 1);
        if (!grown)
            return false;
        c->in = grown;
        c->size = c->size * 2 + 65536;
    }
    ssize_t n = read(c->fd, c->in + c->n, c->size - c->n);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->n += (size_t)n;
    c->in[c->n] = 0;
    ssize_t used;
    while (c->n && (used = serve_first(c)) != 0) {
        if (used < 0)
            return false;
        c->n -= (size_t)used;
        memmove(c->in, c->in + used, c->n);
    }
    return true;
}

static void take_client(int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    if (!c)
        return;
    c->fd = fd;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
        drop(c);
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event e = {.events = EPOLLIN}, events[256];
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &length) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e)) {
        perror("sink");
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, 256, late.next == &late ? -1 : 100);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c)
                take_client(listener);
            else if (!take(c))
                drop(c);
        }
        send_late();
    }
}
