/* Load generator: posts Segment track events of about 1.1 KB over kept connections, each with a messageId of
 * its own, and says what that cost another process.
 *
 *     load -a PORT [-c CONNECTIONS] [-b BATCH] [-s SECONDS] [-r EVENTS_A_SECOND] [-p PID]...
 *          [-k SINK_PORT [-n COPIES]]
 *
 * Without -r every connection posts again as soon as it is answered; with -r posts are begun at that pace,
 * and a connection that is still busy delays nobody's clock but its own. -p names processes whose CPU time
 * (all threads, /proc/PID/stat) is divided by the events accepted. With -k it goes on until the stand-in
 * partner has got COPIES of each accepted event, or nothing more arrives there for 10 s, and the CPU time
 * counts up to then.
 *
 * The messageId carries the time of posting, "bench-<microseconds>-<number>", by which sink.c knows how long
 * an event has been under way. Output: name=value, one a line.
 *
 *     load -f         prints a port that is free now
 *     load -t PORT    tells by its exit status whether somebody listens there */
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PIDS = 16, MAX_CONNECTIONS = 4096, MAX_BATCH = 1000, MAX_REPLY = 4096, ID_DIGITS = 16 };

/* The slot that stamp() fills. */
#define ID "bench-0000000000000000-000000000000"

static const char event[] =
    "{\"anonymousId\":\"f0a1c2d3-1111-4222-8333-abcdefabcdef\",\"userId\":\"user-90210\",\"messageId\":\"" ID
    "\",\"type\":\"track\",\"event\":\"Order Completed\",\"timestamp\":\"2026-01-02T03:04:05.678Z\","
    "\"properties\":{\"order_id\":\"50314b8e9bcf000000000000\",\"total\":27.5,\"subtotal\":22.5,\"revenue\":"
    "25.0,\"shipping\":3,\"tax\":2,\"discount\":2.5,\"coupon\":\"hasbros\",\"currency\":\"USD\",\"products\":"
    "[{\"product_id\":\"507f1f77bcf86cd799439011\",\"sku\":\"45790-32\",\"name\":\"Monopoly: 3rd Edition\","
    "\"price\":19,\"quantity\":1,\"category\":\"Games\"},{\"product_id\":\"505bd76785ebb509fc183733\","
    "\"sku\":\"46493-32\",\"name\":\"Uno Card Game\",\"price\":3.99,\"quantity\":2}]},\"context\":{\"ip\":"
    "\"203.0.113.7\",\"locale\":\"en-GB\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/124.0 Safari/537.36\",\"library\":{\"name\":\"analytics.js\",\"version\":"
    "\"next-1.70.0\"},\"page\":{\"path\":\"/checkout/done\",\"referrer\":\"https://shop.example/cart\","
    "\"search\":\"?irclickid=abc\",\"title\":\"Thank you\",\"url\":"
    "\"https://shop.example/checkout/done?irclickid=abc\"}},\"integrations\":{\"All\":true}}";

struct connection {
    int fd;
    bool busy;       /* posted, not yet answered */
    char *request;   /* head and body; only the identifiers change */
    size_t sent;     /* bytes of it that are out */
    size_t received; /* bytes in `reply` */
    int64_t begun;   /* when it was posted, us */
    char reply[MAX_REPLY];
};

static struct {
    int port, sink_port, connections, batch, n_pids;
    double seconds, rate, copies;
    int pids[MAX_PIDS];
} option = {.connections = 64, .batch = 1, .seconds = 5, .copies = 1};

static struct {
    struct connection *connections;
    int *idle, n_idle; /* connections that may post, when the pace is set */
    int epoll;
    size_t request_size, first_id, stride; /* bytes of a request; where its identifiers stand */
    uint64_t serial, accepted, refused, broken;
    bool ending;
    struct histogram latency; /* from post to answer */
} run;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- requests --- */

static void put_digits(char *to, int width, uint64_t value)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
}

/* Gives every event of the request a new messageId. */
static void stamp(char *request, int64_t now)
{
    char *id = request + run.first_id + strlen("bench-");
    for (int i = 0; i < option.batch; i++, id += run.stride) {
        put_digits(id, ID_DIGITS, (uint64_t)now);
        put_digits(id + ID_DIGITS + 1, 12, run.serial++);
    }
}

static char *new_request(void)
{
    size_t length = sizeof event - 1, body = (length + 1) * (size_t)option.batch + 11;
    char *text = malloc(body + 256);
    if (!text)
        die("malloc");
    bool one = option.batch == 1;
    int at = snprintf(text, 256,
                      "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Basic YmVuY2g6\r\n"
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                      one ? "/v1/track" : "/v1/batch", option.port, one ? length : body,
                      one ? "" : "{\"batch\":[");
    char *to = text + at;
    run.first_id = (size_t)at + (size_t)(strstr(event, "bench-") - event);
    run.stride = length + 1;
    for (int i = 0; i < option.batch; i++) {
        memcpy(to, event, length);
        to += length;
        *to++ = ',';
    }
    if (one)
        to--;
    else {
        to[-1] = ']';
        *to++ = '}';
    }
    run.request_size = (size_t)(to - text);
    return text;
}

/* --- connections --- */

static void watch(struct connection *c, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(run.epoll, op, c->fd, &e))
        die("epoll_ctl");
}

static int dial(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void open_connection(struct connection *c)
{
    c->fd = dial(option.port);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK))
        die("fcntl");
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void rest(struct connection *c)
{
    c->busy = false;
    run.idle[run.n_idle++] = (int)(c - run.connections);
}

static void lose(struct connection *c)
{
    run.broken++;
    (void)close(c->fd);
    open_connection(c);
    rest(c);
}

static void push(struct connection *c)
{
    ssize_t n = write(c->fd, c->request + c->sent, run.request_size - c->sent);
    if (n < 0 && errno != EAGAIN) {
        lose(c);
        return;
    }
    bool was_part = c->sent > 0;
    c->sent += n > 0 ? (size_t)n : 0;
    bool part = c->sent < run.request_size;
    if (part || was_part)
        watch(c, EPOLL_CTL_MOD, part ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void post(struct connection *c)
{
    c->begun = now_us();
    c->busy = true;
    c->sent = c->received = 0;
    stamp(c->request, c->begun);
    push(c);
}

/* Bytes of the reply that is whole in the buffer, 0 while it is not. */
static size_t reply_size(const struct connection *c)
{
    const char *end = memmem(c->reply, c->received, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - c->reply) + 4, body = 0;
    for (const char *line = c->reply; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        line += line != c->reply;
        if (!strncasecmp(line, "content-length:", 15))
            body = strtoul(line + 15, NULL, 10);
    }
    return c->received >= head + body ? head + body : 0;
}

static void answered(struct connection *c)
{
    histogram_add(&run.latency, now_us() - c->begun);
    if (!strncmp(c->reply, "HTTP/1.1 200", 12))
        run.accepted += (uint64_t)option.batch;
    else
        run.refused += (uint64_t)option.batch;
    rest(c);
}

static void pull(struct connection *c)
{
    ssize_t n = read(c->fd, c->reply + c->received, sizeof c->reply - 1 - c->received);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        lose(c);
        return;
    }
    c->received += (size_t)n;
    c->reply[c->received] = 0;
    if (c->busy && reply_size(c))
        answered(c);
    else if (c->received == sizeof c->reply - 1)
        lose(c);
}

/* --- the run --- */

static void post_what_is_due(int64_t elapsed)
{
    static uint64_t begun;
    while (run.n_idle) {
        if (option.rate > 0 && (double)begun * option.batch / option.rate > (double)elapsed / 1e6)
            return;
        begun++;
        post(&run.connections[run.idle[--run.n_idle]]);
    }
}

static void turn(int timeout_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(run.epoll, events, 256, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT && c->busy)
            push(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            pull(c);
    }
}

/* Posts for the time asked for, then waits 5 s at most for the answers. Returns seconds. */
static double generate(void)
{
    int64_t begin = now_us(), now, end = begin + (int64_t)(option.seconds * 1e6);
    while ((now = now_us()) < end) {
        post_what_is_due(now - begin);
        turn(option.rate > 0 ? 1 : 100);
    }
    while (run.n_idle < option.connections && now_us() < end + 5000000)
        turn(10);
    return (double)(now_us() - begin) / 1e6;
}

static void set_up(void)
{
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.connections = calloc((size_t)option.connections, sizeof *run.connections);
    run.idle = calloc((size_t)option.connections, sizeof *run.idle);
    if (run.epoll < 0 || !run.connections || !run.idle)
        die("load");
    run.serial = (uint64_t)time(NULL) % 100000 * 10000000;
    for (int i = 0; i < option.connections; i++) {
        run.connections[i].request = new_request();
        open_connection(&run.connections[i]);
        rest(&run.connections[i]);
    }
}

/* --- what it costs, and where it went --- */

/* User and system time of all threads of a process, in seconds. */
static double cpu_of(int pid)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        (void)fclose(f);
    text[n] = 0;
    const char *at = strrchr(text, ')');
    unsigned long user, system;
    if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
        (void)fprintf(stderr, "load: process %d is gone\n", pid);
        exit(1);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu(void)
{
    double sum = 0;
    for (int i = 0; i < option.n_pids; i++)
        sum += cpu_of(option.pids[i]);
    return sum;
}

/* How many events the stand-in partner has got. */
static uint64_t delivered(void)
{
    static const char request[] = "GET /count HTTP/1.1\r\nHost: sink\r\nConnection: close\r\n\r\n";
    char reply[512];
    const char *body = NULL;
    size_t have = 0;
    ssize_t n;
    int fd = dial(option.sink_port);
    if (write(fd, request, sizeof request - 1) != sizeof request - 1)
        die("sink");
    while (have < sizeof reply - 1 && (n = read(fd, reply + have, sizeof reply - 1 - have)) > 0) {
        have += (size_t)n;
        reply[have] = 0;
        body = strstr(reply, "\r\n\r\n");
        if (body && strchr(body + 4, '\n'))
            break;
    }
    (void)close(fd);
    return body ? strtoull(body + 4, NULL, 10) : 0;
}

/* Returns how many arrived since `before`. */
static uint64_t wait_for_delivery(uint64_t before)
{
    uint64_t wanted = before + (uint64_t)((double)run.accepted * option.copies), seen = before, last = 0;
    int64_t changed = now_us();
    const struct timespec pause = {.tv_nsec = 20000000};
    while (seen < wanted && now_us() - changed < 10000000) {
        (void)nanosleep(&pause, NULL);
        seen = delivered();
        if (seen != last)
            changed = now_us();
        last = seen;
    }
    return seen - before;
}

static void report(double seconds, double spent)
{
    double n = run.accepted ? (double)run.accepted : 1;
    printf("events=%llu\nrefused=%llu\nbroken=%llu\ntook=%.3f\nrate=%.0f\ncpu_us=%.3f\n",
           (unsigned long long)run.accepted, (unsigned long long)run.refused, (unsigned long long)run.broken,
           seconds, (double)run.accepted / seconds, spent * 1e6 / n);
    printf("p50_ms=%.2f\np99_ms=%.2f\n", (double)histogram_at(&run.latency, 0.5) / 1e3,
           (double)histogram_at(&run.latency, 0.99) / 1e3);
}

static int print_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        die("load");
    printf("%d\n", ntohs(address.sin_port));
    return close(fd);
}

static int try_port(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void parse(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "a:c:b:s:r:p:k:n:ft:")) != -1;)
        switch (c) {
        case 'a':
            option.port = atoi(optarg);
            break;
        case 'c':
            option.connections = atoi(optarg);
            break;
        case 'b':
            option.batch = atoi(optarg);
            break;
        case 's':
            option.seconds = atof(optarg);
            break;
        case 'r':
            option.rate = atof(optarg);
            break;
        case 'k':
            option.sink_port = atoi(optarg);
            break;
        case 'n':
            option.copies = atof(optarg);
            break;
        case 'f':
            exit(print_free_port());
        case 't':
            exit(try_port(atoi(optarg)));
        case 'p':
            if (option.n_pids < MAX_PIDS)
                option.pids[option.n_pids++] = atoi(optarg);
            break;
        default:
            exit(2);
        }
    if (option.port <= 0 || option.connections < 1 || option.connections > MAX_CONNECTIONS ||
        option.batch < 1 || option.batch > MAX_BATCH) {
        (void)fprintf(stderr, "load: see the head of load.c for what it takes\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    set_up();
    uint64_t before = option.sink_port ? delivered() : 0;
    double begin = cpu();
    double seconds = generate();
    uint64_t arrived = option.sink_port ? wait_for_delivery(before) : 0;
    report(seconds, cpu() - begin);
    if (option.sink_port)
        printf("delivered=%llu\n", (unsigned long long)arrived);
    return run.accepted == 0;
}
