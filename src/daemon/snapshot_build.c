#include "daemon/snapshot_build.h"

#include "base/clock.h"
#include "base/mem.h"
#include "config/loader.h"
#include "script/sources.h"

#include <stdio.h>

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
    for (size_t i = 0; config.n_files && i < c->n_destinations; i++) {
        const struct tg_destination_config *d = &c->destinations[i];
        char path[160];
        (void)snprintf(path, sizeof path, "destinations.%s.settings", d->name);
        struct tg_dest_spec spec = {d->name, path, tg_str_of(d->settings), tg_snapshot_script(s, d->script),
                                    d->has_filter ? &config : NULL};
        struct tg_dest *dest = NULL;
        if (spec.source && tg_dest_load(host, &spec, &dest, problems) == TG_OK)
            tg_dest_free(&dest);
    }
    tg_snapshot_config_source_fini(&config);
    tg_host_free(&host);
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
        c = tg_config_load(&s->text, problems);
    if (c)
        build(s, c, problems);
    if (tg_problems_any(problems))
        tg_snapshot_free(&s);
    if (config && s)
        *config = c;
    else
        tg_config_free(&c);
    return s;
}
