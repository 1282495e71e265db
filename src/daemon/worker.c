/* Happy path: read the snapshot, open the partitions, load the destinations, begin to deliver, open the door,
 * say so.
 *
 * What can fail, and what happens:
 *  - anything before "ready": the reason goes to the supervisor, and the process ends with
 * TG_EXIT_CANNOT_START.
 *  - a partition is still locked by a predecessor that is dying: waited for, a few seconds.
 *  - a reload that cannot be loaded here: the old destinations go on, and the supervisor is told.
 *  - SIGTERM: the door answers 503, requests and deliveries in flight get stop_time, cursors are saved. */
#include "daemon/worker.h"

#include "base/clock.h"
#include "base/helper.h"
#include "base/log.h"
#include "base/mask.h"
#include "base/mem.h"
#include "daemon/channel.h"
#include "daemon/worker_config.h"
#include "daemon/worker_delivery.h"
#include "daemon/worker_door.h"
#include "daemon/worker_spool.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { TICK_MS = 50, REPORT_EVERY_MS = 500 };

struct worker {
    const struct tg_worker_start *start;
    struct tg_board_row *row; /* its own */
    char name[16];
    struct tg_snapshot *snapshot;
    struct tg_config *config;
    struct event_base *base;
    struct event *tick, *on_signal, *on_channel;
    int signal_fd;
    struct tg_helper *helper;
    struct tg_state *state;
    struct tg_worker_spool spool;
    struct tg_worker_delivery delivery;
    struct tg_worker_door door;
    int64_t reported;
    bool stopping, door_closed, engine_stopped;
    int64_t deadline;
    int exit_status;
};

static struct worker
    *the_worker; /* keeps everything reachable for leak checkers when the process is ended early */

/* --- reports --- */

static int add_report(struct worker *w, struct tg_buf *json)
{
    int rc = tg_buf_printf(
        json, "{\"uptime_ms\":%" PRId64 ",\"connections\":%u,\"lua_bytes\":%zu,\"partitions\":[",
        tg_board_uptime(w->start->commons->board), tg_http_connections(tg_ingest_http(w->door.ingest)),
        tg_host_memory(w->delivery.host));
    for (size_t i = 0; !rc && i < w->spool.n; i++)
        rc = tg_buf_printf(json,
                           "%s{\"number\":%" PRIu32 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64
                           ",\"bytes\":%" PRIu64 "}",
                           i ? "," : "", w->spool.parts[i].lock.number, tg_log_first(w->spool.parts[i].log),
                           tg_log_last(w->spool.parts[i].log), tg_log_bytes(w->spool.parts[i].log));
    if (!rc)
        rc = tg_buf_adds(json, "],\"destinations\":");
    if (!rc)
        rc = tg_engine_status(w->delivery.engine, json);
    return rc ? rc : tg_buf_addc(json, '}');
}

static void report(struct worker *w)
{
    struct tg_buf json = TG_BUF_INIT(TG_BOARD_STATUS_MAX);
    const char *why = NULL;
    bool accepting = tg_worker_door_accepts(&w->door, &why);
    if (add_report(w, &json))
        tg_buf_clear(&json);
    tg_board_say(w->start->commons->board, w->start->slot, tg_buf_str(&json), accepting, why);
    tg_buf_fini(&json);
}

/* --- stop --- */

static void try_end(struct worker *w)
{
    if (w->door_closed && w->engine_stopped)
        (void)event_base_loopbreak(w->base);
}

static void on_door_closed(void *arg)
{
    struct worker *w = arg;
    w->door_closed = true;
    try_end(w);
}

/* Only now is the door closed: until here senders got their 503 at once, instead of waiting in a queue that
 * nobody reads. */
static void on_engine_stopped(void *arg)
{
    struct worker *w = arg;
    w->engine_stopped = true;
    tg_http_stop(tg_ingest_http(w->door.ingest), on_door_closed, w);
}

static void begin_stop(struct worker *w)
{
    if (w->stopping)
        return;
    w->stopping = true;
    w->deadline = tg_mono_ms() + w->config->stop_ms;
    tg_spool_sink_stop(w->door.sink);
    report(w);
    tg_engine_stop(w->delivery.engine, w->deadline, on_engine_stopped, w);
}

/* --- the loop's events --- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    int64_t now = tg_mono_ms();
    (void)fd;
    (void)what;
    atomic_fetch_add(&w->row->beats, 1);
    if (!w->engine_stopped)
        tg_worker_door_stand_in(&w->door,
                                now); /* while stopping too: a sibling may be through before this worker */
    if (w->stopping) {
        if (now > w->deadline + 500)
            w->door_closed = true; /* senders that hold their connection are cut off */
        try_end(w);
        return;
    }
    tg_host_idle(w->delivery.host);
    tg_spool_sink_block(w->door.sink, tg_engine_dead_full(w->delivery.engine));
    if (now - w->reported >= REPORT_EVERY_MS) {
        w->reported = now;
        report(w);
    }
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct signalfd_siginfo info;
    (void)what;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM)
            begin_stop(arg);
    }
}

static void say(struct worker *w, enum tg_msg_type type, int code, const char *text)
{
    struct tg_msg msg = {.type = type, .code = code, .generation = w->snapshot ? w->snapshot->generation : 0};
    (void)snprintf(msg.text, sizeof msg.text, "%s", text);
    if (tg_channel_send(w->start->channel, &msg, -1))
        tg_warn("the supervisor does not hear", TG_FI("message", type));
}

static int swap(struct worker *w, int fd, struct tg_err *err)
{
    struct tg_snapshot *s = NULL;
    struct tg_config *c = NULL;
    int rc = tg_worker_config_read(fd, &s, &c, err);
    if (!rc)
        rc = tg_worker_delivery_swap(&w->delivery, s, c, err);
    if (!rc)
        rc = tg_worker_door_set(&w->door, c, err);
    if (!rc) {
        struct tg_snapshot *old = w->snapshot;
        struct tg_config *running = w->config;
        tg_worker_config_keep(running, c);
        tg_worker_spool_set_max(&w->spool, w->start, c);
        tg_snapshot_log_as(&s->plain);
        w->snapshot = s;
        w->config = c;
        s = old;
        c = running;
        atomic_store(&w->row->generation, w->snapshot->generation);
        report(w);
    }
    tg_snapshot_free(&s);
    tg_config_free(&c);
    return rc;
}

static void on_durable(void *arg, int status, const char *why)
{
    say(arg, TG_MSG_DONE, status, why);
}

/* What was ordered holds when the person is told so, also if the power goes then. */
static void answer_when_durable(struct worker *w, int rc)
{
    if (!rc)
        rc = tg_engine_flush(w->delivery.engine, on_durable, w);
    if (rc)
        say(w, TG_MSG_DONE, rc, tg_code_text(rc));
}

static void on_message(struct worker *w, const struct tg_msg *msg, int fd)
{
    struct tg_err err = {0};
    int rc = TG_OK;
    switch (msg->type) {
    case TG_MSG_RELOAD:
        rc = w->stopping ? TG_OK : swap(w, fd, &err);
        say(w, TG_MSG_RELOADED, rc, err.msg);
        break;
    case TG_MSG_PAUSE:
    case TG_MSG_RESUME:
        rc = msg->type == TG_MSG_PAUSE ? tg_engine_pause(w->delivery.engine, msg->text)
                                       : tg_engine_resume(w->delivery.engine, msg->text);
        report(w);
        answer_when_durable(w, rc);
        break;
    case TG_MSG_WAKE:
        answer_when_durable(w, tg_engine_look(w->delivery.engine));
        break;
    default:
        break;
    }
}

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    struct tg_msg msg = {0};
    int passed, rc;
    (void)what;
    while ((rc = tg_channel_receive(fd, &msg, &passed)) == TG_OK) {
        on_message(w, &msg, passed);
        if (passed >= 0)
            (void)close(passed);
    }
    if (rc == TG_CLOSED) { /* the supervisor is gone */
        (void)event_del(w->on_channel);
        begin_stop(w);
    }
}

/* --- start and end --- */

static int open_loop(struct worker *w, struct tg_err *err)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    w->signal_fd = signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC);
    w->base = event_base_new();
    if (w->signal_fd < 0 || !w->base)
        return tg_fail(err, TG_NOMEM, "cannot make the event loop: %s", strerror(errno));
    const struct timeval every = {0, TICK_MS * 1000};
    w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, w);
    w->on_signal = event_new(w->base, w->signal_fd, EV_READ | EV_PERSIST, on_signal, w);
    w->on_channel = event_new(w->base, w->start->channel, EV_READ | EV_PERSIST, on_channel, w);
    if (!w->tick || !w->on_signal || !w->on_channel || event_add(w->tick, &every) ||
        event_add(w->on_signal, NULL) || event_add(w->on_channel, NULL))
        return tg_fail(err, TG_NOMEM, "out of memory");
    return tg_helper_new(w->base, &w->helper, err);
}

static void on_forgotten(void *arg, size_t users)
{
    tg_engine_forgot(((struct worker *)arg)->delivery.engine, users);
}

static int open_door(struct worker *w, struct tg_err *err)
{
    const struct tg_worker_door_options options = {
        .start = w->start,
        .config = w->config,
        .base = w->base,
        .log = w->spool.parts[0].log,
        .state = w->state,
        .forgotten = on_forgotten,
        .forgotten_arg = w,
    };
    return tg_worker_door_open(&w->door, &options, err);
}

static int open_spool_and_delivery(struct worker *w, struct tg_err *err)
{
    const struct tg_worker_spool_options options = {
        .start = w->start,
        .config = w->config,
        .state = w->state,
        .helper = w->helper,
        .base = w->base,
    };
    int rc = tg_worker_spool_open(&w->spool, &options, err);
    if (!rc)
        rc = tg_worker_delivery_open(&w->delivery, &options, &w->spool, w->snapshot, err);
    return rc;
}

static int open_all(struct worker *w, struct tg_err *err)
{
    int rc = tg_worker_config_first(w->start, &w->snapshot, &w->config, err);
    if (!rc)
        rc = open_loop(w, err);
    if (!rc)
        rc = tg_state_open(w->config->spool.path, w->helper, &w->state, err);
    if (!rc)
        rc = open_spool_and_delivery(w, err);
    if (!rc)
        rc = tg_worker_delivery_strikes(&w->delivery, w->start, err);
    /* A new destination's cursor must be on disk before the first event is: else a crash would forget where
     * it began. */
    for (size_t i = 0; !rc && i < w->spool.n; i++)
        rc = tg_cursors_save_now(w->spool.parts[i].cursors, err);
    if (rc)
        return rc;
    tg_worker_spool_remember(&w->spool, w->start, w->config);
    return open_door(w, err);
}

static void close_loop(struct worker *w)
{
    if (w->tick)
        event_free(w->tick);
    if (w->on_signal)
        event_free(w->on_signal);
    if (w->on_channel)
        event_free(w->on_channel);
    if (w->base)
        event_base_free(w->base);
}

static void close_all(struct worker *w)
{
    tg_worker_door_close(&w->door);
    tg_worker_delivery_close(&w->delivery, &w->spool);
    if (w->helper)
        tg_helper_drain(w->helper);
    tg_worker_spool_close(&w->spool, w->start);
    if (w->helper)
        tg_helper_drain(w->helper);
    tg_state_close(&w->state);
    tg_worker_door_fini(&w->door);
    tg_helper_free(&w->helper);
    close_loop(w);
    tg_config_free(&w->config);
    tg_snapshot_free(&w->snapshot);
    tg_mask_clear();
}

int tg_worker_main(const struct tg_worker_start *start)
{
    struct tg_err err = {0};
    struct worker *w = tg_calloc(1, sizeof *w);
    if (!w)
        return TG_EXIT_CANNOT_START;
    the_worker = w;
    w->start = start;
    w->row = &start->commons->board->rows[start->slot];
    w->signal_fd = -1;
    (void)snprintf(w->name, sizeof w->name, "%u", start->slot);
    tg_log_set_process(w->name);
    tg_metrics_slot(start->commons->metrics, start->slot + 1);
    int rc = open_all(w, &err);
    if (rc) {
        say(w, TG_MSG_FAILED, rc, err.msg[0] ? err.msg : tg_code_text(rc));
        w->exit_status = TG_EXIT_CANNOT_START;
    } else {
        atomic_store(&w->row->generation, w->snapshot->generation);
        report(w);
        say(w, TG_MSG_READY, 0, "");
        (void)event_base_dispatch(w->base);
    }
    int status = w->exit_status;
    close_all(w);
    the_worker = NULL;
    tg_free(w);
    return status;
}
