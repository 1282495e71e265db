#include "config/read_sources.h"

#include "config/checks.h"
#include "config/read_table.h"

#include <stdio.h>

static void check_source(struct tg_reading *rd, const struct tg_source_config *s, const char *item)
{
    char path[TG_OPTION_PATH];
    tg_join_path(path, item, "name");
    if (s->name && !tg_plain_name(s->name))
        tg_problem_add(rd->problems, NULL, path, "use 1 to 63 letters, digits, '_', '-' or '.'");
    if (s->name && tg_known_source(rd->config, s->name, s))
        tg_problem_add(rd->problems, NULL, path, "there is another source '%s'", s->name);
    tg_join_path(path, item, "write_key");
    if (s->write_keys.n == 0)
        tg_problem_add(rd->problems, NULL, path, "required");
}

void tg_read_sources(struct tg_reading *rd, const char *path)
{
    lua_State *L = rd->L;
    struct tg_config *c = rd->config;
    size_t n = lua_type(L, -1) == LUA_TTABLE ? lua_objlen(L, -1) : 0;
    if (n == 0)
        tg_problem_type(rd, path,
                        "a list with at least one source: { { name = \"web\", write_key = \"…\" } }");
    for (size_t i = 1; i <= n; i++) {
        char item[TG_OPTION_PATH];
        (void)snprintf(item, sizeof item, "%s[%zu]", path, i);
        lua_rawgeti(L, -1, (int)i);
        struct tg_source_config *s = tg_add_item((void **)&c->sources, c->n_sources, sizeof *s);
        if (s)
            c->n_sources++;
        if (!s)
            tg_problem_add(rd->problems, NULL, item, "out of memory");
        else if (lua_type(L, -1) != LUA_TTABLE)
            tg_problem_type(rd, item, "a table");
        else {
            tg_set_defaults(rd, tg_source_options, s);
            tg_read_table(rd, tg_source_options, s, item);
            check_source(rd, s, item);
        }
        lua_pop(L, 1);
    }
}
