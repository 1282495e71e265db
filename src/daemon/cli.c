#include "daemon/cli.h"

#include "base/mem.h"
#include "config/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void remove_args(int *argc, char **argv, int at, int n)
{
    for (int i = at; i + n <= *argc; i++)
        argv[i] = argv[i + n]; /* the closing NULL too */
    *argc -= n;
}

static const char *value_after_equals(const char *arg, const char *name)
{
    size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

const char *tg_cli_option(int *argc, char **argv, const char *shorter, const char *longer, bool *bad)
{
    for (int i = 1; i < *argc; i++) {
        const char *value = value_after_equals(argv[i], longer);
        if (value) {
            remove_args(argc, argv, i, 1);
            return value;
        }
        if (strcmp(argv[i], longer) != 0 && (!shorter || strcmp(argv[i], shorter) != 0))
            continue;
        if (i + 1 >= *argc) {
            (void)fprintf(stderr, "tidegate: %s needs a value\n", argv[i]);
            *bad = true;
            return NULL;
        }
        value = argv[i + 1];
        remove_args(argc, argv, i, 2);
        return value;
    }
    return NULL;
}

bool tg_cli_flag(int *argc, char **argv, const char *shorter, const char *longer)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], longer) == 0 || (shorter && strcmp(argv[i], shorter) == 0)) {
            remove_args(argc, argv, i, 1);
            return true;
        }
    }
    return false;
}

static const char *default_config(void)
{
    const char *path = getenv("TIDEGATE_CONFIG");
    return path && *path ? path : "tidegate.lua";
}

const char *tg_cli_config_path(int *argc, char **argv, bool *bad)
{
    const char *path = tg_cli_option(argc, argv, "-c", "--config", bad);
    return path && *path ? path : default_config();
}

int tg_cli_usage(const char *command, const char *problem)
{
    if (problem)
        (void)fprintf(stderr, "tidegate %s: %s\n", command, problem);
    for (const struct tg_command *c = tg_commands; c->name; c++) {
        if (strcmp(c->name, command) == 0)
            (void)fprintf(stderr, "usage: tidegate %s%s%s\n(tidegate %s --help lists the options)\n", c->name,
                          *c->args ? " " : "", c->args, c->name);
    }
    return TG_EXIT_USAGE;
}

bool tg_cli_too_many(int argc, char **argv, int least, int most)
{
    char problem[256];
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            (void)snprintf(problem, sizeof problem, "unknown option %.200s", argv[i]);
            return tg_cli_usage(argv[0], problem) != 0;
        }
    }
    if (argc - 1 > most) {
        (void)snprintf(problem, sizeof problem, "unexpected argument %.200s", argv[most + 1]);
        return tg_cli_usage(argv[0], problem) != 0;
    }
    return argc - 1 < least && tg_cli_usage(argv[0], "an argument is missing") != 0;
}

struct tg_config *tg_cli_config(const char *path)
{
    struct tg_err err = {0};
    struct tg_config_text text;
    struct tg_config *config = NULL;
    if (tg_config_text_read(&text, path, &err)) {
        (void)fprintf(stderr, "tidegate: %s\n", err.msg);
        return NULL;
    }
    struct tg_problems problems;
    tg_problems_init(&problems);
    text.unset_is_empty = true;
    config = tg_config_load(&text, &problems);
    struct tg_buf report = TG_BUF_INIT(1024 * 1024);
    if (!config && tg_problems_print(&problems, &report) == TG_OK)
        (void)fwrite(report.data, 1, report.len, stderr);
    tg_buf_fini(&report);
    tg_problems_fini(&problems);
    tg_config_text_fini(&text);
    return config;
}

bool tg_cli_where(int *argc, char **argv, struct tg_cli_where *where)
{
    bool bad = false;
    where->spool = tg_cli_option(argc, argv, NULL, "--spool", &bad);
    const char *config = tg_cli_option(argc, argv, "-c", "--config", &bad);
    if (config && where->spool) {
        (void)fprintf(stderr,
                      "tidegate %s: -c would change nothing beside --spool, which names the spool's folder\n",
                      argv[0]);
        bad = true;
    }
    where->config = config ? config : default_config();
    return !bad;
}

char *tg_cli_spool(const char *command, const struct tg_cli_where *where)
{
    struct stat st;
    bool there = where->spool && stat(where->spool, &st) == 0;
    if (where->spool && !(there && S_ISDIR(st.st_mode))) {
        (void)fprintf(stderr, "tidegate %s: --spool %s: %s\n", command, where->spool,
                      there             ? "not a folder"
                      : errno == ENOENT ? "there is no such folder"
                                        : strerror(errno));
        return NULL;
    }
    if (where->spool)
        return tg_strdup(where->spool);
    struct tg_config *config = tg_cli_config(where->config);
    if (!config) {
        (void)fprintf(
            stderr, "tidegate %s: name the spool's folder with --spool DIR to do without the configuration\n",
            command);
        return NULL;
    }
    char *spool = tg_strdup(config->spool.path);
    tg_config_free(&config);
    return spool;
}
