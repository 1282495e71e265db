#include "daemon/crew.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/hang.h"
#include "daemon/worker_start.h"
#include "deliver/poison.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIVED_LONG_MS = 10000, /* a worker that lived so long is restarted at once */
    FIRST_PAUSE_MS = 50,
    MAX_PAUSE_MS = 1000,
};

struct worker {
    struct tg_crew *crew;
    unsigned slot;
    int pid; /* 0: down */
    int channel;
    struct event *readable;
    bool ready;
    int64_t started, restart_at;
    int pause_ms;
    struct tg_hang loop, call;
};

struct tg_crew {
    struct tg_crew_options o;
    tg_cell *restarts, *kills, *hang_kills;
    int64_t last_tick;
    bool stopping;
    int64_t kill_at;
    struct worker workers[TG_MAX_WORKERS];
};

/* --- messages --- */

static void on_message(struct worker *w, const struct tg_msg *msg)
{
    struct tg_crew *c = w->crew;
    if (msg->type == TG_MSG_READY) {
        w->ready = true;
        atomic_store(&c->o.board->rows[w->slot].down_since, 0);
    }
    c->o.on_message(c->o.arg, w->slot, msg);
}

/* All that is there. TG_CLOSED: the channel is of no use any more. */
static int hear(struct worker *w)
{
    struct tg_msg msg = {0};
    int passed, rc;
    while ((rc = tg_channel_receive(w->channel, &msg, &passed)) == TG_OK) {
        if (passed >= 0)
            (void)close(passed);
        on_message(w, &msg);
    }
    return rc;
}

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    if (hear(w) != TG_CLOSED)
        return;
    /* Its end is seen by SIGCHLD; one that lives on like this would never answer an order. */
    (void)event_del(w->readable);
    (void)kill(w->pid, SIGKILL);
}

/* --- birth and death --- */

/* In the child: nothing of the parent's loop may be touched, only its descriptors closed. */
static void become_worker(struct tg_crew *c, struct worker *w, int channel)
{
    for (unsigned i = 0; i < c->o.workers; i++) {
        if (c->workers[i].channel >= 0)
            (void)close(c->workers[i].channel);
    }
    _exit(c->o.live(c->o.arg, w->slot, channel));
}

static void start_worker(struct worker *w)
{
    struct tg_crew *c = w->crew;
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
        become_worker(c, w, pair[1]);
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
    atomic_store(&c->o.board->rows[w->slot].pid, pid);
    w->readable = event_new(c->o.base, w->channel, EV_READ | EV_PERSIST, on_channel, w);
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
    struct tg_crew *c = w->crew;
    struct tg_board_row *row = &c->o.board->rows[w->slot];
    int64_t now = tg_mono_ms();
    int pid = w->pid;
    (void)hear(w); /* its last words */
    tg_metrics_died(c->o.metrics, pid);
    /* A crash inside a script call is that event's fault as far as anyone can tell; a kill by the watchdog
     * was counted already. */
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM)
        (void)tg_board_strike(c->o.board, w->slot, false);
    atomic_store(&row->watch.since_us, 0);
    if (w->readable)
        event_free(w->readable);
    (void)close(w->channel);
    atomic_store(&row->pid, 0);
    atomic_store(&row->accepting, 0);
    int64_t up = 0;
    (void)atomic_compare_exchange_strong(&row->down_since, &up, now);
    if (!c->stopping) {
        describe_end(w, status);
        tg_count(c->restarts, 1);
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
    w->ready = false;
    c->o.on_gone(c->o.arg, w->slot, pid);
}

static void reap(struct tg_crew *c)
{
    int status;
    for (unsigned i = 0; i < c->o.workers; i++) {
        struct worker *w = &c->workers[i];
        if (w->pid && waitpid(w->pid, &status, WNOHANG) == w->pid)
            worker_gone(w, status);
    }
}

/* --- watchdog --- */

/* A worker whose loop stands still, for whatever reason: stopped from outside, in a call that does not come
 * back. */
static void watch_loop(struct worker *w, int64_t elapsed, int64_t limit)
{
    struct tg_crew *c = w->crew;
    if (!w->pid || !w->ready) {
        w->loop.silent_ms = 0;
        return;
    }
    int64_t silent = tg_hang_silence(&w->loop, atomic_load(&c->o.board->rows[w->slot].beats), elapsed);
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
    tg_count(c->hang_kills, 1);
    (void)kill(w->pid, SIGKILL);
}

/* A script call that the soft limit could not stop. */
static void watch_call(struct worker *w, int64_t elapsed, int64_t limit)
{
    struct tg_crew *c = w->crew;
    struct tg_watch_cell *cell = &c->o.board->rows[w->slot].watch;
    int64_t since = atomic_load(&cell->since_us);
    int64_t silent = tg_hang_silence(&w->call, (uint64_t)since, elapsed);
    if (!w->pid || since == 0 || silent < limit || tg_hang_is_traced(w->pid))
        return;
    char destination[sizeof cell->destination];
    memcpy(destination, cell->destination, sizeof destination);
    destination[sizeof destination - 1] = '\0';
    (void)tg_board_strike(c->o.board, w->slot, true);
    tg_error("script call over the hard limit, its worker is restarted", TG_FS("destination", destination),
             TG_FI("partition", atomic_load(&cell->seq) >> TG_POISON_SEQ_BITS),
             TG_FI("seq", tg_poison_mark(0, atomic_load(&cell->seq))), TG_FI("slot", w->slot));
    tg_count(c->kills, 1);
    atomic_store(&cell->since_us, 0);
    (void)kill(w->pid, SIGKILL);
}

void tg_crew_tick(struct tg_crew *c, int64_t now, int64_t hang_ms, int64_t hard_ms)
{
    int64_t elapsed = tg_hang_elapsed(&c->last_tick, now);
    reap(c);
    for (unsigned i = 0; i < c->o.workers; i++) {
        struct worker *w = &c->workers[i];
        if (c->stopping && w->pid && now > c->kill_at)
            (void)kill(w->pid, SIGKILL);
        else if (!c->stopping && !w->pid && w->restart_at <= now)
            start_worker(w);
        watch_call(w, elapsed, hard_ms);
        if (!c->stopping)
            watch_loop(w, elapsed, hang_ms);
    }
}

/* --- all of them --- */

struct tg_crew *tg_crew_new(const struct tg_crew_options *options)
{
    struct tg_crew *c = tg_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->o = *options;
    for (unsigned i = 0; i < TG_MAX_WORKERS; i++)
        c->workers[i] = (struct worker){.crew = c, .slot = i, .channel = -1};
    c->restarts = tg_metric(options->metrics, TG_COUNTER, "tidegate_worker_restarts_total",
                            "Workers that were started again.", "");
    c->kills = tg_metric(options->metrics, TG_COUNTER, "tidegate_watchdog_kills_total",
                         "Workers killed because a script call passed the hard limit.", "");
    c->hang_kills = tg_metric(options->metrics, TG_COUNTER, "tidegate_hang_kills_total",
                              "Workers killed because their loop stood still.", "");
    return c;
}

void tg_crew_free(struct tg_crew **c)
{
    tg_free(*c);
    *c = NULL;
}

void tg_crew_start(struct tg_crew *c)
{
    for (unsigned i = 0; i < c->o.workers; i++)
        start_worker(&c->workers[i]);
}

void tg_crew_stop(struct tg_crew *c, int64_t kill_at)
{
    c->stopping = true;
    c->kill_at = kill_at;
    for (unsigned i = 0; i < c->o.workers; i++) {
        if (c->workers[i].pid)
            (void)kill(c->workers[i].pid, SIGTERM);
    }
}

unsigned tg_crew_size(const struct tg_crew *c)
{
    return c->o.workers;
}

bool tg_crew_is_up(const struct tg_crew *c, unsigned slot)
{
    return c->workers[slot].pid != 0;
}

bool tg_crew_any_up(const struct tg_crew *c)
{
    for (unsigned i = 0; i < c->o.workers; i++) {
        if (c->workers[i].pid)
            return true;
    }
    return false;
}

bool tg_crew_all_ready(const struct tg_crew *c)
{
    for (unsigned i = 0; i < c->o.workers; i++) {
        if (!c->workers[i].ready)
            return false;
    }
    return true;
}

bool tg_crew_send(struct tg_crew *c, unsigned slot, const struct tg_msg *msg, int fd)
{
    struct worker *w = &c->workers[slot];
    return w->pid && tg_channel_send(w->channel, msg, fd) == TG_OK;
}

void tg_crew_kill(struct tg_crew *c, unsigned slot)
{
    if (c->workers[slot].pid)
        (void)kill(c->workers[slot].pid, SIGKILL);
}
