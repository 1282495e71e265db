#include "daemon/script_paths.h"

#include "daemon/cli.h"

#include <stdio.h>

enum { DIRS_MAX = sizeof((struct tg_script_paths *)0)->dirs / sizeof(char *) };

bool tg_script_paths_take(struct tg_script_paths *paths, int *argc, char **argv)
{
    *paths = (struct tg_script_paths){0};
    bool bad = false;
    for (const char *dir;
         paths->n_dirs < DIRS_MAX && (dir = tg_cli_option(argc, argv, NULL, "--scripts", &bad));)
        paths->dirs[paths->n_dirs++] = dir;
    paths->lua = tg_cli_option(argc, argv, NULL, "--lua", &bad);
    const char *config = tg_cli_option(argc, argv, "-c", "--config", &bad);
    if (bad)
        return false;
    if (config && !(paths->config = tg_cli_config(config)))
        return false;
    for (size_t i = 0; config && i < paths->config->scripts.n && paths->n_dirs < DIRS_MAX; i++)
        paths->dirs[paths->n_dirs++] = paths->config->scripts.v[i];
    if (config && !paths->lua)
        paths->lua = paths->config->lua_path;
    if (paths->n_dirs < DIRS_MAX)
        paths->dirs[paths->n_dirs++] = "."; /* where `new` puts a script */
    return true;
}

void tg_script_paths_fini(struct tg_script_paths *paths)
{
    tg_config_free(&paths->config);
}
