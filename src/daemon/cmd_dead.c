/* `tidegate dead`: finds the spool, then dead_cli.c does the work. */
#include "daemon/cli.h"
#include "daemon/dead_cli.h"

#include <stdio.h>
#include <string.h>

int tg_cmd_dead(int argc, char **argv)
{
    bool bad = false;
    const char *path = tg_cli_config_path(&argc, argv, &bad);
    if (bad)
        return TG_EXIT_USAGE;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return tg_dead_main("", argc, argv, stdout, stderr);
    struct tg_config *config = tg_cli_config(path);
    if (!config)
        return TG_EXIT_FAILED;
    int code = tg_dead_main(config->spool.path, argc, argv, stdout, stderr);
    tg_config_free(&config);
    return code;
}
