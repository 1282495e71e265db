#include "config/loader.h"

#include "base/file.h"
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

/* What is said of a stand-in: that its value is missing has been said. */
static bool about_stand_in(const struct tg_problem *problem, void *arg)
{
    (void)arg;
    return tg_config_has_stand_in(tg_str_of(problem->reason));
}

struct tg_config *tg_config_read(struct tg_config_text *t, struct tg_problems *problems)
{
    struct tg_reading rd = {.text = t,
                            .problems = problems,
                            .config = tg_calloc(1, sizeof(struct tg_config)),
                            .special = tg_read_special,
                            .json = TG_BUF_INIT(TG_FILE_MAX)};
    size_t before = problems->n;
    if (!rd.config)
        tg_problem_add(problems, NULL, NULL, "out of memory");
    else if (!tg_config_evaluate(t, problems, read_whole, &rd))
        tg_config_free(&rd.config);
    if (t->stood_in)
        tg_problems_drop(problems, before, about_stand_in, NULL);
    tg_buf_fini(&rd.json);
    return rd.config;
}

struct tg_config *tg_config_load(struct tg_config_text *t, struct tg_problems *problems)
{
    size_t before = problems->n + problems->lost;
    struct tg_config *config = tg_config_read(t, problems);
    if (problems->n + problems->lost > before)
        tg_config_free(&config);
    return config;
}
