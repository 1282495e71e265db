/* `tidegate dead`: finds the spool, then dead_cli.c does the work. */
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/dead_cli.h"

#include <stdio.h>
#include <string.h>

int tg_cmd_dead(int argc, char **argv)
{
    int status;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return tg_dead_main("", argc, argv, stdout, stderr);
    char *spool = tg_cli_spool(&argc, argv, &status);
    if (!spool)
        return status;
    status = tg_dead_main(spool, argc, argv, stdout, stderr);
    tg_free(spool);
    return status;
}
