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
#include "daemon/help.h"
#include "script/folders.h"

#include <stdio.h>
#include <string.h>

const struct tg_command tg_commands[] = {
    {"run", "[-c FILE]", "run the relay", tg_cmd_run},
    {"check", "[-c FILE] [--no-fixtures]",
     "check configuration, scripts, settings and fixtures; say everything that is wrong", tg_cmd_check},
    {"config", "--example", "print a commented configuration with every option", tg_cmd_config},
    {"status", "[-c FILE] [--json]", "what the running relay does", tg_cmd_control},
    {"reload", "[-c FILE]", "check the configuration and swap it in", tg_cmd_control},
    {"stop", "[-c FILE]", "stop the running relay in order", tg_cmd_control},
    {"pause", "[-c FILE] DEST", "hold a destination's events back", tg_cmd_control},
    {"resume", "[-c FILE] DEST", "let a paused or parked destination go on", tg_cmd_control},
    {"dead", "ls|show|replay|drop [OPTIONS] [-c FILE]", "look at dead letters, send them again, drop them",
     tg_cmd_dead},
    {"forget", "[-c FILE] --user-id ID [--json]", "remove a user's events that have not been delivered",
     tg_cmd_forget},
    {"spool", "ls|cat|verify [-c FILE] [--json]", "look into the event log", tg_cmd_spool},
    {"try",
     "SCRIPT --settings F [-c FILE] | --dest NAME [--source NAME] [-c FILE]  --event F [--responses F] "
     "[--at TIME] [--reveal]",
     "render one event without sending", tg_cmd_try},
    {"test", "[--scripts DIR] [-v] [--update] [--watch] [SCRIPT…]", "run the fixtures of scripts",
     tg_cmd_test},
    {"new", "NAME [--dir DIR]", "start a script, with a fixture that says what to write", tg_cmd_new},
    {"describe", "SCRIPT [--scripts DIR] [--settings F]", "a script's contract as JSON", tg_cmd_describe},
    {"send", "[-c FILE] [--url URL] [--key KEY] FILE", "post events as a client", tg_cmd_send},
    {"catch", "[-l ADDR] [--status N,N,…] [OPTIONS]",
     "a stand-in partner that shows every request that it gets", tg_cmd_catch},
    {"demo", "[--once] [--dir DIR]", "relay and stand-in partner together: sample events in, requests out",
     tg_cmd_demo},
    {"version", "", "print the version", tg_cmd_version},
    {"help", "[COMMAND]", "print this, or what a command takes", tg_cmd_help},
    {NULL, NULL, NULL, NULL},
};

int tg_cmd_version(int argc, char **argv)
{
    if (tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    (void)printf("tidegate %s\n", TG_VERSION);
    return TG_EXIT_OK;
}

static const char *or_none(const char *folder)
{
    return folder ? folder : "(not found)";
}

static void print_help(FILE *out)
{
    (void)fprintf(out, "tidegate: a relay for customer events\n\nusage: tidegate COMMAND [ARGUMENTS]\n\n");
    for (const struct tg_command *c = tg_commands; c->name; c++)
        (void)fprintf(out, "  %-8s %s\n           tidegate %s%s%s\n", c->name, c->help, c->name,
                      *c->args ? " " : "", c->args);
    (void)fprintf(
        out,
        "\ntidegate COMMAND --help lists its options.\n\n"
        "The configuration is tidegate.lua in this folder, $TIDEGATE_CONFIG, or what -c names. "
        "Every command takes -c\n"
        "FILE, also as its last argument; config, new, catch, demo, version and help pass over it. "
        "Commands that only need\n"
        "the spool (status, reload, stop, pause, resume, dead ls|show|drop, forget, spool) also take "
        "--spool DIR.\n\n"
        "Scripts are searched for in the folders that `scripts` and --scripts name, then among the "
        "shipped ones, which\n"
        "are in ../share/tidegate beside the program, in the checkout that it was built in, or in "
        "%s/share/tidegate:\n"
        "  scripts  %s\n  library  %s\n",
        TG_PREFIX, or_none(tg_scripts_shipped_dir()), or_none(tg_lua_shipped_dir()));
}

static const struct tg_command *find(const char *name)
{
    const struct tg_command *c = tg_commands;
    while (c->name && strcmp(c->name, name) != 0)
        c++;
    return c->name ? c : NULL;
}

static int no_such(const char *name)
{
    if (*name)
        (void)fprintf(stderr, "tidegate: there is no command '%s'\n\n", name);
    print_help(stderr);
    return TG_EXIT_USAGE;
}

/* `dead` has options of its own for each of its commands. */
static int print_command(const struct tg_command *c, int argc, char **argv)
{
    if (strcmp(c->name, "dead") == 0)
        return c->run(argc, argv);
    const char *more = tg_help_of(c->name);
    (void)printf("tidegate %s: %s\nusage: tidegate %s%s%s\n%s%s", c->name, c->help, c->name,
                 *c->args ? " " : "", c->args, *more ? "\n" : "", more);
    return TG_EXIT_OK;
}

int tg_cmd_help(int argc, char **argv)
{
    char word[] = "--help", *asked[] = {argv[argc > 1], word, NULL};
    const struct tg_command *c = argc > 1 ? find(argv[1]) : NULL;
    if (argc > 1 && !c)
        return no_such(argv[1]);
    if (c)
        return print_command(c, 2, asked);
    print_help(stdout);
    return TG_EXIT_OK;
}

/* Every command takes -c FILE, so that nobody has to know which ones need it. False when its value is
 * missing. */
static bool pass_over_config(const struct tg_command *c, int *argc, char **argv)
{
    static const char *const without[] = {"config", "new", "catch", "demo", "version", "help"};
    bool bad = false;
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (strcmp(c->name, without[i]) == 0)
            (void)tg_cli_option(argc, argv, "-c", "--config", &bad);
    return !bad;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    const struct tg_command *c = find(name);
    if (!c)
        return no_such(name);
    argv[1] = (char *)c->name;
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return print_command(c, argc - 1, argv + 1);
    argc--;
    argv++;
    return pass_over_config(c, &argc, argv) ? c->run(argc, argv) : TG_EXIT_USAGE;
}
