#include "daemon/worker_door.h"

#include "base/log.h"
#include "base/mem.h"
#include "deliver/shared.h"

#include <sys/resource.h>

enum {
    SIBLING_DOWN_MS = 100,
    ASIDE_SHARE = 50,  /* 2 % for each source */
    KEPT_FILES = 1024, /* descriptors that are not for senders */
    MOST_CONNECTIONS = 1000000,
};

/* --- what the configuration says --- */

static struct tg_ingest_source source_of(const struct tg_source_config *s, struct tg_shared *shared)
{
    return (struct tg_ingest_source){
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
        .rate = s->rate_per_second,
        .bucket = tg_shared_cell_of(shared, "source", tg_str_of(s->name)),
        .body_bytes = (size_t)s->limits.body,
        .event_bytes = (size_t)s->limits.event,
        .batch_events = s->limits.batch,
    };
}

static int set_sources(struct tg_worker_door *d, const struct tg_config *c, struct tg_err *err)
{
    struct tg_ingest_source *sources = tg_calloc(c->n_sources, sizeof *sources);
    if (!sources)
        return tg_fail(err, TG_NOMEM, "out of memory");
    for (size_t i = 0; i < c->n_sources; i++)
        sources[i] = source_of(&c->sources[i], d->start->commons->shared);
    int rc = tg_ingest_set_sources(d->ingest, sources, c->n_sources, err);
    tg_free(sources);
    if (!rc)
        rc = tg_ingest_set_public_url(d->ingest, c->public_url, err);
    return rc ? rc : tg_ingest_set_browser_script(d->ingest, c->analytics_js, err);
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

static void reload_tls(struct tg_worker_door *d)
{
    struct tg_err err = {0};
    for (size_t i = 0; i < d->start->listeners->n; i++) {
        if (d->tls[i] && tg_http_tls_reload(d->tls[i], &err))
            tg_error("certificate not reloaded, the old one stays", TG_FS("reason", err.msg));
    }
}

int tg_worker_door_set(struct tg_worker_door *d, const struct tg_config *c, struct tg_err *err)
{
    int rc = set_sources(d, c, err);
    if (rc)
        return rc;
    struct tg_ingest_limits limits = limits_of(c);
    tg_ingest_set_limits(d->ingest, &limits);
    tg_aside_limit(d->aside, c->spool.max_bytes / ASIDE_SHARE);
    reload_tls(d);
    bool token = d->admin && c->admin_token && *c->admin_token;
    return token && tg_admin_set_token(d->admin, c->admin_token) ? tg_fail(err, TG_NOMEM, "out of memory")
                                                                 : TG_OK;
}

/* --- accepting --- */

static int accept_for(struct tg_worker_door *d, unsigned slot, struct tg_err *err)
{
    const struct tg_listeners *l = d->start->listeners;
    int rc = TG_OK;
    for (size_t i = 0; (!rc || rc == TG_EXISTS) && i < l->n; i++)
        rc = tg_http_accept_for(tg_ingest_http(d->ingest), tg_listeners_fd(l, i, slot), d->tls[i], err);
    return rc == TG_EXISTS ? TG_OK : rc;
}

static void accept_stop(struct tg_worker_door *d, unsigned slot)
{
    const struct tg_listeners *l = d->start->listeners;
    for (size_t i = 0; i < l->n; i++)
        tg_http_accept_stop(tg_ingest_http(d->ingest), tg_listeners_fd(l, i, slot));
}

void tg_worker_door_stand_in(struct tg_worker_door *d, int64_t now)
{
    struct tg_err err = {0};
    for (unsigned i = 0; i < d->start->workers; i++) {
        if (i == d->start->slot)
            continue;
        int64_t since = atomic_load(&d->start->commons->board->rows[i].down_since);
        bool down = since && now - since > SIBLING_DOWN_MS;
        if (down && !d->standing_in[i])
            d->standing_in[i] = accept_for(d, i, &err) == TG_OK;
        else if (!down && d->standing_in[i]) {
            accept_stop(d, i);
            d->standing_in[i] = false;
        }
    }
}

/* --- opening and closing --- */

static int open_tls(struct tg_worker_door *d, const struct tg_config *c, struct tg_err *err)
{
    d->tls = tg_calloc(d->start->listeners->n, sizeof *d->tls);
    if (!d->tls)
        return tg_fail(err, TG_NOMEM, "out of memory");
    int rc = TG_OK;
    for (size_t i = 0; !rc && i < d->start->listeners->n; i++) {
        const struct tg_listen *l = &c->listen[i];
        if (l->cert)
            rc = tg_http_tls_new(&d->tls[i], l->cert, l->key, err);
    }
    return rc;
}

static int open_sink(struct tg_worker_door *d, const struct tg_worker_door_options *o, struct tg_err *err)
{
    d->aside = tg_aside_new(o->state, o->start->commons->metrics, o->start->workers);
    if (!d->aside)
        return tg_fail(err, TG_NOMEM, "out of memory");
    tg_aside_limit(d->aside, o->config->spool.max_bytes / ASIDE_SHARE);
    const struct tg_spool_sink_options sink = {
        .log = o->log,
        .state = o->state,
        .aside = d->aside,
        .forgotten = o->forgotten,
        .forgotten_arg = o->forgotten_arg,
    };
    d->sink = tg_spool_sink_new(&sink);
    return d->sink ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
}

static int open_ingest(struct tg_worker_door *d, const struct tg_worker_door_options *o, struct tg_err *err)
{
    const struct tg_ingest_options options = {
        .base = o->base,
        .metrics = o->start->commons->metrics,
        .limits = limits_of(o->config),
        .sink = tg_spool_sink_interface(d->sink),
        .dedup = o->config->dedup.window_ms ? o->start->commons->dedup : NULL,
    };
    int rc = tg_ingest_new(&d->ingest, &options, err);
    return rc ? rc : set_sources(d, o->config, err);
}

int tg_worker_door_open(struct tg_worker_door *d, const struct tg_worker_door_options *o, struct tg_err *err)
{
    d->start = o->start;
    int rc = open_sink(d, o, err);
    if (!rc)
        rc = open_ingest(d, o, err);
    if (!rc)
        rc = open_tls(d, o->config, err);
    if (!rc)
        rc = accept_for(d, o->start->slot, err);
    if (!rc && o->start->listeners->admin >= 0)
        rc = tg_admin_new(o->base, o->start->listeners->admin, o->config->admin_token,
                          o->start->commons->board, o->start->commons->metrics, &d->admin, err);
    return rc;
}

bool tg_worker_door_accepts(const struct tg_worker_door *d, const char **why)
{
    struct tg_sink sink = tg_spool_sink_interface(d->sink);
    int retry_after;
    return sink.ready(sink.arg, why, &retry_after) == TG_OK;
}

void tg_worker_door_close(struct tg_worker_door *d)
{
    tg_admin_free(&d->admin);
    tg_ingest_free(&d->ingest);
    for (size_t i = 0; d->tls && i < d->start->listeners->n; i++)
        tg_http_tls_free(&d->tls[i]);
    tg_free(d->tls);
    d->tls = NULL;
    if (d->aside)
        tg_aside_stop(d->aside);
}

void tg_worker_door_fini(struct tg_worker_door *d)
{
    tg_spool_sink_free(&d->sink);
    tg_aside_free(&d->aside);
}
