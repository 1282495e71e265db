#include "config/loader.h"

#include "base/mem.h"
#include "config/checks.h"
#include "config/evaluate.h"
#include "config/read_special.h"
#include "config/read_table.h"

/* Walks what the file returned along the option tables: nothing of Lua survives but plain C. Runs inside the
 * protected call. */
static void read_whole(lua_State *L, void *arg)
{
    struct tg_reading *rd = arg;
    rd->L = L;
    if (!lua_istable(L, -1)) {
        tg_problem_add(rd->problems, rd->text->path, NULL,
                       "must return a table: return { listen = …, sources = …, destinations = … }");
        return;
    }
    tg_set_defaults(rd, tg_root_options, rd->config);
    tg_read_table(rd, tg_root_options, rd->config, "");
    tg_check_config(rd->config, rd->problems);
}

struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems)
{
    struct tg_reading rd = {.text = t,
                            .problems = problems,
                            .config = tg_calloc(1, sizeof(struct tg_config)),
                            .special = tg_read_special,
                            .json = TG_BUF_INIT(TG_CONFIG_MAX_FILE)};
    size_t before = problems->n + problems->lost;
    if (rd.config)
        tg_config_evaluate(t, problems, read_whole, &rd);
    else
        tg_problem_add(problems, NULL, NULL, "out of memory");
    tg_buf_fini(&rd.json);
    if (problems->n + problems->lost > before)
        tg_config_free(&rd.config);
    return rd.config;
}
