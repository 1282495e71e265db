/* The relay runs as a child, exactly as `tidegate run` would with the configuration that is written here;
 * this process is the stand-in partner and the sender. */
#include "daemon/cmd_demo.h"

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/catcher.h"
#include "daemon/cli.h"
#include "daemon/demo_config.h"
#include "daemon/poster.h"
#include "daemon/sockets.h"
#include "daemon/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 30000, ARRIVE_MS = 30000, POST_MS = 10000, MAX_SHOWN = 64 * 1024 * 1024 };

struct demo {
    bool once, keep;
    struct event_base *base;
    struct tg_catcher *catcher;
    struct tg_demo scripts;
    char dir[4096], config[4096 + 16];
    char listen[TG_ADDRESS_MAX], admin[TG_ADDRESS_MAX];
    int relay;          /* pid */
    size_t waiting_for; /* index of the script whose request is awaited; n: none */
    bool live, timed_out;
};

/* --- what arrives --- */

static struct tg_demo_item *item_of(struct demo *d, struct tg_str host)
{
    for (size_t i = 0; i < d->scripts.n; i++) {
        size_t n = strlen(d->scripts.items[i].script);
        if (tg_str_starts(host, d->scripts.items[i].script) && host.n > n && host.p[n] == '.')
            return &d->scripts.items[i];
    }
    return NULL;
}

static void on_caught(void *arg, const struct tg_caught *caught)
{
    struct demo *d = arg;
    struct tg_demo_item *item = item_of(d, tg_http_header(caught->msg, "Host"));
    struct tg_buf text = TG_BUF_INIT(MAX_SHOWN);
    if (tg_caught_print(caught, &text) == TG_OK)
        (void)printf("--- what %s gets\n%.*s\n", item ? item->script : "somebody",
                     TG_STR_ARG(tg_buf_str(&text)));
    (void)fflush(stdout);
    tg_buf_fini(&text);
    if (item)
        item->caught++;
    if (!d->live && item && d->waiting_for < d->scripts.n && item == &d->scripts.items[d->waiting_for])
        (void)event_base_loopbreak(d->base);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct demo *d = arg;
    (void)fd;
    (void)what;
    d->timed_out = true;
    (void)event_base_loopbreak(d->base);
}

/* Runs the loop until the script's request is there. */
static int await(struct demo *d, struct tg_demo_item *item, struct tg_err *err)
{
    struct event *timer = evtimer_new(d->base, on_timeout, d);
    const struct timeval patience = {ARRIVE_MS / 1000, 0};
    if (!timer || event_add(timer, &patience)) {
        if (timer)
            event_free(timer);
        return tg_fail(err, TG_NOMEM, "out of memory");
    }
    d->timed_out = false;
    while (!item->caught && !d->timed_out)
        (void)event_base_dispatch(d->base);
    event_free(timer);
    return item->caught ? TG_OK
                        : tg_fail(err, TG_NETWORK, "%s: its request did not come within %d s", item->script,
                                  ARRIVE_MS / 1000);
}

static int show_one(struct demo *d, size_t i, struct tg_err *err)
{
    struct tg_demo_item *item = &d->scripts.items[i];
    struct tg_buf answer = TG_BUF_INIT(65536), body = TG_BUF_INIT(MAX_SHOWN);
    char url[256], key[128];
    int status = 0;
    (void)snprintf(url, sizeof url, "http://%s/v1/batch", d->listen);
    (void)snprintf(key, sizeof key, "demo-%s", item->script);
    (void)printf("=== %s\n--- the event, posted to %s\n%s\n", item->script, url, item->event);
    d->waiting_for = d->scripts.n; /* the request may overtake the answer, whose loop it must not end */
    int rc = tg_buf_printf(&body, "{\"batch\":[%s]}", item->event);
    if (!rc)
        rc = tg_post(d->base, url, key, tg_buf_str(&body), POST_MS, &status, &answer, err);
    if (!rc)
        (void)printf("--- answered %d %.*s\n", status, TG_STR_ARG(tg_buf_str(&answer)));
    if (!rc && status != 200)
        rc = tg_fail(err, TG_INVALID, "the relay did not take the sample of %s", item->script);
    d->waiting_for = i;
    if (!rc)
        rc = await(d, item, err);
    tg_buf_fini(&answer);
    tg_buf_fini(&body);
    return rc;
}

/* --- the relay --- */

static int report_fd; /* of the relay's process, to say where it listens */

static void on_relay_ready(void *arg, const char *listen, const char *admin)
{
    (void)arg;
    (void)dprintf(report_fd, "%s %s\n", listen, admin ? admin : "-");
    (void)close(report_fd);
}

static int relay_main(const struct demo *d)
{
    const struct tg_run_options options = {.config_path = d->config, .on_ready = on_relay_ready};
    return tg_supervisor_run(&options);
}

static int start_relay(struct demo *d, struct tg_err *err)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC))
        return tg_fail_errno(err, errno, "pipe");
    (void)fflush(NULL);
    pid_t parent = getpid();
    d->relay = fork();
    if (d->relay == 0) {
        (void)close(pair[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(0);
        report_fd = pair[1];
        _exit(relay_main(d));
    }
    (void)close(pair[1]);
    struct pollfd p = {.fd = pair[0], .events = POLLIN};
    char line[2 * TG_ADDRESS_MAX + 2] = "";
    ssize_t n = d->relay > 0 && poll(&p, 1, START_MS) == 1 ? read(pair[0], line, sizeof line - 1) : -1;
    (void)close(pair[0]);
    if (n <= 0 || sscanf(line, "%127s %127s", d->listen, d->admin) != 2)
        return tg_fail(err, TG_CLOSED, "the relay did not start");
    return TG_OK;
}

/* The stand-in goes on answering meanwhile: the relay waits for what is in flight. */
static void stop_relay(struct demo *d)
{
    const struct timeval look_again = {0, 10000};
    if (d->relay <= 0)
        return;
    (void)kill(d->relay, SIGTERM);
    for (;;) {
        pid_t ended = waitpid(d->relay, NULL, WNOHANG);
        if (ended > 0 || (ended < 0 && errno != EINTR))
            return;
        (void)event_base_loopexit(d->base, &look_again);
        (void)event_base_dispatch(d->base);
    }
}

/* --- files --- */

static int make_dir(struct demo *d, const char *given, struct tg_err *err)
{
    const char *tmp = getenv("TMPDIR");
    if (given) {
        d->keep = true;
        (void)snprintf(d->dir, sizeof d->dir, "%s", given);
        if (mkdir(d->dir, 0700) != 0 && errno != EEXIST)
            return tg_fail_errno(err, errno, "%s", d->dir);
        return TG_OK;
    }
    (void)snprintf(d->dir, sizeof d->dir, "%s/tidegate-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(d->dir) ? TG_OK : tg_fail_errno(err, errno, "%s", d->dir);
}

/* The demo's own folder: files, and folders of files. */
static void remove_dir(const char *path, int depth)
{
    DIR *dir = depth < 4 ? opendir(path) : NULL;
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        char item[4096 + 300];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(item, sizeof item, "%.4095s/%s", path, e->d_name);
        if (unlink(item) != 0)
            remove_dir(item, depth + 1);
    }
    if (dir)
        (void)closedir(dir);
    (void)rmdir(path);
}

/* The usual ports where they are free, so that the curl line is the one of the README. */
static void choose(const char *usual, bool any, char out[TG_ADDRESS_MAX])
{
    int fd;
    char bound[TG_ADDRESS_MAX];
    bool free_now = !any && tg_listen(usual, &fd, 1, bound, NULL) == TG_OK;
    if (free_now)
        (void)close(fd);
    (void)snprintf(out, TG_ADDRESS_MAX, "%s", free_now ? usual : "127.0.0.1:0");
}

static int write_config(struct demo *d, struct tg_err *err)
{
    char listen[TG_ADDRESS_MAX], admin[TG_ADDRESS_MAX], spool[sizeof d->dir + 8];
    struct tg_buf text = TG_BUF_INIT(16 * 1024 * 1024);
    choose("127.0.0.1:8080", d->once, listen);
    choose("127.0.0.1:9080", d->once, admin);
    (void)snprintf(spool, sizeof spool, "%s/spool", d->dir);
    (void)snprintf(d->config, sizeof d->config, "%s/tidegate.lua", d->dir);
    int rc = tg_demo_config(&d->scripts, listen, admin, spool, &text);
    FILE *out = rc ? NULL : fopen(d->config, "we");
    if (!rc && (!out || fwrite(text.data, 1, text.len, out) != text.len))
        rc = tg_fail_errno(err, errno, "%s", d->config);
    if (out && fclose(out) != 0 && !rc)
        rc = tg_fail_errno(err, errno, "%s", d->config);
    tg_buf_fini(&text);
    return rc;
}

/* --- all of it --- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct demo *d = arg;
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(d->base);
}

static void print_invitation(const struct demo *d)
{
    (void)printf("=== ready for yours\n"
                 "The relay listens on http://%s, its metrics are at http://%s/metrics.\n"
                 "Configuration and spool are in %s. End it with Ctrl-C. Try:\n\n"
                 "  curl -u demo: http://%s/v1/track -d '{\"event\":\"Order Completed\",\"userId\":\"u1\","
                 "\"properties\":{\"total\":76.0,\"orderId\":\"7\"}}'\n\n",
                 d->listen, d->admin, d->dir, d->listen);
    (void)fflush(stdout);
}

/* An impatient second Ctrl-C: stopping takes seconds at most, and the folder is to be removed behind it. */
static void be_deaf(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void stay(struct demo *d)
{
    struct event *intr = evsignal_new(d->base, SIGINT, on_signal, d),
                 *term = evsignal_new(d->base, SIGTERM, on_signal, d);
    d->live = true;
    if (intr && term && event_add(intr, NULL) == 0 && event_add(term, NULL) == 0) {
        print_invitation(d);
        (void)event_base_dispatch(d->base);
        be_deaf();
    }
    if (intr)
        event_free(intr);
    if (term)
        event_free(term);
}

static int play(struct demo *d, const char *dir, struct tg_err *err)
{
    const struct tg_catcher_options options = {.address = "127.0.0.1:0", .caught = on_caught, .arg = d};
    d->base = event_base_new();
    int rc = d->base ? tg_catcher_new(d->base, &options, &d->catcher, err)
                     : tg_fail(err, TG_NOMEM, "out of memory");
    if (!rc)
        rc = tg_demo_collect(tg_catcher_address(d->catcher), &d->scripts, err);
    if (!rc)
        rc = make_dir(d, dir, err);
    if (!rc)
        rc = write_config(d, err);
    if (!rc)
        rc = start_relay(d, err);
    if (!rc)
        (void)printf("The relay runs with %s; the stand-in partner is http://%s.\n\n", d->config,
                     tg_catcher_address(d->catcher));
    for (size_t i = 0; !rc && i < d->scripts.n; i++)
        rc = show_one(d, i, err);
    d->waiting_for = d->scripts.n;
    if (!rc && !d->once)
        stay(d);
    return rc;
}

int tg_cmd_demo(int argc, char **argv)
{
    bool bad = false;
    struct tg_err err = {0};
    const char *dir = tg_cli_option(&argc, argv, NULL, "--dir", &bad);
    struct demo *d = tg_calloc(1, sizeof *d);
    if (!d)
        return TG_EXIT_FAILED;
    d->once = tg_cli_flag(&argc, argv, NULL, "--once");
    if (bad || tg_cli_too_many(argc, argv, 0, 0)) {
        tg_free(d);
        return TG_EXIT_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = play(d, dir, &err);
    if (rc)
        (void)fprintf(stderr, "tidegate demo: %s\n", err.msg);
    stop_relay(d);
    tg_catcher_free(&d->catcher);
    tg_demo_fini(&d->scripts);
    if (d->base)
        event_base_free(d->base);
    if (d->dir[0] && !d->keep)
        remove_dir(d->dir, 0);
    tg_free(d);
    return rc ? TG_EXIT_FAILED : TG_EXIT_OK;
}
