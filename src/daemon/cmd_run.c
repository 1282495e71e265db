/* `tidegate run` */
#include "daemon/cli.h"
#include "daemon/supervisor.h"

int tg_cmd_run(int argc, char **argv)
{
    bool bad = false;
    const char *path = tg_cli_config_path(&argc, argv, &bad);
    if (bad || tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    const struct tg_run_options options = {.config_path = path};
    return tg_supervisor_run(&options);
}
