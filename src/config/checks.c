#include "config/checks.h"

#include "base/ip.h"
#include "base/mem.h"
#include "base/url.h"
#include "config/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tg_check_address(const char *addr, const char *path, struct tg_problems *problems)
{
    const char *colon = addr ? strrchr(addr, ':') : NULL;
    char *end;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (addr && (!colon || colon == addr || colon[1] == '\0' || *end || port < 0 || port > 65535))
        tg_problem_add(problems, NULL, path,
                       "\"%s\" is not an address: write host:port, such as 127.0.0.1:8080", addr);
}

bool tg_plain_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n && s[0] != '.';
}

bool tg_known_source(const struct tg_config *c, const char *name, const struct tg_source_config *but)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        if (&c->sources[i] != but && c->sources[i].name && strcmp(c->sources[i].name, name) == 0)
            return true;
    }
    return false;
}

static void check_keys_unique(const struct tg_config *c, struct tg_problems *problems)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        for (size_t k = 0; k < c->sources[i].write_keys.n; k++) {
            const char *key = c->sources[i].write_keys.v[k];
            char path[TG_OPTION_PATH];
            (void)snprintf(path, sizeof path, "sources[%zu].write_key", i + 1);
            if (!*key)
                tg_problem_add(problems, NULL, path, "must not be empty");
            for (size_t j = 0; j < i; j++) {
                for (size_t m = 0; m < c->sources[j].write_keys.n; m++) {
                    if (strcmp(key, c->sources[j].write_keys.v[m]) == 0)
                        tg_problem_add(problems, NULL, path,
                                       "is also a key of source '%s'; a key names one source",
                                       c->sources[j].name ? c->sources[j].name : "?");
                }
            }
        }
    }
}

static bool loopback(const char *addr)
{
    return strncmp(addr, "127.", 4) == 0 || strncmp(addr, "[::1]:", 6) == 0 ||
           strncmp(addr, "localhost:", 10) == 0;
}

/* What the relay refuses before it knows the source cannot be allowed to one source. */
static void check_source_limit(struct tg_problems *problems, size_t source, const char *name, uint64_t own,
                               uint64_t relays)
{
    char path[TG_OPTION_PATH];
    (void)snprintf(path, sizeof path, "sources[%zu].limits.%s", source + 1, name);
    if (own > relays)
        tg_problem_add(problems, NULL, path,
                       "is %" PRIu64 ", more than limits.%s (%" PRIu64
                       "), which holds for all sources; raise that too",
                       own, name, relays);
}

static void check_source_limits(const struct tg_config *c, struct tg_problems *problems)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct tg_source_config *s = &c->sources[i];
        check_source_limit(problems, i, "body", s->limits.body, c->limits.body);
        check_source_limit(problems, i, "event", s->limits.event, c->limits.event);
        check_source_limit(problems, i, "batch", s->limits.batch, c->limits.batch);
    }
}

static void check_cidrs(const struct tg_strings *list, const char *path, struct tg_problems *problems)
{
    for (size_t i = 0; i < list->n; i++) {
        struct tg_cidr cidr;
        struct tg_err err = {0};
        char at[TG_OPTION_PATH];
        (void)snprintf(at, sizeof at, "%s[%zu]", path, i + 1);
        if (tg_cidr_parse(tg_str_of(list->v[i]), &cidr, &err))
            tg_problem_add(problems, NULL, at, "%s", err.msg);
    }
}

static void check_networks(const struct tg_config *c, struct tg_problems *problems)
{
    check_cidrs(&c->egress.private_ok, "egress.allow_private", problems);
    for (size_t i = 0; i < c->n_sources; i++) {
        char path[TG_OPTION_PATH];
        (void)snprintf(path, sizeof path, "sources[%zu].trusted_proxies", i + 1);
        check_cidrs(&c->sources[i].trusted_proxies, path, problems);
    }
}

/* As browsers write it in the Origin header; apps have schemes of their own. */
static bool is_origin(const char *s)
{
    const char *host = strstr(s, "://");
    if (!host)
        return strcmp(s, "*") == 0 || strcmp(s, "null") == 0;
    return host > s && host[3] && !strpbrk(host + 3, "/?# ");
}

static void check_origins(const struct tg_config *c, struct tg_problems *problems)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct tg_strings *origins = &c->sources[i].allowed_origins;
        for (size_t k = 0; k < origins->n; k++) {
            char path[TG_OPTION_PATH];
            (void)snprintf(path, sizeof path, "sources[%zu].allowed_origins[%zu]", i + 1, k + 1);
            if (!is_origin(origins->v[k]))
                tg_problem_add(problems, NULL, path,
                               "\"%s\" matches no browser: write scheme and host, and the port if there is "
                               "one, such as https://shop.example, or \"*\"",
                               origins->v[k]);
        }
    }
}

static void check_forgetting(const struct tg_config *c, struct tg_problems *problems)
{
    for (size_t i = 0; i < c->n_sources; i++) {
        char path[TG_OPTION_PATH];
        (void)snprintf(path, sizeof path, "sources[%zu].forget_on_delete", i + 1);
        if (c->sources[i].forget_on_delete && !c->sources[i].allow_delete)
            tg_problem_add(problems, NULL, path,
                           "needs allow_delete = true: without it the source's delete events are refused");
    }
}

void tg_check_config(struct tg_config *c, struct tg_problems *problems)
{
    if (c->admin && strcmp(c->admin, "off") == 0) {
        tg_free(c->admin);
        c->admin = NULL;
    }
    tg_check_address(c->admin, "admin", problems);
    if (c->admin && !loopback(c->admin) && (!c->admin_token || !*c->admin_token))
        tg_problem_add(problems, NULL, "admin_token",
                       "required, because admin (%s) is not a loopback address", c->admin);
    check_keys_unique(c, problems);
    check_source_limits(c, problems);
    check_forgetting(c, problems);
    check_networks(c, problems);
    check_origins(c, problems);
    struct tg_url url;
    struct tg_err err = {0};
    if (c->public_url && tg_url_parse(tg_str_of(c->public_url), &url, &err))
        tg_problem_add(problems, NULL, "public_url", "%s", err.msg);
    else if (c->public_url && (url.query.n || url.fragment.n))
        tg_problem_add(problems, NULL, "public_url", "must not have a query or a fragment");
    for (size_t i = 0; i < c->n_destinations; i++) {
        const struct tg_destination_config *d = &c->destinations[i];
        for (size_t k = 0; k < d->sources.n; k++) {
            if (!tg_known_source(c, d->sources.v[k], NULL))
                tg_problem_add(problems, NULL, NULL, "destinations.%s.sources[%zu]: there is no source '%s'",
                               d->name, k + 1, d->sources.v[k]);
        }
        if (d->retry.first_ms > d->retry.max_ms)
            tg_problem_add(problems, NULL, NULL, "destinations.%s.retry.first: is longer than retry.max",
                           d->name);
    }
}
