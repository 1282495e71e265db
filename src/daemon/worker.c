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
#include "base/json.h"
#include "base/log.h"
#include "base/mask.h"
#include "base/mem.h"
#include "config/loader.h"
#include "daemon/admin.h"
#include "daemon/channel.h"
#include "daemon/dedup_refill.h"
#include "daemon/sink.h"
#include "daemon/snapshot_bytes.h"
#include "deliver/engine.h"
#include "ingest/dedup.h"
#include "ingest/ingest.h"
#include "spool/partition.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    TICK_MS = 50,
    REPORT_EVERY_MS = 500,
    SIBLING_DOWN_MS = 100,
    LOCK_WAIT_MS = 15000,
    SIBLINGS_WAIT_MS = 10000,
    MAX_PARTS = 64,
    RESERVE_BYTES = 8 * 1024 * 1024,
    MIN_RESERVE = 64 * 1024,
    MIN_SEGMENT = 256 * 1024,
    MAX_SEGMENT = 64 * 1024 * 1024,
    ASIDE_SHARE = 50, /* 2 % for each source */
    MAX_PENDING = 64 * 1024 * 1024,
    KEPT_FILES = 1024, /* descriptors that are not for senders */
    MOST_CONNECTIONS = 1000000,
};

struct part {
    struct tg_partition lock;
    struct tg_cursors *cursors;
    struct tg_log *log;
    bool drained;
    bool unsynced; /* what recovery found may not be on disk */
};

struct worker {
    const struct tg_worker_start *start;
    char name[16];
    struct tg_snapshot *snapshot;
    struct tg_config *config;
    struct event_base *base;
    struct event *tick, *on_signal, *on_channel;
    int signal_fd;
    struct tg_helper *helper;
    struct tg_state *state;
    struct part parts[MAX_PARTS];
    size_t n_parts;
    struct tg_host *host;
    struct tg_client *client;
    struct tg_engine *engine;
    struct tg_aside *aside;
    struct tg_spool_sink *sink;
    struct tg_ingest *ingest;
    struct tg_http_tls **tls; /* per listener; NULL: plain */
    struct tg_admin *admin;
    bool standing_in[64]; /* for a sibling that is down */
    int64_t reported;
    bool stopping, door_closed, engine_stopped;
    int64_t deadline;
    int exit_status;
};

static struct worker
    *the_worker; /* keeps everything reachable for leak checkers when the process is ended early */

/* --- spool --- */

/* On a small or nearly full disk segments and reserve are small too, or nothing could ever be accepted. */
static uint64_t disk_share(const struct worker *w, uint64_t most, uint64_t least)
{
    struct tg_io *io = tg_io_system();
    uint64_t room = 0;
    if (io->free_bytes(io, w->config->spool.path, &room) != 0)
        return most;
    room /= 8 * (uint64_t)w->start->workers;
    return room < least ? least : room < most ? room : most;
}

static uint64_t segment_bytes(const struct worker *w)
{
    uint64_t share = w->config->spool.max_bytes / (8 * (uint64_t)w->start->workers);
    return disk_share(w, share < MAX_SEGMENT ? share : MAX_SEGMENT, MIN_SEGMENT);
}

static int lock_partition(struct worker *w, uint32_t number, struct tg_partition *p, struct tg_err *err)
{
    int64_t until = tg_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        int rc = tg_partition_open(w->config->spool.path, number, p, err);
        if (rc != TG_BUSY || tg_mono_ms() > until)
            return rc;
        const struct timespec pause = {0, 20 * 1000 * 1000};
        (void)nanosleep(&pause, NULL);
    }
}

static int open_log(struct worker *w, struct part *part, struct tg_err *err)
{
    uint64_t in_retries = 0, in_cursors = tg_cursors_highest(part->cursors);
    int rc = tg_state_highest_seq(w->state, part->lock.number, &in_retries, err);
    if (rc)
        return rc;
    const struct tg_log_options options = {
        .dir = part->lock.dir,
        .partition = part->lock.number,
        .epoch = part->lock.epoch,
        .segment_bytes = segment_bytes(w),
        .max_bytes = w->config->spool.max_bytes / w->start->workers,
        .reserve_bytes = part->lock.number == w->start->slot ? disk_share(w, RESERVE_BYTES, MIN_RESERVE) : 0,
        .sync = (enum tg_sync_mode)w->config->spool.sync,
        .sync_interval_ms = w->config->spool.sync_interval_ms,
        .max_pending_bytes = MAX_PENDING,
        .least_next_seq = in_retries + 1 > in_cursors ? in_retries + 1 : in_cursors,
        .io = tg_io_system(),
        .helper = w->helper,
        .base = w->base,
        .metrics = w->start->metrics,
    };
    struct tg_log_found found;
    rc = tg_log_open(&options, &part->log, &found, err);
    part->unsynced = !rc && found.unsynced;
    if (!rc)
        tg_info("spool opened", TG_FI("partition", part->lock.number), TG_FI("segments", found.segments),
                TG_FI("events", found.records), TG_FI("damaged", found.damaged),
                TG_FI("torn_bytes", found.torn_bytes));
    return rc;
}

static int open_part(struct worker *w, uint32_t number, struct tg_err *err)
{
    struct part *part = &w->parts[w->n_parts];
    int rc = lock_partition(w, number, &part->lock, err);
    if (rc)
        return rc;
    rc = tg_cursors_open(tg_io_system(), part->lock.dir, w->helper, &part->cursors, err);
    if (!rc)
        rc = open_log(w, part, err);
    if (rc) {
        tg_cursors_close(&part->cursors);
        tg_partition_close(&part->lock);
        return rc;
    }
    w->n_parts++;
    return TG_OK;
}

/* The own partition first, then those that nobody writes any more because there were more workers once. */
static int open_parts(struct worker *w, struct tg_err *err)
{
    uint32_t *numbers = NULL;
    size_t n = 0;
    int rc = open_part(w, w->start->slot, err);
    if (!rc)
        rc = tg_partition_list(w->config->spool.path, &numbers, &n, err);
    for (size_t i = 0; !rc && i < n; i++) {
        bool orphan = numbers[i] >= w->start->workers && numbers[i] % w->start->workers == w->start->slot;
        if (orphan && w->n_parts < MAX_PARTS)
            rc = open_part(w, numbers[i], err);
    }
    tg_free(numbers);
    return rc;
}

/* A partition that no worker writes goes when nothing waits in it any more: seen at the end of a run. */
static void close_part(struct worker *w, struct part *part)
{
    struct tg_err err = {0};
    if (part->lock.number >= w->start->workers && part->drained) {
        tg_log_close(&part->log);
        tg_cursors_close(&part->cursors);
        if (tg_partition_remove(&part->lock, &err))
            tg_warn("drained partition not removed", TG_FS("reason", err.msg));
        else
            tg_info("partition drained and removed", TG_FI("partition", part->lock.number));
        return;
    }
    tg_log_close(&part->log);
    tg_cursors_close(&part->cursors);
    tg_partition_close(&part->lock);
}

/* --- duplicates --- */

/* A repetition of what lies in a sibling's log may come to this door: so it stays shut until all have looked,
 * unless one of them takes too long. */
static void await_siblings(const struct worker *w)
{
    int64_t until = tg_mono_ms() + SIBLINGS_WAIT_MS;
    for (unsigned i = 0; i < w->start->workers && tg_mono_ms() < until;) {
        const struct timespec pause = {0, 2 * 1000 * 1000};
        if (atomic_load(&w->start->board->rows[i].remembers))
            i++;
        else
            (void)nanosleep(&pause, NULL);
    }
}

/* What the logs hold and the saved messageIds do not know. */
static void refill_dedup(struct worker *w)
{
    if (!w->start->dedup || w->config->dedup.window_ms == 0)
        return;
    uint64_t n = 0;
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct tg_dedup_refill refill = {.log = w->parts[i].log,
                                               .set = w->start->dedup,
                                               .since = w->start->dedup_since,
                                               .now = tg_wall_ms(),
                                               .most = w->config->dedup.max_entries};
        if (!w->parts[i].unsynced) /* else it may suppress nothing */
            n += tg_dedup_refill(&refill);
    }
    atomic_store(&w->start->board->rows[w->start->slot].remembers, 1);
    tg_debug("messageIds of the log's end read", TG_FI("events", n));
    await_siblings(w);
}

/* --- destinations --- */

static void problems_to_err(const struct tg_problems *problems, struct tg_err *err)
{
    struct tg_buf text = TG_BUF_INIT(sizeof err->msg);
    if (tg_problems_print(problems, &text) == TG_OK)
        (void)tg_fail(err, TG_INVALID, "%.*s", TG_STR_ARG(tg_str_trim(tg_buf_str(&text))));
    else
        (void)tg_fail(err, TG_INVALID, "the configuration has errors");
    tg_buf_fini(&text);
}

static int load_one(struct tg_host *host, const struct tg_snapshot *s, const struct tg_destination_config *d,
                    const struct tg_script_source *config, struct tg_dest **dest, struct tg_err *err)
{
    struct tg_problems problems;
    char path[160];
    (void)snprintf(path, sizeof path, "destinations.%s.settings", d->name);
    const struct tg_dest_spec spec = {d->name,
                                      path,
                                      tg_str_of(d->settings),
                                      tg_snapshot_script(s, d->script),
                                      d->has_filter ? config : NULL,
                                      d->rates};
    tg_problems_init(&problems);
    int rc = spec.source ? tg_dest_load(host, &spec, dest, &problems) : TG_NOTFOUND;
    if (rc)
        problems_to_err(&problems, err);
    tg_problems_fini(&problems);
    return rc;
}

/* Loads every destination of the configuration and gives them to the engine: all or none. */
static int set_destinations(struct worker *w, const struct tg_snapshot *s, const struct tg_config *c,
                            struct tg_err *err)
{
    struct tg_engine_dest *dests = tg_calloc(c->n_destinations, sizeof *dests);
    struct tg_script_source config = {0};
    int rc = dests ? tg_snapshot_config_source(s, &config) : TG_NOMEM;
    if (rc)
        (void)tg_fail(err, rc, "out of memory");
    for (size_t i = 0; !rc && i < c->n_destinations; i++) {
        dests[i].config = &c->destinations[i];
        rc = load_one(w->host, s, &c->destinations[i], &config, &dests[i].dest, err);
    }
    if (!rc)
        rc = tg_engine_set_destinations(w->engine, dests, c->n_destinations, (int64_t)s->generation, err);
    for (size_t i = 0; rc && dests && i < c->n_destinations; i++)
        tg_dest_free(&dests[i].dest);
    tg_snapshot_config_source_fini(&config);
    tg_free(dests);
    return rc;
}

static int open_host(struct worker *w, struct tg_err *err)
{
    const struct tg_host_options options = {
        .memory_bytes = w->config->script.memory_bytes,
        .soft_limit_us = w->config->script.soft_ms * 1000,
        .allow_private = w->config->egress.allow_private,
        .library = w->snapshot->library,
        .watch = &w->start->board->rows[w->start->slot].watch,
        .fixed_now = TG_NO_TIME,
    };
    return tg_host_new(&options, &w->host, err);
}

static int open_client(struct worker *w, struct tg_err *err)
{
    const struct tg_strings *list = &w->config->egress.private_ok;
    struct tg_cidr *cidrs = tg_calloc(list->n, sizeof *cidrs);
    int rc = cidrs ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
    for (size_t i = 0; !rc && i < list->n; i++)
        rc = tg_cidr_parse(tg_str_of(list->v[i]), &cidrs[i], err);
    if (rc) {
        tg_free(cidrs);
        return tg_err_prefix(err, "egress.allow_private");
    }
    const struct tg_client_options options = {
        .base = w->base,
        .egress = {.allow_private = w->config->egress.allow_private, .list = cidrs, .n = list->n},
        .proxy = w->config->egress.proxy,
        .ca_file = w->config->egress.ca_file,
    };
    rc = tg_client_new(&options, &w->client, err);
    tg_free(cidrs);
    return rc;
}

static int open_engine(struct worker *w, struct tg_err *err)
{
    int rc = open_client(w, err);
    if (rc)
        return rc;
    struct tg_engine_part parts[MAX_PARTS];
    for (size_t i = 0; i < w->n_parts; i++)
        parts[i] = (struct tg_engine_part){w->parts[i].lock.number, w->parts[i].log, w->parts[i].cursors};
    const struct tg_engine_options options = {
        .base = w->base,
        .http = w->client,
        .state = w->state,
        .helper = w->helper,
        .metrics = w->start->metrics,
        .shared = w->start->shared,
        .rates = w->start->rates,
        .worker = w->start->slot,
        .workers = w->start->workers,
        .parts = parts,
        .n_parts = w->n_parts,
        .spool_bytes = w->config->spool.max_bytes,
    };
    rc = tg_engine_new(&options, &w->engine, err);
    return rc ? rc : set_destinations(w, w->snapshot, w->config, err);
}

/* --- the door --- */

static int set_sources(struct worker *w, const struct tg_config *c, struct tg_err *err)
{
    struct tg_ingest_source *sources = tg_calloc(c->n_sources, sizeof *sources);
    if (!sources)
        return tg_fail(err, TG_NOMEM, "out of memory");
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct tg_source_config *s = &c->sources[i];
        sources[i] = (struct tg_ingest_source){
            .name = s->name,
            .write_keys = (const char *const *)s->write_keys.v,
            .n_write_keys = s->write_keys.n,
            .enabled = s->enabled,
            .allow_delete = s->allow_delete,
            .forget_on_delete = s->forget_on_delete,
            .trusted = s->trusted,
            .record_ip = s->record_ip,
            .allowed_origins = (const char *const *)s->allowed_origins.v,
            .n_allowed_origins = s->allowed_origins.n,
            .trusted_proxies = (const char *const *)s->trusted_proxies.v,
            .n_trusted_proxies = s->trusted_proxies.n,
            /* Connections spread over the workers: each grants its share. */
            .rate = s->rate_per_second / w->start->workers,
            .body_bytes = (size_t)s->limits.body,
            .event_bytes = (size_t)s->limits.event,
            .batch_events = s->limits.batch,
        };
    }
    int rc = tg_ingest_set_sources(w->ingest, sources, c->n_sources, err);
    tg_free(sources);
    return rc;
}

/* As many as open files allow, with some left for the spool and for deliveries. */
static unsigned connections_allowed(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return (unsigned)tg_ingest_default_limits.http.connections;
    rlim_t most = files.rlim_cur < MOST_CONNECTIONS ? files.rlim_cur : MOST_CONNECTIONS;
    return (unsigned)(most > 4 * KEPT_FILES ? most - KEPT_FILES : most / 2);
}

static struct tg_ingest_limits limits_of(const struct tg_config *c)
{
    struct tg_ingest_limits limits = tg_ingest_default_limits;
    limits.http.head_bytes = (size_t)c->limits.headers;
    limits.http.body_bytes = (size_t)c->limits.body;
    limits.http.request_timeout_ms = (int)c->limits.request_ms;
    limits.http.idle_timeout_ms = (int)c->limits.idle_ms;
    limits.http.connections = c->limits.connections ? c->limits.connections : connections_allowed();
    limits.event_bytes = (size_t)c->limits.event;
    limits.batch_events = c->limits.batch;
    return limits;
}

static int listen_fd(const struct worker *w, size_t listener, unsigned slot)
{
    return w->start->listen_fds[listener * w->start->workers + slot];
}

static int accept_for(struct worker *w, unsigned slot, struct tg_err *err)
{
    int rc = TG_OK;
    for (size_t i = 0; (!rc || rc == TG_EXISTS) && i < w->start->n_listen; i++)
        rc = tg_http_accept_for(tg_ingest_http(w->ingest), listen_fd(w, i, slot), w->tls[i], err);
    return rc == TG_EXISTS ? TG_OK : rc;
}

static void accept_stop(struct worker *w, unsigned slot)
{
    for (size_t i = 0; i < w->start->n_listen; i++)
        tg_http_accept_stop(tg_ingest_http(w->ingest), listen_fd(w, i, slot));
}

static int open_tls(struct worker *w, struct tg_err *err)
{
    w->tls = tg_calloc(w->start->n_listen, sizeof *w->tls);
    if (!w->tls)
        return tg_fail(err, TG_NOMEM, "out of memory");
    int rc = TG_OK;
    for (size_t i = 0; !rc && i < w->start->n_listen; i++) {
        const struct tg_listen *l = &w->config->listen[i];
        if (l->cert)
            rc = tg_http_tls_new(&w->tls[i], l->cert, l->key, err);
    }
    return rc;
}

static void on_forgotten(void *arg, size_t users)
{
    tg_engine_forgot(((struct worker *)arg)->engine, users);
}

static int open_door(struct worker *w, struct tg_err *err)
{
    w->aside = tg_aside_new(w->state, w->start->metrics, w->start->workers);
    if (!w->aside)
        return tg_fail(err, TG_NOMEM, "out of memory");
    tg_aside_limit(w->aside, w->config->spool.max_bytes / ASIDE_SHARE);
    const struct tg_spool_sink_options sink = {
        .log = w->parts[0].log,
        .state = w->state,
        .aside = w->aside,
        .forgotten = on_forgotten,
        .forgotten_arg = w,
    };
    w->sink = tg_spool_sink_new(&sink);
    if (!w->sink)
        return tg_fail(err, TG_NOMEM, "out of memory");
    const struct tg_ingest_options options = {
        .base = w->base,
        .metrics = w->start->metrics,
        .limits = limits_of(w->config),
        .sink = tg_spool_sink_interface(w->sink),
        .dedup = w->config->dedup.window_ms ? w->start->dedup : NULL,
    };
    int rc = tg_ingest_new(&w->ingest, &options, err);
    if (!rc)
        rc = set_sources(w, w->config, err);
    if (!rc)
        rc = tg_ingest_set_public_url(w->ingest, w->config->public_url, err);
    if (!rc)
        rc = open_tls(w, err);
    if (!rc)
        rc = accept_for(w, w->start->slot, err);
    if (!rc && w->start->admin_fd >= 0)
        rc = tg_admin_new(w->base, w->start->admin_fd, w->config->admin_token, w->start->board,
                          w->start->metrics, &w->admin, err);
    return rc;
}

/* --- reports and siblings --- */

static int add_report(struct worker *w, struct tg_buf *json)
{
    int rc = tg_buf_printf(json, "{\"connections\":%u,\"lua_bytes\":%zu,\"partitions\":[",
                           tg_http_connections(tg_ingest_http(w->ingest)), tg_host_memory(w->host));
    for (size_t i = 0; !rc && i < w->n_parts; i++)
        rc = tg_buf_printf(json,
                           "%s{\"number\":%" PRIu32 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64
                           ",\"bytes\":%" PRIu64 "}",
                           i ? "," : "", w->parts[i].lock.number, tg_log_first(w->parts[i].log),
                           tg_log_last(w->parts[i].log), tg_log_bytes(w->parts[i].log));
    if (!rc)
        rc = tg_buf_adds(json, "],\"destinations\":");
    if (!rc)
        rc = tg_engine_status(w->engine, json);
    return rc ? rc : tg_buf_addc(json, '}');
}

static void report(struct worker *w)
{
    struct tg_buf json = TG_BUF_INIT(TG_BOARD_STATUS_MAX);
    const char *why = NULL;
    struct tg_sink sink = tg_spool_sink_interface(w->sink);
    int retry_after;
    bool accepting = sink.ready(sink.arg, &why, &retry_after) == TG_OK;
    if (add_report(w, &json))
        tg_buf_clear(&json);
    tg_board_say(w->start->board, w->start->slot, tg_buf_str(&json), accepting, why);
    tg_buf_fini(&json);
}

/* A sibling that has been down for a while: its queue is served here until it is back. */
static void stand_in(struct worker *w, int64_t now)
{
    struct tg_err err = {0};
    for (unsigned i = 0; i < w->start->workers; i++) {
        if (i == w->start->slot)
            continue;
        int64_t since = atomic_load(&w->start->board->rows[i].down_since);
        bool down = since && now - since > SIBLING_DOWN_MS;
        if (down && !w->standing_in[i])
            w->standing_in[i] = accept_for(w, i, &err) == TG_OK;
        else if (!down && w->standing_in[i]) {
            accept_stop(w, i);
            w->standing_in[i] = false;
        }
    }
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
    tg_http_stop(tg_ingest_http(w->ingest), on_door_closed, w);
}

static void begin_stop(struct worker *w)
{
    if (w->stopping)
        return;
    w->stopping = true;
    w->deadline = tg_mono_ms() + w->config->stop_ms;
    tg_spool_sink_stop(w->sink);
    report(w);
    tg_engine_stop(w->engine, w->deadline, on_engine_stopped, w);
}

/* --- the loop's events --- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    int64_t now = tg_mono_ms();
    (void)fd;
    (void)what;
    atomic_fetch_add(&w->start->board->rows[w->start->slot].beats, 1);
    if (!w->engine_stopped)
        stand_in(w, now); /* while stopping too: a sibling may be through before this worker */
    if (w->stopping) {
        if (now > w->deadline + 500)
            w->door_closed = true; /* senders that hold their connection are cut off */
        try_end(w);
        return;
    }
    tg_host_idle(w->host);
    tg_spool_sink_block(w->sink, tg_engine_dead_full(w->engine));
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

static void reload_tls(struct worker *w)
{
    struct tg_err err = {0};
    for (size_t i = 0; i < w->start->n_listen; i++) {
        if (w->tls[i] && tg_http_tls_reload(w->tls[i], &err))
            tg_error("certificate not reloaded, the old one stays", TG_FS("reason", err.msg));
    }
}

/* What needs a restart belongs to the sockets and the spool that are open. */
static void exchange_fixed(struct tg_config *a, struct tg_config *b)
{
    struct tg_config kept = *a;
    a->listen = b->listen;
    a->n_listen = b->n_listen;
    a->admin = b->admin;
    a->admin_token = b->admin_token;
    a->spool.path = b->spool.path;
    b->listen = kept.listen;
    b->n_listen = kept.n_listen;
    b->admin = kept.admin;
    b->admin_token = kept.admin_token;
    b->spool.path = kept.spool.path;
}

static int read_config(int fd, struct tg_snapshot **snapshot, struct tg_config **config, struct tg_err *err)
{
    struct tg_problems problems;
    int rc = tg_snapshot_read(fd, snapshot, err);
    if (rc)
        return rc;
    tg_problems_init(&problems);
    *config = tg_config_load(&(*snapshot)->text, &problems);
    if (!*config) {
        problems_to_err(&problems, err);
        rc = TG_INVALID;
    }
    tg_problems_fini(&problems);
    return rc;
}

static int swap(struct worker *w, int fd, struct tg_err *err)
{
    struct tg_snapshot *s = NULL;
    struct tg_config *c = NULL;
    int rc = read_config(fd, &s, &c, err);
    if (!rc)
        rc = set_destinations(w, s, c, err);
    if (!rc)
        rc = set_sources(w, c, err);
    if (!rc)
        rc = tg_ingest_set_public_url(w->ingest, c->public_url, err);
    if (!rc) {
        struct tg_ingest_limits limits = limits_of(c);
        tg_ingest_set_limits(w->ingest, &limits);
        tg_aside_limit(w->aside, c->spool.max_bytes / ASIDE_SHARE);
        reload_tls(w);
        exchange_fixed(c, w->config);
        tg_snapshot_free(&w->snapshot);
        tg_config_free(&w->config);
        w->snapshot = s;
        w->config = c;
        atomic_store(&w->start->board->rows[w->start->slot].generation, s->generation);
        report(w);
    } else {
        tg_snapshot_free(&s);
        tg_config_free(&c);
    }
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
        rc = tg_engine_flush(w->engine, on_durable, w);
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
        rc = msg->type == TG_MSG_PAUSE ? tg_engine_pause(w->engine, msg->text)
                                       : tg_engine_resume(w->engine, msg->text);
        report(w);
        answer_when_durable(w, rc);
        break;
    case TG_MSG_WAKE:
        answer_when_durable(w, tg_engine_look(w->engine));
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

static int read_snapshot(struct worker *w, struct tg_err *err)
{
    struct tg_snapshot *first = NULL;
    struct tg_config *config = NULL;
    int rc = read_config(w->start->snapshot_fd, &w->snapshot, &w->config, err);
    if (rc || w->start->first_fd == w->start->snapshot_fd)
        return rc;
    rc = read_config(w->start->first_fd, &first, &config, err);
    if (!rc)
        exchange_fixed(w->config, config);
    tg_snapshot_free(&first);
    tg_config_free(&config);
    return rc;
}

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

/* Events in which a script call did not come back or took the process with it. */
static int take_strikes(struct worker *w, struct tg_err *err)
{
    struct tg_board *board = w->start->board;
    int rc = TG_OK;
    for (unsigned i = 0; !rc && i < TG_STRIKES; i++) {
        struct tg_strike *s = &board->strikes[i];
        if (atomic_load(&s->used) == 0 || s->worker != w->start->slot || atomic_exchange(&s->taken, 1))
            continue;
        rc = tg_engine_strike(w->engine, s->destination, s->seq,
                              s->timed_out ? "script_timeout" : "script_crash");
    }
    return rc ? tg_fail(err, rc, "cannot note a script's strike: %s", tg_code_text(rc)) : TG_OK;
}

static int open_all(struct worker *w, struct tg_err *err)
{
    int rc = read_snapshot(w, err);
    if (!rc)
        rc = open_loop(w, err);
    if (!rc)
        rc = tg_state_open(w->config->spool.path, w->helper, &w->state, err);
    if (!rc)
        rc = open_parts(w, err);
    if (!rc)
        rc = open_host(w, err);
    if (!rc)
        rc = open_engine(w, err);
    if (!rc)
        rc = take_strikes(w, err);
    /* A new destination's cursor must be on disk before the first event is: else a crash would forget where
     * it began. */
    for (size_t i = 0; !rc && i < w->n_parts; i++)
        rc = tg_cursors_save_now(w->parts[i].cursors, err);
    if (!rc)
        refill_dedup(w);
    if (!rc)
        rc = open_door(w, err);
    return rc;
}

static void close_all(struct worker *w)
{
    tg_admin_free(&w->admin);
    tg_ingest_free(&w->ingest);
    for (size_t i = 0; w->engine && i < w->n_parts; i++)
        w->parts[i].drained = tg_engine_drained(w->engine, w->parts[i].lock.number);
    tg_engine_free(&w->engine);
    tg_client_free(&w->client);
    tg_host_free(&w->host);
    if (w->helper)
        tg_helper_drain(w->helper);
    for (size_t i = 0; i < w->n_parts; i++)
        close_part(w, &w->parts[i]);
    if (w->aside)
        tg_aside_stop(w->aside);
    tg_spool_sink_free(&w->sink);
    if (w->helper)
        tg_helper_drain(w->helper);
    tg_state_close(&w->state);
    tg_aside_free(&w->aside);
    tg_helper_free(&w->helper);
    for (size_t i = 0; w->tls && i < w->start->n_listen; i++)
        tg_http_tls_free(&w->tls[i]);
    tg_free(w->tls);
    if (w->tick)
        event_free(w->tick);
    if (w->on_signal)
        event_free(w->on_signal);
    if (w->on_channel)
        event_free(w->on_channel);
    if (w->base)
        event_base_free(w->base);
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
    w->signal_fd = -1;
    (void)snprintf(w->name, sizeof w->name, "%u", start->slot);
    tg_log_set_process(w->name);
    tg_metrics_slot(start->metrics, start->slot + 1);
    int rc = open_all(w, &err);
    if (rc) {
        say(w, TG_MSG_FAILED, rc, err.msg[0] ? err.msg : tg_code_text(rc));
        w->exit_status = TG_EXIT_CANNOT_START;
    } else {
        atomic_store(&start->board->rows[start->slot].generation, w->snapshot->generation);
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
