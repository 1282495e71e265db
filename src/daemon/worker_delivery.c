#include "daemon/worker_delivery.h"

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/worker_config.h"
#include "deliver/destinations.h"

#include <stdio.h>

/* --- destinations --- */

static int load_one(struct tg_host *host, const struct tg_snapshot *s, const struct tg_destination_config *d,
                    const struct tg_script_source *config, struct tg_dest **dest, struct tg_err *err)
{
    struct tg_problems problems;
    char path[160];
    (void)snprintf(path, sizeof path, "destinations.%s.settings", d->name);
    const struct tg_dest_spec spec = {.name = d->name,
                                      .settings_path = path,
                                      .settings = tg_str_of(d->settings),
                                      .source = tg_snapshot_script(s, d->script),
                                      .config = d->has_filter ? config : NULL,
                                      .rates = d->rates};
    tg_problems_init(&problems);
    int rc = spec.source ? tg_dest_load(host, &spec, dest, &problems) : TG_NOTFOUND;
    if (rc)
        (void)tg_worker_config_fail(&problems, err);
    tg_problems_fini(&problems);
    return rc;
}

/* Loads every destination of the configuration and gives them to the engine: all or none. */
static int set_destinations(struct tg_worker_delivery *d, const struct tg_snapshot *s,
                            const struct tg_config *c, struct tg_err *err)
{
    struct tg_engine_dest *dests = tg_calloc(c->n_destinations, sizeof *dests);
    struct tg_script_source config = {0};
    int rc = dests ? tg_snapshot_config_source(s, &config) : TG_NOMEM;
    if (rc)
        (void)tg_fail(err, rc, "out of memory");
    for (size_t i = 0; !rc && i < c->n_destinations; i++) {
        dests[i].config = &c->destinations[i];
        rc = load_one(d->host, s, &c->destinations[i], &config, &dests[i].dest, err);
    }
    if (!rc)
        rc = tg_engine_set_destinations(d->engine, dests, c->n_destinations, (int64_t)s->generation, err);
    for (size_t i = 0; rc && dests && i < c->n_destinations; i++)
        tg_dest_free(&dests[i].dest);
    tg_snapshot_config_source_fini(&config);
    tg_free(dests);
    return rc;
}

/* --- opening --- */

static int open_host(struct tg_worker_delivery *d, const struct tg_worker_spool_options *o,
                     const struct tg_snapshot *snapshot, struct tg_err *err)
{
    const struct tg_host_options options = {
        .memory_bytes = o->config->script.memory_bytes,
        .soft_limit_us = o->config->script.soft_ms * 1000,
        .allow_private = o->config->egress.allow_private,
        .library = snapshot->library,
        .watch = &o->start->commons->board->rows[o->start->slot].watch,
        .fixed_now = TG_NO_TIME,
    };
    return tg_host_new(&options, &d->host, err);
}

/* Makes the client, or tells the one that is there. */
static int set_client(struct tg_worker_delivery *d, struct event_base *base, const struct tg_config *c,
                      struct tg_err *err)
{
    const struct tg_strings *list = &c->egress.private_ok;
    struct tg_cidr *cidrs = tg_calloc(list->n, sizeof *cidrs);
    int rc = cidrs ? TG_OK : tg_fail(err, TG_NOMEM, "out of memory");
    for (size_t i = 0; !rc && i < list->n; i++)
        rc = tg_cidr_parse(tg_str_of(list->v[i]), &cidrs[i], err);
    if (rc) {
        tg_free(cidrs);
        return tg_err_prefix(err, "egress.allow_private");
    }
    const struct tg_client_options options = {
        .base = base,
        .egress = {.allow_private = c->egress.allow_private, .list = cidrs, .n = list->n},
        .proxy = c->egress.proxy,
        .ca_file = c->egress.ca_file,
    };
    if (!d->client)
        rc = tg_client_new(&options, &d->client, err);
    else if (tg_client_set(d->client, &options))
        rc = tg_fail(err, TG_NOMEM, "out of memory");
    tg_free(cidrs);
    return rc;
}

static int open_engine(struct tg_worker_delivery *d, const struct tg_worker_spool_options *o,
                       const struct tg_worker_spool *spool, struct tg_err *err)
{
    struct tg_engine_part parts[TG_WORKER_PARTS];
    for (size_t i = 0; i < spool->n; i++)
        parts[i] = (struct tg_engine_part){spool->parts[i].lock.number, spool->parts[i].log,
                                           spool->parts[i].cursors};
    const struct tg_engine_options options = {
        .base = o->base,
        .http = d->client,
        .state = o->state,
        .helper = o->helper,
        .metrics = o->start->commons->metrics,
        .shared = o->start->commons->shared,
        .leases = o->start->commons->leases,
        .rates = o->start->commons->rates,
        .dedup = o->start->commons->dedup,
        .worker = o->start->slot,
        .workers = o->start->workers,
        .parts = parts,
        .n_parts = spool->n,
        .spool_bytes = o->config->spool.max_bytes,
    };
    return tg_engine_new(&options, &d->engine, err);
}

int tg_worker_delivery_open(struct tg_worker_delivery *d, const struct tg_worker_spool_options *o,
                            const struct tg_worker_spool *spool, const struct tg_snapshot *snapshot,
                            struct tg_err *err)
{
    int rc = open_host(d, o, snapshot, err);
    if (!rc)
        rc = set_client(d, o->base, o->config, err);
    if (!rc)
        rc = open_engine(d, o, spool, err);
    return rc ? rc : set_destinations(d, snapshot, o->config, err);
}

int tg_worker_delivery_swap(struct tg_worker_delivery *d, const struct tg_snapshot *s,
                            const struct tg_config *c, struct tg_err *err)
{
    const struct tg_host_options host = {
        .memory_bytes = c->script.memory_bytes,
        .soft_limit_us = c->script.soft_ms * 1000,
        .allow_private = c->egress.allow_private,
    };
    int rc = tg_host_set(d->host, &host, err);
    if (!rc)
        rc = set_client(d, NULL, c, err);
    tg_engine_set_spool_bytes(d->engine, c->spool.max_bytes);
    return rc ? rc : set_destinations(d, s, c, err);
}

int tg_worker_delivery_strikes(struct tg_worker_delivery *d, const struct tg_worker_start *start,
                               struct tg_err *err)
{
    struct tg_board *board = start->commons->board;
    int rc = TG_OK;
    for (unsigned i = 0; !rc && i < TG_STRIKES; i++) {
        struct tg_strike *s = &board->strikes[i];
        if (atomic_load(&s->used) == 0 || s->worker != start->slot || atomic_exchange(&s->taken, 1))
            continue;
        rc = tg_engine_strike(d->engine, s->destination, s->seq,
                              s->timed_out ? "script_timeout" : "script_crash");
    }
    return rc ? tg_fail(err, rc, "cannot note a script's strike: %s", tg_code_text(rc)) : TG_OK;
}

void tg_worker_delivery_close(struct tg_worker_delivery *d, struct tg_worker_spool *spool)
{
    for (size_t i = 0; d->engine && i < spool->n; i++)
        spool->parts[i].drained = tg_engine_drained(d->engine, spool->parts[i].lock.number);
    tg_engine_free(&d->engine);
    tg_client_free(&d->client);
    tg_host_free(&d->host);
}
