#include "daemon/snapshot_build.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/loader.h"
#include "ingest/http_tls.h"
#include "script/folders.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static char *copy_or_null(const char *s, bool *ok)
{
    char *copy = s ? tg_strdup(s) : NULL;
    if (s && !copy)
        *ok = false;
    return copy;
}

static bool fill_plain(struct tg_plain *p, const struct tg_config *c)
{
    bool ok = true;
    p->listen = tg_calloc(c->n_listen, sizeof *p->listen);
    p->destinations = tg_calloc(c->n_destinations, sizeof *p->destinations);
    if (!p->listen || !p->destinations)
        return false;
    for (size_t i = 0; i < c->n_listen; i++)
        p->listen[p->n_listen++] = copy_or_null(c->listen[i].addr, &ok);
    for (size_t i = 0; i < c->n_destinations; i++)
        p->destinations[p->n_destinations++] = copy_or_null(c->destinations[i].name, &ok);
    p->admin = copy_or_null(c->admin, &ok);
    p->spool_path = copy_or_null(c->spool.path, &ok);
    p->log_level = copy_or_null(c->log.level, &ok);
    p->log_json = c->log.json;
    p->workers = c->workers;
    p->stop_ms = c->stop_ms;
    p->hard_ms = c->script.hard_ms;
    p->hang_ms = c->hang_ms;
    p->reload_on_change = c->reload_on_change;
    p->dedup_window_ms = c->dedup.window_ms;
    p->dedup_entries = c->dedup.max_entries;
    p->sync = (uint64_t)c->spool.sync_interval_ms << 2 | (uint64_t)c->spool.sync;
    return ok;
}

static void add_script(struct tg_snapshot *s, const struct tg_config *c,
                       const struct tg_destination_config *d, struct tg_problems *problems)
{
    struct tg_err err = {0};
    char path[128];
    if (tg_snapshot_script(s, d->script))
        return;
    (void)snprintf(path, sizeof path, "destinations.%s.script", d->name);
    struct tg_script_source *more = tg_realloc(s->scripts, (s->n_scripts + 1) * sizeof *more);
    if (!more) {
        tg_problem_add(problems, NULL, path, "out of memory");
        return;
    }
    s->scripts = more;
    if (tg_script_source_find((const char *const *)c->scripts.v, c->scripts.n, d->script, &more[s->n_scripts],
                              &err))
        tg_problem_add(problems, NULL, path, "%s", err.msg);
    else
        s->n_scripts++;
}

/* What is said of a setting whose value stands in for one that is missing, which has been said. */
static bool about_stand_in(const struct tg_problem *problem, void *arg)
{
    const struct tg_dest_spec *spec = arg;
    size_t n = strlen(spec->settings_path);
    const char *path = problem->path ? problem->path : "";
    struct tg_str settings, value = {NULL, 0};
    if (strncmp(path, spec->settings_path, n) == 0 && path[n] == '.' &&
        tg_json_validate(spec->settings, TG_JSON_MAX_DEPTH, &settings, NULL) == TG_OK)
        value = tg_json_get(settings, path + n + 1);
    return tg_config_has_stand_in(value) || tg_config_has_stand_in(tg_str_of(problem->reason));
}

/* `config` is where its filter is, when that is a function. */
static void check_destination(const struct tg_snapshot *s, const struct tg_destination_config *d,
                              const struct tg_script_source *config, struct tg_host *host,
                              struct tg_problems *problems)
{
    char path[160];
    (void)snprintf(path, sizeof path, "destinations.%s.settings", d->name);
    struct tg_dest_spec spec = {.name = d->name,
                                .settings_path = path,
                                .settings = tg_str_of(d->settings),
                                .source = tg_snapshot_script(s, d->script),
                                .config = d->has_filter && !s->text.stood_in ? config : NULL,
                                .rates = d->rates};
    struct tg_dest *dest = NULL;
    size_t before = problems->n;
    if (d->settings && spec.source && tg_dest_load(host, &spec, &dest, problems) == TG_OK)
        tg_dest_free(&dest);
    if (s->text.stood_in)
        tg_problems_drop(problems, before, about_stand_in, &spec);
}

/* Loads every destination once into a host of its own: that is the check. */
static void check_destinations(const struct tg_snapshot *s, const struct tg_config *c,
                               struct tg_problems *problems)
{
    struct tg_err err = {0};
    struct tg_host *host = NULL;
    struct tg_host_options options = {
        .memory_bytes = c->script.memory_bytes,
        .soft_limit_us = c->script.soft_ms * 1000,
        .allow_private = c->egress.allow_private,
        .library = s->library,
        .fixed_now = TG_NO_TIME,
    };
    if (tg_host_new(&options, &host, &err)) {
        tg_problem_add(problems, NULL, NULL, "%s", err.msg);
        return;
    }
    struct tg_script_source config;
    if (tg_snapshot_config_source(s, &config))
        tg_problem_add(problems, NULL, NULL, "out of memory");
    for (size_t i = 0; config.n_files && i < c->n_destinations; i++)
        check_destination(s, &c->destinations[i], &config, host, problems);
    tg_snapshot_config_source_fini(&config);
    tg_host_free(&host);
}

/* Files that workers read by themselves, each time that they start: what is wrong is said before. */
static void check_files(const struct tg_config *c, struct tg_problems *problems)
{
    for (size_t i = 0; i < c->n_listen; i++) {
        const struct tg_listen *l = &c->listen[i];
        struct tg_http_tls *tls = NULL;
        struct tg_err err = {0};
        char path[64];
        (void)snprintf(path, sizeof path, "listen[%zu]", i + 1);
        if (l->cert && l->key && tg_http_tls_new(&tls, l->cert, l->key, &err))
            tg_problem_add(problems, NULL, path, "%s", err.msg);
        tg_http_tls_free(&tls);
    }
    if (c->egress.ca_file && access(c->egress.ca_file, R_OK) != 0)
        tg_problem_add(problems, NULL, "egress.ca_file", "%s: %s", c->egress.ca_file, strerror(errno));
}

static void build(struct tg_snapshot *s, const struct tg_config *c, struct tg_problems *problems)
{
    struct tg_err err = {0};
    if (!fill_plain(&s->plain, c))
        tg_problem_add(problems, NULL, NULL, "out of memory");
    if (tg_script_library_find(c->lua_path, &s->library, &err)) {
        tg_problem_add(problems, NULL, "lua_path", "%s", err.msg);
        return;
    }
    for (size_t i = 0; i < c->n_destinations; i++)
        add_script(s, c, &c->destinations[i], problems);
    check_destinations(s, c, problems);
    check_files(c, problems);
}

struct tg_snapshot *tg_snapshot_build(const char *config_path, uint64_t generation, struct tg_config **config,
                                      struct tg_problems *problems)
{
    struct tg_err err = {0};
    struct tg_config *c = NULL;
    struct tg_snapshot *s = tg_calloc(1, sizeof *s);
    if (!s) {
        tg_problem_add(problems, NULL, NULL, "out of memory");
        return NULL;
    }
    s->generation = generation;
    if (tg_config_text_read(&s->text, config_path, &err))
        tg_problem_add(problems, NULL, NULL, "%s", err.msg);
    else
        c = tg_config_read(&s->text, problems);
    if (c) /* with problems too: those of scripts and settings are told at the same time */
        build(s, c, problems);
    if (tg_problems_any(problems))
        tg_snapshot_free(&s);
    if (config && s)
        *config = c;
    else
        tg_config_free(&c);
    return s;
}
