/* Happy path: build the first snapshot in a child, lock the spool, bind the sockets, fork the workers, wait.
 *
 * What can go wrong, and what happens:
 *  - a worker dies: it is started again at once from the snapshot in force, and when it keeps dying after a
 * pause that grows to 1 s; its siblings accept from its sockets while it is down (they look at the board).
 *  - a worker cannot start (spool damaged, out of memory): at the first start everything ends with its
 * reason, later it is tried again.
 *  - a script call takes longer than the hard limit: the event gets a strike, the worker is killed and
 * started again.
 *  - reload: a child builds a new snapshot; only a good one is sent to the workers, and the answer goes to
 * who asked when all have swapped. A worker that is down meanwhile starts with the new one; but sockets and
 * spool are those of the first, for all workers, until the relay is started again.
 *  - the supervisor dies: workers get SIGTERM from the kernel, finish what is in flight, and let go of the
 * spool's lock, for which a new supervisor waits when its holder is dead. */
#include "daemon/supervisor.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "daemon/auto_reload.h"
#include "daemon/board.h"
#include "daemon/channel.h"
#include "daemon/control.h"
#include "daemon/dedup_store.h"
#include "daemon/forgetter.h"
#include "daemon/hang.h"
#include "daemon/notify.h"
#include "daemon/roll_call.h"
#include "daemon/snapshot_child.h"
#include "daemon/sockets.h"
#include "daemon/worker.h"
#include "deliver/shared.h"
#include "ingest/dedup.h"
#include "spool/partition.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 50,          /* watchdog and restarts */
    LIVED_LONG_MS = 10000, /* a worker that lived so long is restarted at once */
    FIRST_PAUSE_MS = 50,
    MAX_PAUSE_MS = 1000,
    STOP_GRACE_MS = 3000, /* beyond stop_time, for syncs and cursors */
    ORPHANS_MS = 15000,   /* beyond stop_time: for the workers of a supervisor that was killed */
    SAVE_DEDUP_MS = 5000,
    REPORT_PIECE = 4096,
};

struct worker {
    struct supervisor *s;
    unsigned slot;
    int pid; /* 0: down */
    int channel;
    struct event *readable;
    bool ready, was_ready;
    int64_t started, restart_at;
    int pause_ms;
    struct tg_hang loop, call;
    bool swapping; /* has been sent a snapshot and has not answered */
};

struct reload {
    bool running;
    struct tg_snapshot_child child;
    struct event *readable;
    struct tg_buf report;
    bool again; /* asked for while one was under way */
    int new_fd;
    struct tg_snapshot *snapshot; /* of new_fd, while the workers swap */
};

struct waiter { /* a control client that waits for a reload, a pause or a resume */
    struct tg_control_client *client;
};

struct supervisor {
    const struct tg_run_options *options;
    struct event_base *base;
    struct tg_snapshot *snapshot;
    int snapshot_fd;
    struct tg_snapshot *first; /* whose sockets and spool these are */
    int first_fd;
    uint64_t generation;
    int lock_fd, signal_fd, admin_fd;
    int *listen_fds;
    char (*bound)[TG_ADDRESS_MAX];
    char admin_bound[TG_ADDRESS_MAX];
    struct event *on_signal, *tick;
    struct tg_auto_reload *auto_reload; /* or NULL */
    struct tg_board *board;
    struct tg_metrics *metrics;
    struct tg_shared *shared, *rates;
    struct tg_dedup *dedup; /* in dedup_memory */
    void *dedup_memory;
    size_t dedup_bytes;
    struct tg_dedup_store *dedup_store; /* NULL: none */
    struct tg_forgetter *forgetter;
    int64_t last_tick;
    tg_cell *restarts, *kills, *hang_kills, *generation_gauge, *reloads, *reload_failures;
    struct tg_control *control;
    struct worker workers[TG_MAX_WORKERS];
    unsigned n_workers;
    struct reload reload;
    struct waiter reload_waiters[16], command_waiter;
    struct tg_roll_call command; /* pause, resume or wake */
    const char *command_text;    /* the answer when all have done it */
    size_t n_reload_waiters;
    bool stopping, started, failed;
    int64_t kill_at;
    int exit_status;
};

/* In a worker the parent's struct stays reachable from here, so that a leak checker sees no leak in what only
 * the parent frees. */
static struct supervisor *the_supervisor;

static void start_worker(struct worker *w);
static void begin_stop(struct supervisor *s);
static void begin_reload(struct supervisor *s);

/* --- reload --- */

static void answer_reload(struct supervisor *s, bool ok, struct tg_str text)
{
    for (size_t i = 0; i < s->n_reload_waiters; i++)
        tg_control_answer(s->reload_waiters[i].client, ok, text);
    s->n_reload_waiters = 0;
}

static void end_reload(struct supervisor *s, bool ok, struct tg_str text)
{
    struct reload *r = &s->reload;
    if (ok)
        tg_info("configuration reloaded", TG_FI("generation", s->generation));
    else
        tg_error("reload refused, the old configuration goes on", TG_FSTR("reasons", text));
    tg_count(ok ? s->reloads : s->reload_failures, 1);
    answer_reload(s, ok, text);
    tg_buf_clear(&r->report);
    r->running = false;
    tg_notify("READY=1");
    if (r->again) {
        r->again = false;
        begin_reload(s);
    }
}

static void ask_reload(void *arg)
{
    struct supervisor *s = arg;
    if (!s->stopping)
        begin_reload(s);
}

/* Follows the files of the snapshot in force, or none, as it says. A convenience: without it the relay goes
 * on. */
static void follow_files(struct supervisor *s)
{
    struct tg_err err = {0, ""};
    int rc = TG_OK;
    if (!s->snapshot->plain.reload_on_change) {
        tg_auto_reload_free(&s->auto_reload);
        return;
    }
    if (!s->auto_reload)
        rc = tg_auto_reload_new(s->base, ask_reload, s, &s->auto_reload, &err);
    if (!rc)
        rc = tg_auto_reload_follow(s->auto_reload, s->snapshot, &err);
    if (rc)
        tg_warn("reload_on_change: changes are not seen", TG_FS("error", err.msg));
}

/* Every worker that is up has the new snapshot: it is the one in force. */
static void commit_reload(struct supervisor *s)
{
    struct reload *r = &s->reload;
    if (s->snapshot != s->first) {
        (void)close(s->snapshot_fd);
        tg_snapshot_free(&s->snapshot);
    }
    s->snapshot_fd = r->new_fd;
    r->new_fd = -1;
    s->snapshot = r->snapshot;
    r->snapshot = NULL;
    tg_gauge(s->generation_gauge, (int64_t)s->snapshot->generation);
    follow_files(s);
    end_reload(s, true, r->report.len ? tg_buf_str(&r->report) : TG_STR("reloaded"));
}

static void swap_progress(struct supervisor *s)
{
    if (!s->reload.snapshot)
        return;
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (s->workers[i].swapping)
            return;
    }
    commit_reload(s);
}

/* What needs a restart is said, and stays as it was. */
static void compare(struct tg_buf *out, const struct tg_plain *old, const struct tg_plain *new)
{
    int rc = TG_OK;
    bool same = old->n_listen == new->n_listen;
    for (size_t i = 0; same && i < old->n_listen; i++)
        same = strcmp(old->listen[i], new->listen[i]) == 0;
    if (!same)
        rc = tg_buf_adds(out, "listen has changed: this needs a restart\n");
    if (!rc && strcmp(old->admin ? old->admin : "", new->admin ? new->admin : "") != 0)
        rc = tg_buf_adds(out, "admin has changed: this needs a restart\n");
    if (!rc && old->workers != new->workers)
        rc = tg_buf_adds(out, "workers has changed: this needs a restart\n");
    if (!rc && strcmp(old->spool_path, new->spool_path) != 0)
        rc = tg_buf_adds(out, "spool.path has changed: this needs a restart\n");
    (void)rc; /* a notice only */
}

static void apply_reload(struct supervisor *s)
{
    struct reload *r = &s->reload;
    struct tg_err err = {0};
    if (tg_snapshot_read(r->child.fd, &r->snapshot, &err)) {
        (void)close(r->child.fd);
        end_reload(s, false, tg_str_of(err.msg));
        return;
    }
    r->new_fd = r->child.fd;
    s->generation = r->snapshot->generation; /* refused ones have no number */
    compare(&r->report, &s->first->plain, &r->snapshot->plain);
    if (r->report.len)
        tg_warn("some changes need a restart", TG_FSTR("which", tg_buf_str(&r->report)));
    struct tg_msg msg = {.type = TG_MSG_RELOAD, .generation = r->snapshot->generation};
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        w->swapping = w->pid && tg_channel_send(w->channel, &msg, r->new_fd) == TG_OK;
        if (w->pid && !w->swapping)
            (void)kill(w->pid,
                       SIGKILL); /* it does not read its channel; its successor starts with the new one */
    }
    swap_progress(s);
}

static void take_child(struct supervisor *s)
{
    struct reload *r = &s->reload;
    struct tg_err err = {0};
    int status = 0;
    if (r->readable)
        event_free(r->readable);
    r->readable = NULL;
    while (waitpid(r->child.pid, &status, 0) < 0 && errno == EINTR)
        ;
    r->child.pid = 0;
    if (tg_snapshot_child_finish(&r->child, status, &err))
        end_reload(s, false, r->report.len ? tg_buf_str(&r->report) : tg_str_of(err.msg));
    else
        apply_reload(s);
}

/* The child is not waited for before it is killed: it may wait for us to read what it says. */
static void give_up_child(struct supervisor *s)
{
    tg_buf_clear(&s->reload.report);
    (void)kill(s->reload.child.pid, SIGKILL);
    if (tg_buf_adds(&s->reload.report, "out of memory"))
        tg_buf_clear(&s->reload.report);
    take_child(s);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    struct tg_buf *report = &s->reload.report;
    (void)what;
    if (tg_buf_reserve(report, REPORT_PIECE)) {
        give_up_child(s);
        return;
    }
    ssize_t n = read(fd, report->data + report->len, REPORT_PIECE);
    if (n > 0)
        report->len += (size_t)n;
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        take_child(s);
}

static void begin_reload(struct supervisor *s)
{
    struct reload *r = &s->reload;
    struct tg_err err = {0};
    if (r->running) {
        r->again = true;
        return;
    }
    tg_notify("RELOADING=1");
    r->running = true;
    if (tg_snapshot_child_start(s->options->config_path, s->snapshot, s->generation + 1, &r->child, &err)) {
        end_reload(s, false, tg_str_of(err.msg));
        return;
    }
    r->readable = event_new(s->base, r->child.report_fd, EV_READ | EV_PERSIST, on_report, s);
    if (!r->readable || event_add(r->readable, NULL))
        give_up_child(s);
}

/* --- control commands --- */

static void answer_status(struct supervisor *s, struct tg_control_client *client)
{
    struct tg_buf json = TG_BUF_INIT((size_t)64 * 1024 * 1024);
    int rc = tg_board_status(s->board, s->metrics, &json);
    tg_control_answer(client, rc == TG_OK, rc ? tg_str_of(tg_code_text(rc)) : tg_buf_str(&json));
    tg_buf_fini(&json);
}

static bool knows_destination(const struct supervisor *s, const char *name)
{
    for (size_t i = 0; i < s->snapshot->plain.n_destinations; i++) {
        if (strcmp(s->snapshot->plain.destinations[i], name) == 0)
            return true;
    }
    return false;
}

static void command_progress(struct supervisor *s)
{
    struct tg_control_client *client = s->command_waiter.client;
    if (!client || !tg_roll_call_is_over(&s->command))
        return;
    const char *failure = tg_roll_call_failure(&s->command);
    s->command_waiter.client = NULL;
    tg_control_answer(client, !failure, tg_str_of(failure ? failure : s->command_text));
}

/* pause, resume and wake: every worker does it and says so. */
static void tell_workers(struct supervisor *s, struct tg_control_client *client, enum tg_msg_type type,
                         const char *destination)
{
    struct tg_msg msg = {.type = type};
    if (*destination && !knows_destination(s, destination)) {
        char text[256];
        (void)snprintf(text, sizeof text, "there is no destination '%.100s' in the configuration",
                       destination);
        tg_control_answer(client, false, tg_str_of(text));
        return;
    }
    if (s->command_waiter.client) {
        tg_control_answer(client, false, TG_STR("another command is under way; try again"));
        return;
    }
    (void)snprintf(msg.text, sizeof msg.text, "%s", destination);
    s->command_waiter.client = client;
    tg_roll_call_begin(&s->command);
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (w->pid && tg_channel_send(w->channel, &msg, -1) == TG_OK)
            tg_roll_call_ask(&s->command, i);
        else if (w->pid)
            tg_roll_call_fail(&s->command, "a worker does not listen; try again");
    }
    /* One that starts later reads what is in the state; but somebody must have written it there. */
    if (type != TG_MSG_WAKE && tg_roll_call_is_over(&s->command))
        tg_roll_call_fail(&s->command, "no worker is up; try again");
    s->command_text = type == TG_MSG_PAUSE ? "paused" : type == TG_MSG_RESUME ? "resumed" : "woken";
    command_progress(s);
}

/* `path` is the configuration that the person means, where they could not read it; NULL: this relay's. */
static void order_reload(struct supervisor *s, struct tg_control_client *client, const char *path)
{
    char *real = path ? realpath(s->options->config_path, NULL) : NULL;
    bool other = path && (!real || strcmp(real, path) != 0);
    free(real); /* libc's */
    if (other) {
        tg_control_answer(client, false, TG_STR(TG_CONTROL_OTHER));
        return;
    }
    if (s->stopping || s->n_reload_waiters == sizeof s->reload_waiters / sizeof s->reload_waiters[0]) {
        tg_control_answer(client, false, TG_STR("not now: stopping, or too many reloads wait"));
        return;
    }
    s->reload_waiters[s->n_reload_waiters++].client = client;
    begin_reload(s);
}

static void on_command(void *arg, struct tg_control_client *client, const char *line)
{
    struct supervisor *s = arg;
    if (strcmp(line, "status") == 0) {
        answer_status(s, client);
    } else if (strcmp(line, "stop") == 0) {
        tg_control_answer(client, true, TG_STR("stopping"));
        begin_stop(s);
    } else if (strcmp(line, "reload") == 0) {
        order_reload(s, client, NULL);
    } else if (strncmp(line, "reload ", 7) == 0) {
        order_reload(s, client, line + 7);
    } else if (strncmp(line, "pause ", 6) == 0) {
        tell_workers(s, client, TG_MSG_PAUSE, line + 6);
    } else if (strncmp(line, "resume ", 7) == 0) {
        tell_workers(s, client, TG_MSG_RESUME, line + 7);
    } else if (strcmp(line, "wake") == 0) {
        tell_workers(s, client, TG_MSG_WAKE, "");
    } else {
        tg_control_answer(
            client, false,
            TG_STR("unknown command; there are status, stop, reload, wake, pause DEST and resume DEST"));
    }
}

/* --- workers --- */

static void all_ready(struct supervisor *s)
{
    if (s->started)
        return;
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (!s->workers[i].ready)
            return;
    }
    s->started = true;
    for (size_t i = 0; i < s->first->plain.n_listen; i++)
        tg_info("listening", TG_FS("addr", s->bound[i]));
    if (s->admin_fd >= 0)
        tg_info("admin listening", TG_FS("addr", s->admin_bound));
    tg_info("ready", TG_FI("workers", s->n_workers), TG_FS("spool", s->snapshot->plain.spool_path));
    tg_notify("READY=1");
    if (s->options->on_ready)
        s->options->on_ready(s->options->arg, s->bound[0], s->admin_fd >= 0 ? s->admin_bound : NULL);
}

static void on_message(struct worker *w, const struct tg_msg *msg)
{
    struct supervisor *s = w->s;
    struct tg_board_row *row = &s->board->rows[w->slot];
    switch (msg->type) {
    case TG_MSG_READY:
        w->ready = w->was_ready = true;
        atomic_store(&row->down_since, 0);
        all_ready(s);
        break;
    case TG_MSG_FAILED:
        tg_error("worker cannot start", TG_FI("slot", w->slot), TG_FS("reason", msg->text));
        if (!s->started) {
            s->failed = true;
            s->exit_status = 1;
            begin_stop(s);
        }
        break;
    case TG_MSG_RELOADED:
        if (msg->code) {
            /* The set was good in the child: it is this process that cannot (memory). A new one starts with
             * it. */
            tg_error("worker cannot swap, it is restarted", TG_FI("slot", w->slot),
                     TG_FS("reason", msg->text));
            (void)kill(w->pid, SIGKILL);
        }
        w->swapping = false;
        swap_progress(s);
        break;
    case TG_MSG_DONE:
        tg_roll_call_answer(&s->command, w->slot, msg->code ? msg->text : NULL);
        command_progress(s);
        break;
    default:
        break;
    }
}

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct tg_msg msg = {0};
    int passed;
    (void)what;
    int rc;
    while ((rc = tg_channel_receive(fd, &msg, &passed)) == TG_OK) {
        if (passed >= 0)
            (void)close(passed);
        on_message(w, &msg);
    }
    if (rc == TG_CLOSED && w->readable)
        (void)event_del(w->readable); /* its end is seen by SIGCHLD */
}

/* Up to when the shared set knows all that this worker's logs hold: what it had saved, or what the worker's
 * predecessor put into it. */
static int64_t dedup_since(const struct supervisor *s, unsigned slot)
{
    const struct tg_board_row *row = &s->board->rows[slot];
    if (atomic_load(&row->remembers))
        return tg_wall_ms() - (tg_mono_ms() - atomic_load(&row->down_since));
    return s->dedup_store ? tg_dedup_store_until(s->dedup_store) : 0;
}

/* In the child: nothing of the parent's loop may be touched, only its descriptors closed. */
static void become_worker(struct supervisor *s, struct worker *w, int channel)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (s->workers[i].channel >= 0)
            (void)close(s->workers[i].channel);
    }
    (void)close(s->signal_fd);
    tg_control_close_in_child(s->control);
    struct tg_worker_start start = {
        .slot = w->slot,
        .workers = s->n_workers,
        .channel = channel,
        .snapshot_fd = s->reload.snapshot ? s->reload.new_fd : s->snapshot_fd,
        .first_fd = s->first_fd,
        .listen_fds = s->listen_fds,
        .n_listen = s->first->plain.n_listen,
        .admin_fd = s->admin_fd,
        .board = s->board,
        .metrics = s->metrics,
        .shared = s->shared,
        .rates = s->rates,
        .dedup = s->dedup,
        .dedup_since = dedup_since(s, w->slot),
    };
    _exit(tg_worker_main(&start));
}

static void start_worker(struct worker *w)
{
    struct supervisor *s = w->s;
    struct tg_err err = {0};
    int pair[2];
    if (tg_channel_open(pair, &err)) {
        tg_error("worker not started", TG_FS("reason", err.msg));
        w->restart_at = tg_mono_ms() + MAX_PAUSE_MS;
        return;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(0); /* it died before the line above */
        become_worker(s, w, pair[1]);
    }
    (void)close(pair[1]);
    if (pid < 0) {
        tg_error("worker not started", TG_FS("reason", strerror(errno)));
        (void)close(pair[0]);
        w->restart_at = tg_mono_ms() + MAX_PAUSE_MS;
        return;
    }
    w->pid = pid;
    w->channel = pair[0];
    w->started = tg_mono_ms();
    w->restart_at = 0;
    w->ready = false;
    atomic_store(&s->board->rows[w->slot].pid, pid);
    w->readable = event_new(s->base, w->channel, EV_READ | EV_PERSIST, on_channel, w);
    if (!w->readable || event_add(w->readable, NULL)) {
        tg_error("out of memory: the worker is started again", TG_FI("slot", w->slot));
        (void)kill(pid, SIGKILL);
    }
}

static void describe_end(const struct worker *w, int status)
{
    if (WIFSIGNALED(status))
        tg_error("worker died", TG_FI("slot", w->slot), TG_FI("pid", w->pid),
                 TG_FI("signal", WTERMSIG(status)));
    else if (WEXITSTATUS(status) != TG_EXIT_CANNOT_START)
        tg_error("worker ended", TG_FI("slot", w->slot), TG_FI("pid", w->pid),
                 TG_FI("status", WEXITSTATUS(status)));
}

static void worker_gone(struct worker *w, int status)
{
    struct supervisor *s = w->s;
    struct tg_board_row *row = &s->board->rows[w->slot];
    int64_t now = tg_mono_ms();
    on_channel(w->channel, 0, w); /* its last words */
    /* A crash inside a script call is that event's fault as far as anyone can tell; a kill by the watchdog
     * was counted already. */
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM)
        (void)tg_board_strike(s->board, w->slot, false);
    atomic_store(&row->watch.since_us, 0);
    if (w->readable)
        event_free(w->readable);
    (void)close(w->channel);
    atomic_store(&row->pid, 0);
    atomic_store(&row->accepting, 0);
    int64_t up = 0;
    (void)atomic_compare_exchange_strong(&row->down_since, &up, now);
    if (!s->stopping) {
        describe_end(w, status);
        tg_count(s->restarts, 1);
        atomic_fetch_add(&row->restarts, 1);
        bool lived_long = now - w->started > LIVED_LONG_MS || w->pause_ms == 0;
        w->restart_at = now + (lived_long ? 0 : w->pause_ms);
        w->pause_ms = lived_long                       ? FIRST_PAUSE_MS
                      : w->pause_ms * 2 > MAX_PAUSE_MS ? MAX_PAUSE_MS
                                                       : w->pause_ms * 2;
    }
    w->pid = 0;
    w->channel = -1;
    w->readable = NULL;
    tg_roll_call_answer(&s->command, w->slot, "a worker ended meanwhile; try again");
    w->ready = w->swapping = false;
    swap_progress(s);
    command_progress(s);
}

static void reap(struct supervisor *s)
{
    int status;
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (w->pid && waitpid(w->pid, &status, WNOHANG) == w->pid)
            worker_gone(w, status);
    }
}

static bool any_up(const struct supervisor *s)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (s->workers[i].pid)
            return true;
    }
    return false;
}

/* A worker whose loop stands still, for whatever reason: stopped from outside, in a call that does not come
 * back. */
static void watch_loop(struct worker *w, int64_t elapsed)
{
    struct supervisor *s = w->s;
    int64_t limit = s->snapshot->plain.hang_ms;
    if (!w->pid || !w->ready) {
        w->loop.silent_ms = 0;
        return;
    }
    int64_t silent = tg_hang_silence(&w->loop, atomic_load(&s->board->rows[w->slot].beats), elapsed);
    if (limit == 0 || silent < limit)
        return;
    w->loop.silent_ms = 0;
    if (tg_hang_is_traced(w->pid)) {
        tg_warn("worker stands still and is left alone, because a debugger holds it", TG_FI("slot", w->slot),
                TG_FI("pid", w->pid));
        return;
    }
    tg_error("worker hangs, it is restarted", TG_FI("slot", w->slot), TG_FI("pid", w->pid),
             TG_FI("silent_ms", silent));
    tg_count(s->hang_kills, 1);
    (void)kill(w->pid, SIGKILL);
}

/* A script call that the soft limit could not stop. */
static void watch_call(struct worker *w, int64_t elapsed)
{
    struct supervisor *s = w->s;
    struct tg_watch_cell *cell = &s->board->rows[w->slot].watch;
    int64_t since = atomic_load(&cell->since_us);
    int64_t silent = tg_hang_silence(&w->call, (uint64_t)since, elapsed);
    if (!w->pid || since == 0 || silent < s->snapshot->plain.hard_ms || tg_hang_is_traced(w->pid))
        return;
    char destination[sizeof cell->destination];
    memcpy(destination, cell->destination, sizeof destination);
    destination[sizeof destination - 1] = '\0';
    (void)tg_board_strike(s->board, w->slot, true);
    tg_error("script call over the hard limit, its worker is restarted", TG_FS("destination", destination),
             TG_FI("seq", atomic_load(&cell->seq)), TG_FI("slot", w->slot));
    tg_count(s->kills, 1);
    atomic_store(&cell->since_us, 0);
    (void)kill(w->pid, SIGKILL);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    int64_t now = tg_mono_ms(), elapsed = tg_hang_elapsed(&s->last_tick, now);
    (void)fd;
    (void)what;
    reap(s);
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (s->stopping && w->pid && now > s->kill_at)
            (void)kill(w->pid, SIGKILL);
        else if (!s->stopping && !w->pid && w->restart_at <= now)
            start_worker(w);
        watch_call(w, elapsed);
        if (!s->stopping)
            watch_loop(w, elapsed);
    }
    if (s->dedup_store)
        tg_dedup_store_tick(s->dedup_store, now);
    if (!s->stopping)
        tg_forgetter_tick(s->forgetter, now);
    if (s->stopping && !any_up(s))
        (void)event_base_loopbreak(s->base);
}

static void begin_stop(struct supervisor *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    atomic_store(&s->board->stopping, 1);
    s->kill_at = tg_mono_ms() + s->snapshot->plain.stop_ms + STOP_GRACE_MS;
    if (!s->failed)
        tg_info("stopping");
    tg_notify("STOPPING=1");
    for (unsigned i = 0; i < s->n_workers; i++) {
        if (s->workers[i].pid)
            (void)kill(s->workers[i].pid, SIGTERM);
    }
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    struct signalfd_siginfo info;
    (void)what;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            begin_stop(s);
        else if (info.ssi_signo == SIGHUP && !s->stopping)
            begin_reload(s);
    }
    on_tick(-1, 0, s); /* SIGCHLD: reap and restart without waiting for the tick */
}

/* --- start --- */

static void raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int first_snapshot(struct supervisor *s, struct tg_err *err)
{
    struct tg_buf report = TG_BUF_INIT(1024 * 1024);
    s->generation = 1;
    int rc = tg_snapshot_in_child(s->options->config_path, s->generation, &s->snapshot_fd, &report, err);
    if (report.len)
        (void)fwrite(report.data, 1, report.len, stderr);
    tg_buf_fini(&report);
    if (!rc)
        rc = tg_snapshot_read(s->snapshot_fd, &s->snapshot, err);
    s->first = s->snapshot;
    s->first_fd = s->snapshot_fd;
    return rc;
}

static int bind_all(struct supervisor *s, struct tg_err *err)
{
    const struct tg_plain *p = &s->snapshot->plain;
    s->listen_fds = tg_calloc(p->n_listen * s->n_workers, sizeof *s->listen_fds);
    s->bound = tg_calloc(p->n_listen, sizeof *s->bound);
    if (!s->listen_fds || !s->bound)
        return tg_fail(err, TG_NOMEM, "out of memory");
    int rc = TG_OK;
    for (size_t i = 0; !rc && i < p->n_listen; i++)
        rc = tg_listen(p->listen[i], &s->listen_fds[i * s->n_workers], s->n_workers, s->bound[i], err);
    if (!rc && p->admin)
        rc = tg_listen(p->admin, &s->admin_fd, 1, s->admin_bound, err);
    return rc;
}

static int open_signals(struct supervisor *s, struct tg_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0)
        return tg_fail_errno(err, errno, "signalfd");
    s->on_signal = event_new(s->base, s->signal_fd, EV_READ | EV_PERSIST, on_signal, s);
    s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
    const struct timeval every = {0, TICK_MS * 1000};
    if (!s->on_signal || !s->tick || event_add(s->on_signal, NULL) || event_add(s->tick, &every))
        return tg_fail(err, TG_NOMEM, "out of memory");
    return TG_OK;
}

static int make_dedup(struct supervisor *s, struct tg_err *err)
{
    const struct tg_plain *p = &s->snapshot->plain;
    if (p->dedup_window_ms == 0)
        return TG_OK;
    s->dedup_bytes = tg_dedup_bytes((size_t)p->dedup_entries);
    s->dedup_memory =
        mmap(NULL, s->dedup_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->dedup_memory == MAP_FAILED) {
        s->dedup_memory = NULL;
        return tg_fail_errno(err, errno, "dedup.max_entries");
    }
    int rc = tg_dedup_init(&s->dedup, s->dedup_memory, (size_t)p->dedup_entries, p->dedup_window_ms);
    if (rc)
        return tg_fail(err, rc, "dedup: %s", tg_code_text(rc));
    const struct tg_dedup_store_options options = {
        .spool_dir = p->spool_path,
        .set = s->dedup,
        .metrics = s->metrics,
        .io = tg_io_system(),
        .every_ms = SAVE_DEDUP_MS,
    };
    s->dedup_store = tg_dedup_store_open(&options);
    return s->dedup_store ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

static int make_shared(struct supervisor *s, struct tg_err *err)
{
    s->board = tg_board_new(s->n_workers);
    s->metrics = tg_metrics_new(s->n_workers + 1);
    s->shared = tg_shared_new();
    if (!s->board || !s->metrics || !s->shared)
        return tg_fail(err, TG_NOMEM, "out of memory");
    tg_metrics_slot(s->metrics, 0); /* workers write slot + 1 */
    s->restarts = tg_metric(s->metrics, TG_COUNTER, "tidegate_worker_restarts_total",
                            "Workers that were started again.", "");
    s->kills = tg_metric(s->metrics, TG_COUNTER, "tidegate_watchdog_kills_total",
                         "Workers killed because a script call passed the hard limit.", "");
    s->hang_kills = tg_metric(s->metrics, TG_COUNTER, "tidegate_hang_kills_total",
                              "Workers killed because their loop stood still.", "");
    s->generation_gauge = tg_metric(s->metrics, TG_GAUGE_MAX, "tidegate_config_generation",
                                    "Number of the configuration in force.", "");
    s->reloads =
        tg_metric(s->metrics, TG_COUNTER, "tidegate_reloads_total", "Configurations swapped in.", "");
    s->reload_failures =
        tg_metric(s->metrics, TG_COUNTER, "tidegate_reload_failures_total", "Reloads that were refused.", "");
    tg_gauge(s->generation_gauge, (int64_t)s->generation);
    const struct tg_forgetter_options options = {
        .spool_path = s->snapshot->plain.spool_path,
        .shared = s->shared,
        .board = s->board,
        .metrics = s->metrics,
    };
    s->forgetter = tg_forgetter_new(&options);
    return s->forgetter ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

/* A partner counts on when the relay is started again, so what it was sent of late is remembered. */
static void open_rates(struct supervisor *s)
{
    char path[PATH_MAX];
    struct tg_err err;
    (void)snprintf(path, sizeof path, "%s/rates", s->snapshot->plain.spool_path);
    s->rates = tg_shared_open(path, tg_mono_us(), &err);
    if (!s->rates)
        tg_warn("rates are not remembered over a restart", TG_FS("reason", err.msg));
}

/* Workers outlive a supervisor that is killed, for what they have in flight: they are waited for. */
static int lock_spool(struct supervisor *s, struct tg_err *err)
{
    const char *path = s->snapshot->plain.spool_path;
    int64_t until = tg_mono_ms() + s->snapshot->plain.stop_ms + ORPHANS_MS;
    for (bool said = false;; said = true) {
        int rc = tg_spool_lock(path, &s->lock_fd, err);
        if (rc != TG_BUSY || tg_spool_holder_lives(path) || tg_mono_ms() > until)
            return rc;
        if (!said)
            tg_warn("waiting for the workers of a relay that died", TG_FS("spool", path));
        const struct timespec pause = {0, 20 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
}

static int start(struct supervisor *s, struct tg_err *err)
{
    int rc = first_snapshot(s, err);
    if (rc)
        return rc;
    enum tg_log_level level;
    if (tg_log_level_parse(s->snapshot->plain.log_level, &level))
        tg_log_set_level(level);
    tg_log_set_json(s->snapshot->plain.log_json);
    s->n_workers = s->snapshot->plain.workers;
    rc = lock_spool(s, err);
    if (rc)
        return rc;
    s->base = event_base_new();
    if (!s->base)
        return tg_fail(err, TG_NOMEM, "out of memory");
    rc = make_shared(s, err);
    if (!rc)
        open_rates(s);
    if (!rc)
        rc = make_dedup(s, err);
    if (!rc)
        rc = bind_all(s, err);
    if (!rc)
        rc = open_signals(s, err);
    if (!rc)
        rc = tg_control_new(s->base, s->snapshot->plain.spool_path, on_command, s, &s->control, err);
    if (!rc)
        follow_files(s);
    return rc;
}

static void finish(struct supervisor *s)
{
    if (s->reload.child.pid > 0) {
        (void)kill(s->reload.child.pid, SIGKILL);
        (void)waitpid(s->reload.child.pid, NULL, 0);
    }
    answer_reload(s, false, TG_STR("stopping"));
    if (s->reload.readable)
        event_free(s->reload.readable);
    tg_buf_fini(&s->reload.report);
    tg_snapshot_free(&s->reload.snapshot);
    tg_control_free(&s->control);
    tg_auto_reload_free(&s->auto_reload);
    if (s->on_signal)
        event_free(s->on_signal);
    if (s->tick)
        event_free(s->tick);
    if (s->base)
        event_base_free(s->base);
    tg_dedup_store_close(&s->dedup_store);
    tg_forgetter_free(&s->forgetter);
    tg_board_free(&s->board);
    tg_metrics_free(&s->metrics);
    tg_shared_free(&s->shared);
    tg_shared_free(&s->rates);
    if (s->dedup_memory)
        (void)munmap(s->dedup_memory, s->dedup_bytes);
    tg_free(s->listen_fds);
    tg_free(s->bound);
    if (s->snapshot != s->first)
        tg_snapshot_free(&s->snapshot);
    tg_snapshot_free(&s->first);
}

int tg_supervisor_run(const struct tg_run_options *options)
{
    struct tg_err err = {0};
    struct supervisor *s = tg_calloc(1, sizeof *s);
    if (!s) {
        (void)fprintf(stderr, "tidegate: out of memory\n");
        return 1;
    }
    the_supervisor = s;
    s->options = options;
    s->lock_fd = s->signal_fd = s->admin_fd = s->snapshot_fd = s->reload.new_fd = -1;
    tg_buf_init(&s->reload.report, 1024 * 1024 + REPORT_PIECE);
    for (unsigned i = 0; i < TG_MAX_WORKERS; i++)
        s->workers[i] = (struct worker){.s = s, .slot = i, .channel = -1};
    (void)umask(077);
    raise_fd_limit();
    tg_log_set_process("supervisor");
    int rc = start(s, &err);
    if (rc) {
        (void)fprintf(stderr, "tidegate: %s\n", err.msg);
        s->exit_status = 1;
    } else {
        for (unsigned i = 0; i < s->n_workers; i++)
            start_worker(&s->workers[i]);
        (void)event_base_dispatch(s->base);
        if (!s->failed)
            tg_info("stopped");
    }
    int status = s->exit_status;
    finish(s);
    the_supervisor = NULL;
    tg_free(s);
    return status;
}
