#include "config/config.h"

#include "base/mem.h"

static void strings_fini(struct tg_strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        tg_free(s->v[i]);
    tg_free(s->v);
}

static void source_fini(struct tg_source_config *s)
{
    tg_free(s->name);
    strings_fini(&s->write_keys);
    strings_fini(&s->allowed_origins);
    strings_fini(&s->trusted_proxies);
}

static void destination_fini(struct tg_destination_config *d)
{
    tg_free(d->name);
    tg_free(d->script);
    tg_free(d->settings);
    tg_free(d->rates);
    tg_free(d->filter);
    strings_fini(&d->sources);
    strings_fini(&d->consent);
}

void tg_config_free(struct tg_config **config)
{
    struct tg_config *c = *config;
    if (!c)
        return;
    for (size_t i = 0; i < c->n_listen; i++) {
        tg_free(c->listen[i].addr);
        tg_free(c->listen[i].cert);
        tg_free(c->listen[i].key);
    }
    for (size_t i = 0; i < c->n_sources; i++)
        source_fini(&c->sources[i]);
    for (size_t i = 0; i < c->n_destinations; i++)
        destination_fini(&c->destinations[i]);
    tg_free(c->listen);
    tg_free(c->sources);
    tg_free(c->destinations);
    tg_free(c->admin);
    tg_free(c->admin_token);
    tg_free(c->spool.path);
    strings_fini(&c->egress.private_ok);
    tg_free(c->egress.proxy);
    tg_free(c->egress.ca_file);
    tg_free(c->log.level);
    tg_free(c->public_url);
    tg_free(c->analytics_js);
    strings_fini(&c->scripts);
    tg_free(c->lua_path);
    tg_free(c);
    *config = NULL;
}
