/* Happy path: build the first snapshot in a child, lock the spool, bind the sockets, fork the workers, wait.
 *
 * What can go wrong, and what happens:
 *  - a worker dies or hangs: crew.c starts it again from the snapshot in force; its siblings accept from its
 * sockets while it is down (they look at the board).
 *  - a worker cannot start (spool damaged, out of memory): at the first start everything ends with its
 * reason, later it is tried again.
 *  - reload: reload.c has a child build a new snapshot; sockets and spool are those of the first, for all
 * workers, until the relay is started again.
 *  - the supervisor dies: workers get SIGTERM from the kernel, finish what is in flight, and let go of the
 * spool's lock, for which a new supervisor waits when its holder is dead. */
#include "daemon/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/commons.h"
#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/dedup_store.h"
#include "daemon/forgetter.h"
#include "daemon/listeners.h"
#include "daemon/notify.h"
#include "daemon/orders.h"
#include "daemon/refusals.h"
#include "daemon/reload.h"
#include "daemon/snapshot_bytes.h"
#include "daemon/snapshot_child.h"
#include "daemon/worker.h"
#include "ingest/dedup.h"
#include "spool/partition.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TICK_MS = 50,         /* watchdog and restarts */
    STOP_GRACE_MS = 3000, /* beyond stop_time, for syncs and cursors */
    ORPHANS_MS = 15000,   /* beyond stop_time: for the workers of a supervisor that was killed */
    SAVE_DEDUP_MS = 5000,
};

struct supervisor {
    const struct tg_run_options *options;
    struct event_base *base;
    struct tg_snapshot *first; /* whose sockets and spool these are */
    int first_fd;
    int lock_fd, signal_fd;
    struct tg_listeners listeners;
    struct event *on_signal, *tick;
    struct tg_commons commons;
    struct tg_dedup_store *dedup_store; /* NULL: none */
    struct tg_forgetter *forgetter;
    struct tg_refusals *refusals;
    struct tg_control *control;
    struct tg_crew *crew;
    struct tg_reload *reload;
    struct tg_orders *orders;
    unsigned n_workers;
    bool stopping, started, failed;
    int64_t asked_for_time; /* see notify.h */
    tg_cell *ready_gauge;
    int exit_status;
};

/* In a worker the parent's struct stays reachable from here, so that a leak checker sees no leak in what only
 * the parent frees. */
static struct supervisor *the_supervisor;

static void begin_stop(struct supervisor *s);

/* --- workers --- */

static void all_ready(struct supervisor *s)
{
    if (s->started || !tg_crew_all_ready(s->crew))
        return;
    s->started = true;
    const struct tg_listeners *l = &s->listeners;
    for (size_t i = 0; i < l->n; i++)
        tg_info("listening", TG_FS("addr", l->bound[i]));
    if (l->admin >= 0)
        tg_info("admin listening", TG_FS("addr", l->admin_bound));
    tg_info("ready", TG_FI("workers", s->n_workers), TG_FS("spool", s->first->plain.spool_path));
    tg_notify("READY=1");
    if (s->options->on_ready)
        s->options->on_ready(s->options->arg, l->bound[0], l->admin >= 0 ? l->admin_bound : NULL);
}

static void on_message(void *arg, unsigned slot, const struct tg_msg *msg)
{
    struct supervisor *s = arg;
    switch (msg->type) {
    case TG_MSG_READY:
        all_ready(s);
        break;
    case TG_MSG_FAILED:
        tg_error("worker cannot start", TG_FI("slot", slot), TG_FS("reason", msg->text));
        if (!s->started) {
            s->failed = true;
            s->exit_status = 1;
            begin_stop(s);
        }
        break;
    case TG_MSG_RELOADED:
        tg_reload_swapped(s->reload, slot, msg);
        break;
    case TG_MSG_DONE:
        tg_orders_done(s->orders, slot, msg);
        break;
    default:
        break;
    }
}

static void on_gone(void *arg, unsigned slot, int pid)
{
    struct supervisor *s = arg;
    if (s->commons.dedup)
        tg_dedup_died(s->commons.dedup, pid);
    tg_reload_worker_gone(s->reload, slot);
    tg_orders_worker_gone(s->orders, slot);
}

/* Up to when the shared set knows all that this worker's logs hold: what it had saved, or what the worker's
 * predecessor put into it. */
static int64_t dedup_since(const struct supervisor *s, unsigned slot)
{
    const struct tg_board_row *row = &s->commons.board->rows[slot];
    if (atomic_load(&row->remembers))
        return tg_wall_ms() - (tg_mono_ms() - atomic_load(&row->down_since));
    return s->dedup_store ? tg_dedup_store_until(s->dedup_store) : 0;
}

/* In the child: nothing of the parent's loop may be touched, only its descriptors closed. */
static int live(void *arg, unsigned slot, int channel)
{
    struct supervisor *s = arg;
    (void)close(s->signal_fd);
    tg_control_close_in_child(s->control);
    tg_reload_close_in_child(s->reload);
    struct tg_worker_start start = {
        .slot = slot,
        .workers = s->n_workers,
        .channel = channel,
        .snapshot_fd = tg_reload_snapshot_fd(s->reload),
        .first_fd = s->first_fd,
        .listeners = &s->listeners,
        .commons = &s->commons,
        .dedup_since = dedup_since(s, slot),
    };
    return tg_worker_main(&start);
}

static void make_gauges(struct supervisor *s)
{
    struct tg_metrics *m = s->commons.metrics;
    s->ready_gauge = tg_metric(m, TG_GAUGE_MAX, "tidegate_ready", "1 while /readyz says ready.", "");
    tg_cell *began = tg_metric(m, TG_GAUGE_MAX, "tidegate_start_time_seconds",
                               "When the relay was started, in seconds since 1970.", "");
    tg_gauge(began, s->commons.board->started_at / 1000);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct supervisor *s = arg;
    const struct tg_plain *p = &tg_reload_in_force(s->reload)->plain;
    int64_t now = tg_mono_ms();
    char why[TG_BOARD_WHY_MAX];
    (void)fd;
    (void)what;
    tg_gauge(s->ready_gauge, tg_board_ready(s->commons.board, why, sizeof why));
    tg_crew_tick(s->crew, now, p->hang_ms, p->hard_ms);
    if (!s->started && !s->stopping)
        tg_notify_starting(&s->asked_for_time, now);
    if (s->dedup_store)
        tg_dedup_store_tick(s->dedup_store, now);
    tg_refusals_tick(s->refusals, now);
    if (!s->stopping)
        tg_forgetter_tick(s->forgetter, now);
    if (s->stopping && !tg_crew_any_up(s->crew))
        (void)event_base_loopbreak(s->base);
}

static void begin_stop(struct supervisor *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    atomic_store(&s->commons.board->stopping, 1);
    tg_reload_stop(s->reload);
    if (!s->failed)
        tg_info("stopping");
    tg_notify("STOPPING=1");
    tg_crew_stop(s->crew, tg_mono_ms() + tg_reload_in_force(s->reload)->plain.stop_ms + STOP_GRACE_MS);
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
            tg_reload_begin(s->reload);
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
    int rc = tg_snapshot_in_child(s->options->config_path, 1, &s->first_fd, &report, err);
    if (report.len)
        (void)fwrite(report.data, 1, report.len, stderr);
    tg_buf_fini(&report);
    if (!rc)
        rc = tg_snapshot_read(s->first_fd, &s->first, err);
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

static int open_dedup_store(struct supervisor *s, struct tg_err *err)
{
    if (!s->commons.dedup)
        return TG_OK;
    const struct tg_dedup_store_options options = {
        .spool_dir = s->first->plain.spool_path,
        .set = s->commons.dedup,
        .metrics = s->commons.metrics,
        .io = tg_io_system(),
        .every_ms = SAVE_DEDUP_MS,
    };
    s->dedup_store = tg_dedup_store_open(&options);
    return s->dedup_store ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

/* A stop that a person orders. */
static void order_stop(void *arg)
{
    begin_stop(arg);
}

static int make_parts(struct supervisor *s, struct tg_err *err)
{
    const struct tg_crew_options crew = {
        .base = s->base,
        .board = s->commons.board,
        .metrics = s->commons.metrics,
        .workers = s->n_workers,
        .live = live,
        .on_message = on_message,
        .on_gone = on_gone,
        .arg = s,
    };
    s->crew = tg_crew_new(&crew);
    const struct tg_reload_options reload = {
        .base = s->base,
        .config_path = s->options->config_path,
        .metrics = s->commons.metrics,
        .crew = s->crew,
        .first = s->first,
        .first_fd = s->first_fd,
    };
    s->reload = tg_reload_new(&reload);
    const struct tg_orders_options orders = {
        .board = s->commons.board,
        .metrics = s->commons.metrics,
        .crew = s->crew,
        .reload = s->reload,
        .config_path = s->options->config_path,
        .stop = order_stop,
        .arg = s,
    };
    s->orders = tg_orders_new(&orders);
    return s->crew && s->reload && s->orders ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

static int make_followers(struct supervisor *s, struct tg_err *err)
{
    const struct tg_forgetter_options options = {
        .spool_path = s->first->plain.spool_path,
        .shared = s->commons.shared,
        .board = s->commons.board,
        .metrics = s->commons.metrics,
    };
    s->forgetter = tg_forgetter_new(&options);
    s->refusals = tg_refusals_new(s->commons.metrics);
    return s->forgetter && s->refusals ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

/* Workers outlive a supervisor that is killed, for what they have in flight: they are waited for. */
static int lock_spool(struct supervisor *s, struct tg_err *err)
{
    const char *path = s->first->plain.spool_path;
    int64_t until = tg_mono_ms() + s->first->plain.stop_ms + ORPHANS_MS;
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
    tg_snapshot_log_as(&s->first->plain);
    s->n_workers = s->first->plain.workers;
    rc = lock_spool(s, err);
    if (rc)
        return rc;
    s->base = event_base_new();
    if (!s->base)
        return tg_fail(err, TG_NOMEM, "out of memory");
    rc = tg_commons_init(&s->commons, &s->first->plain, err);
    if (!rc)
        make_gauges(s);
    if (!rc)
        rc = make_parts(s, err);
    if (!rc)
        rc = make_followers(s, err);
    if (!rc)
        rc = open_dedup_store(s, err);
    if (!rc)
        rc = tg_listeners_init(&s->listeners, &s->first->plain, err);
    if (!rc)
        rc = open_signals(s, err);
    if (!rc)
        rc = tg_control_new(s->base, s->first->plain.spool_path, tg_orders_command, s->orders, &s->control,
                            err);
    if (!rc)
        tg_reload_follow_files(s->reload);
    return rc;
}

static void finish(struct supervisor *s)
{
    tg_reload_free(&s->reload);
    tg_control_free(&s->control);
    tg_orders_free(&s->orders);
    tg_crew_free(&s->crew);
    if (s->on_signal)
        event_free(s->on_signal);
    if (s->tick)
        event_free(s->tick);
    if (s->base)
        event_base_free(s->base);
    tg_dedup_store_close(&s->dedup_store);
    tg_forgetter_free(&s->forgetter);
    tg_refusals_free(&s->refusals);
    tg_listeners_fini(&s->listeners);
    tg_commons_fini(&s->commons);
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
    s->lock_fd = s->signal_fd = s->first_fd = -1;
    (void)umask(077);
    raise_fd_limit();
    tg_log_set_process("supervisor");
    int rc = start(s, &err);
    if (rc) {
        (void)fprintf(stderr, "tidegate: %s\n", err.msg);
        s->exit_status = 1;
    } else {
        tg_crew_start(s->crew);
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
