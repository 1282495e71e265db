/* `tidegate dead`: finds the spool, then dead_cli.c does the work. */
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/control.h"
#include "daemon/dead_cli.h"

#include <stdio.h>
#include <string.h>

/* It needs to know which destinations there are, and their scripts. */
static int replay(int argc, char **argv)
{
    bool bad = false;
    const char *spool = tg_cli_option(&argc, argv, NULL, "--spool", &bad),
               *path = tg_cli_config_path(&argc, argv, &bad);
    if (spool) {
        (void)fprintf(stderr, "dead replay: not with --spool: it needs the configuration (-c FILE), for the "
                              "destinations and their scripts\n");
        return TG_EXIT_USAGE;
    }
    struct tg_config *config = bad ? NULL : tg_cli_config(path);
    if (!config)
        return bad ? TG_EXIT_USAGE : TG_EXIT_FAILED;
    const char **names = tg_calloc(config->n_destinations ? config->n_destinations : 1, sizeof *names);
    for (size_t i = 0; names && i < config->n_destinations; i++)
        names[i] = config->destinations[i].name;
    const struct tg_dead_world world = {.spool_dir = config->spool.path,
                                        .config_path = path,
                                        .destinations = names,
                                        .n_destinations = names ? config->n_destinations : 0,
                                        .wake = tg_control_wake,
                                        .differs = tg_control_differs};
    int status = tg_dead_main(&world, argc, argv, stdout, stderr);
    tg_free(names);
    tg_config_free(&config);
    return status;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

static bool known(const char *word)
{
    return strcmp(word, "ls") == 0 || strcmp(word, "show") == 0 || strcmp(word, "drop") == 0;
}

int tg_cmd_dead(int argc, char **argv)
{
    struct tg_cli_where where;
    bool help = asks_for_help(argc, argv);
    if (argc > 1 && strcmp(argv[1], "replay") == 0 && !help)
        return replay(argc, argv);
    if (!tg_cli_where(&argc, argv, &where))
        return TG_EXIT_USAGE;
    if (argc < 2 || help || !known(argv[1])) /* usage, and what is wrong: before any file is read */
        return tg_dead_main(&(struct tg_dead_world){.spool_dir = ""}, argc, argv, stdout, stderr);
    char *spool = tg_cli_spool(argv[0], &where);
    if (!spool)
        return TG_EXIT_FAILED;
    int status = tg_dead_main(&(struct tg_dead_world){.spool_dir = spool, .wake = tg_control_wake}, argc,
                              argv, stdout, stderr);
    tg_free(spool);
    return status;
}
