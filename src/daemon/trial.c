#include "daemon/trial.h"

#include "base/clock.h"
#include "base/mask.h"
#include "base/mem.h"
#include "daemon/snapshot_build.h"
#include "deliver/gate.h"

#include <stdio.h>

enum { TEXT_MAX = 1 << 20 };

struct tg_trial {
    struct tg_snapshot *snapshot;
    struct tg_config *config;
    struct tg_script_source sealed; /* the configuration, for filter functions */
    struct tg_host *host;
    struct tg_dest **dests; /* of the configuration's destinations, loaded when one is needed */
};

static int tell(const struct tg_problems *problems, struct tg_err *err)
{
    struct tg_buf text = TG_BUF_INIT(TEXT_MAX);
    int rc = tg_problems_print(problems, &text);
    rc = rc ? tg_fail(err, rc, "out of memory")
            : tg_fail(err, TG_INVALID, "%.*s", TG_STR_ARG(tg_str_trim(tg_buf_str(&text))));
    tg_buf_fini(&text);
    return rc;
}

static int build(struct tg_trial *t, const char *config_path, int64_t now, struct tg_err *err)
{
    struct tg_problems problems;
    int rc = TG_OK;
    tg_problems_init(&problems);
    t->snapshot = tg_snapshot_build(config_path, 1, &t->config, &problems);
    if (!t->snapshot)
        rc = tell(&problems, err);
    tg_problems_fini(&problems);
    if (rc)
        return rc;
    const struct tg_host_options options = {.memory_bytes = t->config->script.memory_bytes,
                                            .soft_limit_us = t->config->script.soft_ms * 1000,
                                            .allow_private = t->config->egress.allow_private,
                                            .library = t->snapshot->library,
                                            .fixed_now = now,
                                            .random_seed = now == TG_NO_TIME ? 0 : 1};
    t->dests = tg_calloc(t->config->n_destinations ? t->config->n_destinations : 1, sizeof *t->dests);
    if (!t->dests || tg_snapshot_config_source(t->snapshot, &t->sealed))
        return tg_fail(err, TG_NOMEM, "out of memory");
    return tg_host_new(&options, &t->host, err);
}

int tg_trial_new(const char *config_path, int64_t now, struct tg_trial **out, struct tg_err *err)
{
    struct tg_trial *t = tg_calloc(1, sizeof *t);
    int rc = t ? build(t, config_path, now, err) : tg_fail(err, TG_NOMEM, "out of memory");
    if (rc)
        tg_trial_free(&t);
    else
        *out = t;
    return rc;
}

void tg_trial_free(struct tg_trial **trial)
{
    struct tg_trial *t = *trial;
    if (!t)
        return;
    for (size_t i = 0; t->dests && i < t->config->n_destinations; i++)
        if (t->dests[i])
            tg_dest_free(&t->dests[i]);
    tg_free(t->dests);
    if (t->host)
        tg_host_free(&t->host);
    tg_snapshot_config_source_fini(&t->sealed);
    tg_config_free(&t->config);
    tg_snapshot_free(&t->snapshot);
    tg_free(t);
    *trial = NULL;
}

const struct tg_config *tg_trial_config(const struct tg_trial *t)
{
    return t->config;
}

int tg_trial_digest(const struct tg_trial *t, char hex[TG_SNAPSHOT_DIGEST + 1])
{
    return tg_snapshot_digest(t->snapshot, hex);
}

static int load(struct tg_trial *t, const struct tg_destination_config *d, struct tg_dest **dest,
                struct tg_err *err)
{
    const struct tg_dest_spec spec = {d->name,
                                      "settings",
                                      tg_str_of(d->settings),
                                      tg_snapshot_script(t->snapshot, d->script),
                                      d->has_filter ? &t->sealed : NULL,
                                      NULL};
    struct tg_problems problems;
    tg_problems_init(&problems);
    int rc = tg_dest_load(t->host, &spec, dest, &problems);
    if (rc)
        rc = tell(&problems, err);
    tg_problems_fini(&problems);
    return rc;
}

int tg_trial_find(struct tg_trial *t, const char *name, struct tg_trial_dest *out, struct tg_err *err)
{
    size_t i = 0;
    while (i < t->config->n_destinations && strcmp(t->config->destinations[i].name, name) != 0)
        i++;
    if (i == t->config->n_destinations)
        return tg_fail(err, TG_NOTFOUND, "destination %s is not in the configuration", name);
    int rc = t->dests[i] ? TG_OK : load(t, &t->config->destinations[i], &t->dests[i], err);
    *out = (struct tg_trial_dest){&t->config->destinations[i], t->dests[i]};
    return rc;
}

/* --- the gates --- */

static void explain(struct tg_trial_gates *g, const struct tg_trial_dest *d)
{
    static const struct {
        const char *reason, *sentence;
    } sentences[] = {
        {"source_not_selected", "the destination's sources do not name this one"},
        {"type_not_accepted", "the script has no handler for this type"},
        {"no_consent", "the event's consent does not allow all of the destination's categories"},
        {"filtered", "the destination's filter keeps it back"},
        {"sampled", "its messageId is not in the share that the destination's filter lets through"},
    };
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
        if (strcmp(g->reason, sentences[i].reason) == 0)
            (void)snprintf(g->message, sizeof g->message, "%s", sentences[i].sentence);
    if (strcmp(g->reason, "integration_off") == 0)
        (void)snprintf(g->message, sizeof g->message, "the event's integrations object turns \"%s\" off",
                       d->dest->integration);
    if (strcmp(g->reason, "bundled") == 0)
        (void)snprintf(g->message, sizeof g->message,
                       "the page has served \"%s\" itself: the event's _metadata.bundled names it",
                       d->dest->integration);
}

static int ask_filter(const struct tg_trial_dest *d, const struct tg_event *event, struct tg_trial_gates *g,
                      struct tg_err *err)
{
    struct tg_err why = {0};
    const char *held = NULL;
    int rc = tg_gate_filter(d->dest, d->config->filter, event, 0, &g->bytes, &g->shown, &held, &why);
    if (rc == TG_NOMEM)
        return tg_fail(err, rc, "out of memory");
    g->failed = rc != TG_OK;
    if (!rc && !held)
        return TG_OK;
    g->shown = *event;
    g->reason = g->failed ? rc == TG_BUSY ? "script_timeout" : "filter_error" : held;
    if (!g->failed)
        return TG_OK;
    struct tg_buf masked = TG_BUF_INIT(TEXT_MAX);
    rc = tg_mask_text(&masked, tg_str_of(why.msg));
    (void)snprintf(g->message, sizeof g->message, "%.*s", TG_STR_ARG(tg_buf_str(&masked)));
    tg_buf_fini(&masked);
    return rc;
}

int tg_trial_ask(const struct tg_trial_dest *d, const struct tg_event *event, struct tg_trial_gates *g,
                 struct tg_err *err)
{
    const struct tg_destination_config *c = d->config;
    struct tg_gate_rules rules = {0};
    struct tg_str options;
    int rc = TG_OK;
    *g = (struct tg_trial_gates){.shown = *event, .bytes = TG_BUF_INIT(SIZE_MAX)};
    if (c)
        rules = (struct tg_gate_rules){c->sources.v, c->sources.n, c->consent.v, c->consent.n};
    g->reason = tg_gate(d->dest, &rules, event, &options);
    if (!g->reason && c)
        rc = ask_filter(d, event, g, err);
    if (g->reason)
        explain(g, d);
    return rc;
}

void tg_trial_gates_fini(struct tg_trial_gates *g)
{
    tg_buf_fini(&g->bytes);
}
