#include "script/dest.h"

#include "base/mem.h"
#include "script/cache.h"
#include "script/link.h"
#include "script/rebuild.h"

void tg_dest_free(struct tg_dest **dest)
{
    if (!*dest)
        return;
    struct tg_dest_impl *d = (*dest)->impl;
    tg_dest_unlink(d);
    for (struct tg_dest_impl **at = &d->host->dests; *at; at = &(*at)->next)
        if (*at == d) {
            *at = d->next;
            break;
        }
    tg_contract_fini(&d->pub);
    tg_free(d->joins);
    tg_free(d->splits);
    tg_free(d->settings_json);
    tg_free(d->settings_path);
    tg_free(d->rates_json);
    tg_script_source_free(&d->source);
    tg_script_source_free(&d->config);
    tg_cache_free(&d->cache);
    tg_free(d);
    *dest = NULL;
}

static int fill(struct tg_dest_impl *d, const struct tg_dest_spec *spec)
{
    d->pub.name = tg_strdup(spec->name);
    d->pub.script = tg_strdup(spec->source->name);
    d->settings_json = tg_strndup(spec->settings.n ? spec->settings.p : "", spec->settings.n);
    d->settings_path = tg_strdup(spec->settings_path ? spec->settings_path : "settings");
    d->rates_json = spec->rates ? tg_strdup(spec->rates) : NULL;
    if (!d->pub.name || !d->pub.script || !d->settings_json || !d->settings_path ||
        !spec->rates != !d->rates_json)
        return TG_NOMEM;
    d->pub.has_filter = spec->config != NULL;
    int rc = spec->config ? tg_script_source_copy(&d->config, spec->config) : TG_OK;
    return rc ? rc : tg_script_source_copy(&d->source, spec->source);
}

int tg_dest_load(struct tg_host *host, const struct tg_dest_spec *spec, struct tg_dest **out,
                 struct tg_problems *problems)
{
    struct tg_err err;
    if (tg_host_ready(host, &err)) {
        tg_problem_add(problems, NULL, spec->name, "%s", err.msg);
        return TG_INVALID;
    }
    struct tg_dest_impl *d = tg_calloc(1, sizeof *d);
    if (!d) {
        tg_problem_add(problems, NULL, spec->name, "out of memory");
        return TG_INVALID;
    }
    d->pub.impl = d;
    d->pub.host = host;
    d->host = host;
    d->env = d->loaded = LUA_NOREF;
    struct tg_dest *dest = &d->pub;
    if (fill(d, spec)) {
        tg_problem_add(problems, NULL, spec->name, "out of memory");
        tg_dest_free(&dest);
        return TG_INVALID;
    }
    struct tg_problems own;
    tg_problems_init(&own); /* others' problems must not make this one bad */
    int rc = tg_dest_link(d, &own);
    for (size_t i = 0; i < own.n; i++)
        tg_problem_add(problems, own.items[i].where, own.items[i].path, "%s", own.items[i].reason);
    problems->lost += own.lost;
    tg_problems_fini(&own);
    if (rc) {
        tg_dest_free(&dest);
        return TG_INVALID;
    }
    d->next = host->dests;
    host->dests = d;
    *out = dest;
    return TG_OK;
}

void tg_dest_forget(struct tg_dest *dest)
{
    struct tg_dest_impl *d = dest->impl;
    if (d->cache)
        tg_cache_clear(d->cache);
}
