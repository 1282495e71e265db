#include "config/read_special.h"

#include "base/mem.h"
#include "config/checks.h"
#include "config/read_destinations.h"
#include "config/read_sources.h"
#include "config/read_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_listen_one(struct tg_reading *rd, const char *path)
{
    struct tg_config *c = rd->config;
    struct tg_listen *l = tg_add_item((void **)&c->listen, c->n_listen, sizeof *l);
    if (!l) {
        tg_problem_add(rd->problems, NULL, path, "out of memory");
        return;
    }
    c->n_listen++;
    if (lua_type(rd->L, -1) == LUA_TSTRING)
        tg_set_string(&l->addr, lua_tostring(rd->L, -1), lua_objlen(rd->L, -1), rd, path);
    else if (lua_type(rd->L, -1) == LUA_TTABLE)
        tg_read_table(rd, tg_listen_options, l, path);
    else
        tg_problem_type(rd, path, "an address or { addr, cert, key }");
    tg_check_address(l->addr, path, rd->problems);
    if (!l->cert != !l->key)
        tg_problem_add(rd->problems, NULL, path, "cert and key go together: %s is missing",
                       l->cert ? "key" : "cert");
}

static void read_listen(struct tg_reading *rd, const char *path)
{
    lua_State *L = rd->L;
    struct tg_config *c = rd->config;
    while (c->n_listen) { /* the default goes when the file says something */
        struct tg_listen *l = &c->listen[--c->n_listen];
        tg_free(l->addr);
        tg_free(l->cert);
        tg_free(l->key);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        read_listen_one(rd, path);
        return;
    }
    size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_objlen(L, -1) : 0;
    if (n == 0)
        tg_problem_type(rd, path, "a list of addresses, such as { \"127.0.0.1:8080\" }");
    for (size_t i = 1; i <= n; i++) {
        char item[TG_OPTION_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        read_listen_one(rd, item);
        lua_pop(L, 1);
    }
}

static void read_workers(struct tg_reading *rd, const struct tg_option *o, const char *path)
{
    double number;
    if (lua_type(rd->L, -1) == LUA_TSTRING && strcmp(lua_tostring(rd->L, -1), "auto") == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        rd->config->workers = cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
        return;
    }
    if (lua_type(rd->L, -1) != LUA_TNUMBER) {
        tg_problem_type(rd, path, "a number, or \"auto\"");
        return;
    }
    const struct tg_option count = {.type = TG_OPT_UINT, .min = o->min, .max = o->max};
    if (tg_read_number(rd, &count, path, &number))
        rd->config->workers = (unsigned)number;
}

static void read_sync(struct tg_reading *rd, const char *path)
{
    const char *s = lua_type(rd->L, -1) == LUA_TSTRING ? lua_tostring(rd->L, -1) : "";
    char *end = NULL;
    if (strcmp(s, "group") == 0) {
        rd->config->spool.sync = TG_SPOOL_SYNC_GROUP;
    } else if (strcmp(s, "none") == 0) {
        rd->config->spool.sync = TG_SPOOL_SYNC_NONE;
    } else if (strncmp(s, "interval:", 9) == 0) {
        double ms = strtod(s + 9, &end);
        if (end == s + 9 || (*end && strcmp(end, "ms") != 0) || ms < 1 || ms > 60000)
            tg_problem_type(rd, path, "\"interval:<ms>\" with 1 to 60000 ms");
        rd->config->spool.sync = TG_SPOOL_SYNC_INTERVAL;
        rd->config->spool.sync_interval_ms = (int64_t)ms;
    } else {
        tg_problem_type(rd, path, "\"group\", \"interval:<ms>\" or \"none\"");
    }
}

static void read_allow_private(struct tg_reading *rd, const char *path)
{
    struct tg_config *c = rd->config;
    if (lua_type(rd->L, -1) == LUA_TBOOLEAN) {
        c->egress.allow_private = lua_toboolean(rd->L, -1);
        return;
    }
    if (lua_type(rd->L, -1) == LUA_TTABLE)
        tg_read_strings(rd, &c->egress.private_ok, path, false);
    else
        tg_problem_type(rd, path, "true, false or a list of CIDRs such as { \"10.0.0.0/8\" }");
    c->egress.allow_private = c->egress.private_ok.n > 0;
}

void tg_read_special(struct tg_reading *rd, const struct tg_option *o, void *target, const char *path)
{
    if (strcmp(o->name, "listen") == 0)
        read_listen(rd, path);
    else if (strcmp(o->name, "workers") == 0)
        read_workers(rd, o, path);
    else if (strcmp(o->name, "sync") == 0)
        read_sync(rd, path);
    else if (strcmp(o->name, "allow_private") == 0)
        read_allow_private(rd, path);
    else if (strcmp(o->name, "sources") == 0)
        tg_read_sources(rd, path);
    else if (strcmp(o->name, "destinations") == 0)
        tg_read_destinations(rd, path);
    else if (strcmp(o->name, "filter") == 0)
        tg_read_filter(rd, target, path);
    else /* write_key, write_keys: both fill one list */
        tg_read_strings(rd, (struct tg_strings *)(void *)((char *)target + o->offset), path, false);
}
