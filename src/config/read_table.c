#include "config/read_table.h"

#include "script/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_option(struct tg_reading *rd, const struct tg_option *o, void *target, const char *path)
{
    if (o->type == TG_OPT_SPECIAL)
        rd->special(rd, o, target, path);
    else if (o->type != TG_OPT_TABLE)
        tg_read_value(rd, o, (char *)target + o->offset, path);
    else if (lua_type(rd->L, -1) == LUA_TTABLE)
        tg_read_table(rd, o->sub, target, path);
    else
        tg_problem_type(rd, path, "a table");
}

static void problem_unknown(struct tg_reading *rd, const struct tg_option *options, const char *path,
                            const char *key)
{
    struct tg_nearest nearest;
    tg_nearest_init(&nearest, tg_str_of(key));
    for (const struct tg_option *o = options; o->name; o++)
        tg_nearest_try(&nearest, tg_str_of(o->name));
    if (nearest.best[0])
        tg_problem_add(rd->problems, NULL, path, "unknown option; did you mean '%s'?", nearest.best);
    else
        tg_problem_add(rd->problems, NULL, path, "unknown option");
}

void tg_join_path(char *out, const char *path, const char *key)
{
    (void)snprintf(out, TG_OPTION_PATH, "%s%s%s", path, *path ? "." : "", key);
}

static const struct tg_option *find_option(const struct tg_option *options, const char *name)
{
    for (; options->name; options++) {
        if (strcmp(options->name, name) == 0)
            return options;
    }
    return NULL;
}

static void check_keys(struct tg_reading *rd, const struct tg_option *options, const char *path)
{
    lua_State *L = rd->L;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        char at[TG_OPTION_PATH];
        if (lua_type(L, -2) != LUA_TSTRING) {
            tg_problem_add(rd->problems, NULL, *path ? path : NULL,
                           "has a value without a name; write name = value");
            continue;
        }
        const char *key = lua_tostring(L, -2);
        tg_join_path(at, path, key);
        if (!find_option(options, key))
            problem_unknown(rd, options, at, key);
    }
}

void tg_read_table(struct tg_reading *rd, const struct tg_option *options, void *target, const char *path)
{
    lua_State *L = rd->L;
    check_keys(rd, options, path);
    for (const struct tg_option *o = options; o->name; o++) {
        char at[TG_OPTION_PATH];
        tg_join_path(at, path, o->name);
        lua_pushstring(L, o->name);
        lua_rawget(L, -2);
        if (!lua_isnil(L, -1))
            read_option(rd, o, target, at);
        else if (o->required)
            tg_problem_add(rd->problems, NULL, at, "required");
        lua_pop(L, 1);
    }
}

void tg_set_defaults(struct tg_reading *rd, const struct tg_option *options, void *target)
{
    lua_State *L = rd->L;
    for (const struct tg_option *o = options; o->name; o++) {
        if (o->type == TG_OPT_TABLE)
            tg_set_defaults(rd, o->sub, target);
        if (!o->def)
            continue;
        if (strcmp(o->def, "true") == 0 || strcmp(o->def, "false") == 0)
            lua_pushboolean(L, o->def[0] == 't');
        else if (o->type == TG_OPT_UINT || o->type == TG_OPT_COUNT || o->type == TG_OPT_NUMBER)
            lua_pushnumber(L, strtod(o->def, NULL));
        else
            lua_pushstring(L, o->def);
        read_option(rd, o, target, o->name);
        lua_pop(L, 1);
    }
}
