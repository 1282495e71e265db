/* What the commands share: their list, options, and finding the spool. */
#ifndef TG_DAEMON_CLI_H
#define TG_DAEMON_CLI_H

#include "config/config.h"

#include <stdbool.h>

enum { TG_EXIT_OK = 0, TG_EXIT_FAILED = 1, TG_EXIT_USAGE = 2 };

struct tg_command {
    const char *name;
    const char *args;                  /* for the usage line */
    const char *help;                  /* one line */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};
extern const struct tg_command tg_commands[]; /* ends with a NULL name */

/* Takes `--name VALUE`, `--name=VALUE` or the short form out of argv; NULL when it is not there. *bad is set
 * when the value is missing. */
const char *tg_cli_option(int *argc, char **argv, const char *shorter, const char *longer, bool *bad);
bool tg_cli_flag(int *argc, char **argv, const char *shorter, const char *longer);
/* The configuration file: -c FILE, else $TIDEGATE_CONFIG, else tidegate.lua. */
const char *tg_cli_config_path(int *argc, char **argv, bool *bad);
/* Says what is wrong with the arguments that are left (from `first` on; at most `most` are expected), with
 * the usage line of the command. False when nothing is. */
bool tg_cli_too_many(int argc, char **argv, int least, int most);
/* Prints the usage line of a command to stderr, after `problem` if not NULL. Returns TG_EXIT_USAGE. */
int tg_cli_usage(const char *command, const char *problem);

/* Evaluates the configuration for a command that only needs to know where things are: variables that are not
 * set in this shell count as empty. NULL after saying why on stderr. */
struct tg_config *tg_cli_config(const char *path);

/* Where the spool is, for commands that need nothing else of the configuration: options first, so that the
 * arguments that are left can be checked before any file is read. */
struct tg_cli_where {
    const char *spool;  /* --spool DIR, or NULL */
    const char *config; /* as tg_cli_config_path */
};
/* Takes --spool and -c out of argv; false when a value is missing (said already). */
bool tg_cli_where(int *argc, char **argv, struct tg_cli_where *where);
/* The spool's folder: --spool, else what the configuration says. Freed with tg_free. NULL after saying why on
 * stderr. */
char *tg_cli_spool(const char *command, const struct tg_cli_where *where);

int tg_cmd_run(int argc, char **argv);
int tg_cmd_check(int argc, char **argv);
int tg_cmd_config(int argc, char **argv);
int tg_cmd_control(int argc, char **argv); /* reload, stop, status, pause, resume */
int tg_cmd_dead(int argc, char **argv);
int tg_cmd_version(int argc, char **argv);
int tg_cmd_help(int argc, char **argv);

#endif
