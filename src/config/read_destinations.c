#include "config/read_destinations.h"

#include "base/event_filter.h"
#include "base/json.h"
#include "config/checks.h"
#include "config/read_table.h"

#include <stdlib.h>
#include <string.h>

/* Whether the table at the top has it. */
static bool has_member(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    bool has = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has;
}

static void read_destination(struct tg_reading *rd, struct tg_destination_config *d, const char *name,
                             const char *path)
{
    if (!tg_plain_name(name))
        tg_problem_add(rd->problems, NULL, path, "the name must be 1 to 63 letters, digits, '_', '-' or '.'");
    tg_set_string(&d->name, name, strlen(name), rd, path);
    tg_set_defaults(rd, tg_destination_options, d);
    bool readable = lua_type(rd->L, -1) == LUA_TTABLE;
    if (readable)
        tg_read_table(rd, tg_destination_options, d, path);
    else
        tg_problem_type(rd, path, "a table");
    if (!d->script)
        tg_set_string(&d->script, name, strlen(name), rd, path);
    if (readable && !d->settings && !has_member(rd->L, "settings"))
        tg_set_string(&d->settings, "{}", 2, rd, path);
}

static int by_destination_name(const void *a, const void *b)
{
    const struct tg_destination_config *x = a, *y = b;
    return strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

void tg_read_destinations(struct tg_reading *rd, const char *path)
{
    lua_State *L = rd->L;
    struct tg_config *c = rd->config;
    if (lua_type(L, -1) != LUA_TTABLE) {
        tg_problem_type(rd, path, "a table: { name = { settings = { … } } }");
        return;
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char item[TG_OPTION_PATH];
        if (lua_type(L, -2) != LUA_TSTRING) {
            tg_problem_add(rd->problems, NULL, path, "each destination needs a name: name = { … }");
            continue;
        }
        const char *name = lua_tostring(L, -2);
        tg_join_path(item, path, name);
        struct tg_destination_config *d =
            tg_add_item((void **)&c->destinations, c->n_destinations, sizeof *d);
        if (!d) {
            tg_problem_add(rd->problems, NULL, item, "out of memory");
            continue;
        }
        c->n_destinations++;
        read_destination(rd, d, name, item);
    }
    if (c->n_destinations)
        qsort(c->destinations, c->n_destinations, sizeof *c->destinations, by_destination_name);
}

void tg_read_filter(struct tg_reading *rd, struct tg_destination_config *d, const char *path)
{
    struct tg_err err = {0};
    struct tg_str spec;
    d->has_filter = lua_type(rd->L, -1) == LUA_TFUNCTION;
    if (d->has_filter)
        return;
    if (lua_type(rd->L, -1) != LUA_TTABLE) {
        tg_problem_type(rd, path, "a function of the event, or a table");
        return;
    }
    tg_read_object(rd, &d->filter, path);
    if (!d->filter)
        return;
    int rc = tg_json_validate(tg_str_of(d->filter), TG_JSON_MAX_DEPTH, &spec, &err);
    if (!rc)
        rc = tg_filter_check(spec, &err);
    if (rc)
        tg_problem_add(rd->problems, NULL, path, "%s", err.msg);
}
