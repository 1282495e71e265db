/* Where `try` and `test` find scripts and the library: --scripts DIR, what the configuration named by -c
 * says, the folder that one is in, the shipped ones. */
#ifndef TG_DAEMON_SCRIPT_PATHS_H
#define TG_DAEMON_SCRIPT_PATHS_H

#include "config/config.h"

#include <stdbool.h>

struct tg_script_paths {
    struct tg_config *config; /* or NULL */
    const char *dirs[16];
    size_t n_dirs;
    const char *lua; /* NULL: the shipped library */
};
/* Takes --scripts, --lua and -c out of argv. False after saying what is wrong. */
bool tg_script_paths_take(struct tg_script_paths *paths, int *argc, char **argv);
void tg_script_paths_fini(struct tg_script_paths *paths);

#endif
