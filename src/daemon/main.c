/* The command line: `tidegate COMMAND …`. Every command has a file of its own; this one is their table of
 * contents. */
#include "daemon/cli.h"
#include "daemon/cmd_catch.h"
#include "daemon/cmd_demo.h"
#include "daemon/cmd_describe.h"
#include "daemon/cmd_forget.h"
#include "daemon/cmd_new.h"
#include "daemon/cmd_send.h"
#include "daemon/cmd_spool.h"
#include "daemon/cmd_test.h"
#include "daemon/cmd_try.h"

#include <stdio.h>
#include <string.h>

const struct tg_command tg_commands[] = {
    {"run", "[-c FILE]", "run the relay", tg_cmd_run},
    {"check", "[-c FILE]", "check configuration, scripts and settings; say everything that is wrong",
     tg_cmd_check},
    {"config", "--example", "print a commented configuration with every option", tg_cmd_config},
    {"status", "[-c FILE] [--json]", "what the running relay does", tg_cmd_control},
    {"reload", "[-c FILE]", "check the configuration and swap it in", tg_cmd_control},
    {"stop", "[-c FILE]", "stop the running relay in order", tg_cmd_control},
    {"pause", "[-c FILE] DEST", "hold a destination's events back", tg_cmd_control},
    {"resume", "[-c FILE] DEST", "let a paused or parked destination go on", tg_cmd_control},
    {"dead", "[-c FILE] ls|show|replay|drop …", "look at dead letters, send them again, drop them",
     tg_cmd_dead},
    {"forget", "[-c FILE] --user-id ID", "remove a user's events that have not been delivered",
     tg_cmd_forget},
    {"spool", "[-c FILE] ls|cat|verify …", "look into the event log", tg_cmd_spool},
    {"try",
     "SCRIPT --settings F [--scripts DIR] | [-c FILE] --dest NAME [--source NAME]  --event F [--responses F] "
     "[--at "
     "TIME] [--reveal]",
     "render one event without sending", tg_cmd_try},
    {"test", "[--scripts DIR] [-v] [--update] [--watch] [SCRIPT…]", "run the fixtures of scripts",
     tg_cmd_test},
    {"new", "NAME [--dir DIR]", "start a script, with a fixture that says what to write", tg_cmd_new},
    {"describe", "SCRIPT [--scripts DIR] [--settings F]", "a script's contract as JSON", tg_cmd_describe},
    {"send", "[-c FILE] [--url URL] [--key KEY] FILE", "post events as a client", tg_cmd_send},
    {"catch", "[-l ADDR] [--status N] …", "a stand-in partner that shows every request that it gets",
     tg_cmd_catch},
    {"demo", "[--once]", "relay and stand-in partner together: sample events in, requests out", tg_cmd_demo},
    {"version", "", "print the version", tg_cmd_version},
    {"help", "", "print this", tg_cmd_help},
    {NULL, NULL, NULL, NULL},
};

int tg_cmd_version(int argc, char **argv)
{
    if (tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    (void)printf("tidegate %s\n", TG_VERSION);
    return TG_EXIT_OK;
}

static void print_help(FILE *out)
{
    (void)fprintf(out, "tidegate: a relay for customer events\n\nusage: tidegate COMMAND [ARGUMENTS]\n\n");
    for (const struct tg_command *c = tg_commands; c->name; c++)
        (void)fprintf(out, "  %-8s %s\n           tidegate %s%s%s\n", c->name, c->help, c->name,
                      *c->args ? " " : "", c->args);
    (void)fprintf(out,
                  "\nThe configuration is tidegate.lua in this folder, $TIDEGATE_CONFIG, or what -c names. "
                  "Commands that only need\n"
                  "the spool (status, reload, stop, pause, resume, dead, spool) also take --spool DIR.\n");
}

int tg_cmd_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_help(stdout);
    return TG_EXIT_OK;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    for (const struct tg_command *c = tg_commands; c->name; c++) {
        if (strcmp(c->name, name) != 0)
            continue;
        for (int i = 2; i < argc; i++) {
            if (strcmp(argv[i], "--help") == 0) {
                (void)printf("tidegate %s: %s\nusage: tidegate %s%s%s\n", c->name, c->help, c->name,
                             *c->args ? " " : "", c->args);
                return TG_EXIT_OK;
            }
        }
        argv[1] = (char *)c->name;
        return c->run(argc - 1, argv + 1);
    }
    if (*name)
        (void)fprintf(stderr, "tidegate: there is no command '%s'\n\n", name);
    print_help(stderr);
    return TG_EXIT_USAGE;
}
