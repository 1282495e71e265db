/* What connects the processes: channels, the control socket, listening sockets, systemd's notice. */
#include "base/clock.h"
#include "daemon/channel.h"
#include "daemon/control.h"
#include "daemon/notify.h"
#include "daemon/sockets.h"
#include "tg_test.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A message arrives whole, with the descriptor that went along; a closed side is seen. */
static void test_channel(void **state)
{
    int pair[2], passed, pipe_fds[2];
    struct tg_msg in = {.type = TG_MSG_RELOAD, .generation = 7, .text = "text"}, out;
    (void)state;
    assert_ok(tg_channel_open(pair, NULL));
    assert_int_equal(tg_channel_receive(pair[1], &out, &passed), TG_BUSY);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_ok(tg_channel_send(pair[0], &in, pipe_fds[1]));
    assert_ok(tg_channel_receive(pair[1], &out, &passed));
    assert_int_equal(out.generation, 7);
    assert_string_equal(out.text, "text");
    assert_int_equal(write(passed, "x", 1), 1);
    char c;
    assert_int_equal(read(pipe_fds[0], &c, 1), 1);
    (void)close(passed);
    (void)close(pair[0]);
    assert_int_equal(tg_channel_receive(pair[1], &out, &passed), TG_CLOSED);
    assert_int_equal(tg_channel_send(pair[1], &in, -1), TG_CLOSED);
    (void)close(pair[1]);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}

static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* What is no whole message ends the channel, and the descriptors that came with it are not kept. */
static void test_torn_messages(void **state)
{
    static const size_t sizes[] = {1, sizeof(struct tg_msg) - 1, sizeof(struct tg_msg) + 1};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char bytes[sizeof(struct tg_msg) + 1] = {0};
        struct iovec iov = {bytes, sizes[i]};
        _Alignas(struct cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {0};
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        int pair[2], passed, two[2] = {STDIN_FILENO, STDOUT_FILENO};
        struct tg_msg out;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof two);
        memcpy(CMSG_DATA(c), two, sizeof two);
        assert_ok(tg_channel_open(pair, NULL));
        int before = open_files();
        assert_int_equal(sendmsg(pair[0], &m, 0), sizes[i]);
        assert_int_equal(tg_channel_receive(pair[1], &out, &passed), TG_CLOSED);
        assert_int_equal(passed, -1);
        assert_int_equal(open_files(), before);
        (void)close(pair[0]);
        (void)close(pair[1]);
    }
}

/* A port that somebody listens on is refused with its address; port 0 gives all sockets the same port. */
static void test_listen(void **state)
{
    int fds[3], again;
    char bound[TG_ADDRESS_MAX], other[TG_ADDRESS_MAX];
    struct tg_err err = {0};
    (void)state;
    assert_ok(tg_listen("127.0.0.1:0", fds, 3, bound, &err));
    assert_null(strstr(bound, ":0 "));
    assert_int_equal(tg_listen(bound, &again, 1, other, &err), TG_IO);
    assert_non_null(strstr(err.msg, bound));
    static const char *const odd[] = {"nowhere",      "127.0.0.1:",   "127.0.0.1:99999",
                                      "127.0.0.1:-1", "127.0.0.1:8o", ":x"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_int_equal(tg_listen(odd[i], &again, 1, other, &err), TG_INVALID);
    for (int i = 0; i < 3; i++)
        (void)close(fds[i]);
}

struct served {
    struct event_base *base;
    char line[64];
};

static void on_command(void *arg, struct tg_control_client *client, const char *line)
{
    struct served *s = arg;
    (void)snprintf(s->line, sizeof s->line, "%s", line);
    tg_control_answer(client, strcmp(line, "good") == 0, TG_STR("the answer"));
    const struct timeval soon = {0, 50000};
    (void)event_base_loopexit(s->base, &soon);
}

struct asker {
    const char *dir, *line;
    bool ok;
    int rc;
    struct tg_buf answer;
};

static void *ask(void *arg)
{
    struct asker *a = arg;
    a->rc = tg_control_ask(a->dir, a->line, &a->ok, &a->answer, NULL);
    return NULL;
}

static void one_question(const char *dir, const char *line, bool good)
{
    struct served s = {.base = event_base_new()};
    struct tg_control *control = NULL;
    struct asker a = {.dir = dir, .line = line, .answer = TG_BUF_INIT(65536)};
    pthread_t thread;
    struct stat st;
    char path[512];
    assert_ok(tg_control_new(s.base, dir, on_command, &s, &control, NULL));
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
    (void)event_base_dispatch(s.base);
    tg_control_free(&control);
    (void)pthread_join(thread, NULL);
    assert_ok(a.rc);
    assert_string_equal(s.line, line);
    assert_int_equal(a.ok, good);
    assert_buf(&a.answer, "the answer");
    tg_buf_fini(&a.answer);
    event_base_free(s.base);
    (void)unlink(path);
}

/* A line in, an answer out, in a folder whose path is longer than a socket's address may be. */
static void test_control(void **state)
{
    char root[] = "/tmp/tidegate-wires-XXXXXX", dir[256];
    bool ok;
    struct tg_err err = {0};
    struct tg_buf none = TG_BUF_INIT(64);
    (void)state;
    assert_non_null(mkdtemp(root));
    (void)snprintf(dir, sizeof dir, "%s/%0150d", root, 1);
    assert_int_equal(mkdir(dir, 0700), 0);
    one_question(dir, "good", true);
    one_question(dir, "bad", false);
    assert_int_equal(tg_control_ask(dir, "status", &ok, &none, &err), TG_NOTFOUND);
    assert_non_null(strstr(err.msg, "no tidegate runs"));
    (void)rmdir(dir);
    (void)rmdir(root);
}

static void answer_and_end(void *arg, struct tg_control_client *client, const char *line)
{
    (void)line;
    tg_control_answer(client, true, TG_STR("stopping"));
    (void)event_base_loopbreak(arg);
}

/* The order to stop is answered although the loop ends at once; and the client learns the answer's end
 * although a child has the socket too. */
static void test_last_answer(void **state)
{
    char dir[] = "/tmp/tidegate-wires-XXXXXX", path[64], got[16] = "";
    struct event_base *base = event_base_new();
    struct tg_control *control = NULL;
    int fd, holds[2];
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pipe(holds), 0);
    assert_ok(tg_control_new(base, dir, answer_and_end, base, &control, NULL));
    assert_ok(tg_connect_unix(dir, "control.sock", &fd, NULL));
    (void)event_base_loop(base, EVLOOP_ONCE); /* it is accepted */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(holds[1]);
        (void)close(fd);
        _exit(read(holds[0], path, 1) != 0);
    }
    assert_int_equal(send(fd, "stop\n", 5, MSG_NOSIGNAL), 5);
    (void)event_base_dispatch(base);
    tg_control_free(&control);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 9);
    assert_memory_equal(got, "0stopping", 9);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 0);
    (void)close(holds[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)close(holds[0]);
    (void)close(fd);
    event_base_free(base);
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    (void)unlink(path);
    (void)rmdir(dir);
}

enum { CLIENTS = 16, ANSWER_BYTES = 16 * 1024 * 1024, PATIENCE_MS = 60000 };

static void answer_much(void *arg, struct tg_control_client *client, const char *line)
{
    (void)line;
    tg_control_answer(client, true, tg_str_n(arg, ANSWER_BYTES));
}

static int count_closed(const int *fds, int n)
{
    int closed = 0;
    for (int i = 0; i < n; i++) {
        struct pollfd p = {
            .fd = fds[i],
        };
        if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
            closed++;
    }
    return closed;
}

/* Clients that say nothing, or ask and do not read the answer, do not keep their places. */
static void idle_clients(const char *line)
{
    char dir[] = "/tmp/tidegate-wires-XXXXXX", path[64];
    char *much = calloc(1, ANSWER_BYTES);
    struct event_base *base = event_base_new();
    struct tg_control *control = NULL;
    int fds[CLIENTS];
    assert_non_null(mkdtemp(dir));
    assert_ok(tg_control_new(base, dir, answer_much, much, &control, NULL));
    tg_control_set_patience(control, 100);
    for (int i = 0; i < CLIENTS; i++) {
        assert_ok(tg_connect_unix(dir, "control.sock", &fds[i], NULL));
        assert_int_equal(send(fds[i], line, strlen(line), MSG_NOSIGNAL), strlen(line));
    }
    int64_t until = tg_mono_ms() + PATIENCE_MS;
    while (count_closed(fds, CLIENTS) < CLIENTS && tg_mono_ms() < until) {
        const struct timeval piece = {0, 20000};
        (void)event_base_loopexit(base, &piece);
        (void)event_base_dispatch(base);
    }
    assert_int_equal(count_closed(fds, CLIENTS), CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        (void)close(fds[i]);
    tg_control_free(&control);
    event_base_free(base);
    free(much);
    (void)snprintf(path, sizeof path, "%s/control.sock", dir);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void test_idle_clients(void **state)
{
    (void)state;
    idle_clients("");
    idle_clients("status\n");
}

/* A server with one client, whose command is answered by the test. */
struct table {
    char dir[64];
    struct event_base *base;
    struct tg_control *control;
    struct tg_control_client *asks; /* the client that waits for its answer */
    int fd;                         /* its own end */
};

static void on_asked(void *arg, struct tg_control_client *client, const char *line)
{
    struct table *t = arg;
    (void)line;
    t->asks = client;
    (void)event_base_loopbreak(t->base);
}

static void sit_down(struct table *t, bool half_close)
{
    *t = (struct table){.dir = "/tmp/tidegate-wires-XXXXXX", .base = event_base_new()};
    assert_non_null(mkdtemp(t->dir));
    assert_ok(tg_control_new(t->base, t->dir, on_asked, t, &t->control, NULL));
    assert_ok(tg_connect_unix(t->dir, "control.sock", &t->fd, NULL));
    assert_int_equal(send(t->fd, "status\n", 7, MSG_NOSIGNAL), 7);
    if (half_close)
        assert_int_equal(shutdown(t->fd, SHUT_WR), 0);
    (void)event_base_dispatch(t->base);
    assert_non_null(t->asks);
}

static void turn(struct table *t)
{
    const struct timeval piece = {0, 5000};
    (void)event_base_loopexit(t->base, &piece);
    (void)event_base_dispatch(t->base);
}

/* How much the client reads until the server closes; -1 when it never does. */
static ssize_t read_all(struct table *t)
{
    static char piece[65536];
    ssize_t all = 0;
    int64_t until = tg_mono_ms() + PATIENCE_MS;
    while (tg_mono_ms() < until) {
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        if (t->control)
            turn(t);
        if (poll(&p, 1, 10) != 1)
            continue;
        ssize_t n = read(t->fd, piece, sizeof piece);
        if (n <= 0)
            return all;
        all += n;
    }
    return -1;
}

static void get_up(struct table *t)
{
    char path[128];
    tg_control_free(&t->control);
    event_base_free(t->base);
    (void)close(t->fd);
    (void)snprintf(path, sizeof path, "%s/control.sock", t->dir);
    (void)unlink(path);
    (void)rmdir(t->dir);
}

/* A client that has closed its own direction (as `nc -N` does) gets the whole of its answer. */
static void test_half_closed_client(void **state)
{
    struct table t;
    (void)state;
    char *much = calloc(1, ANSWER_BYTES);
    sit_down(&t, true);
    turn(&t); /* its end is seen before the answer, */
    tg_control_answer(t.asks, true, tg_str_n(much, ANSWER_BYTES));
    assert_int_equal(read_all(&t), ANSWER_BYTES + 1);
    get_up(&t);
    sit_down(&t, true); /* or behind it */
    tg_control_answer(t.asks, true, tg_str_n(much, ANSWER_BYTES));
    assert_int_equal(read_all(&t), ANSWER_BYTES + 1);
    get_up(&t);
    free(much);
}

/* The state reaches the socket that systemd names; without one nothing happens. A long start asks for more
 * time now and then. */
static void test_notify(void **state)
{
    char root[] = "/tmp/tidegate-wires-XXXXXX", got[64] = "";
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    tg_notify("READY=1");
    assert_non_null(mkdtemp(root));
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/n", root);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    (void)setenv("NOTIFY_SOCKET", addr.sun_path, 1);
    tg_notify("READY=1");
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 7);
    assert_memory_equal(got, "READY=1", 7);
    int64_t asked = 0;
    tg_notify_starting(&asked, 1000);
    assert_true(recv(fd, got, sizeof got, MSG_DONTWAIT) > 0);
    assert_memory_equal(got, "EXTEND_TIMEOUT_USEC=", 20);
    tg_notify_starting(&asked, 5999);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
    tg_notify_starting(&asked, 6000);
    assert_true(recv(fd, got, sizeof got, MSG_DONTWAIT) > 0);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)close(fd);
    (void)unlink(addr.sun_path);
    (void)rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel),      cmocka_unit_test(test_torn_messages),
        cmocka_unit_test(test_listen),       cmocka_unit_test(test_control),
        cmocka_unit_test(test_idle_clients), cmocka_unit_test(test_half_closed_client),
        cmocka_unit_test(test_last_answer),  cmocka_unit_test(test_notify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
