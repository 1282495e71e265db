/* Lines keep to 100 columns. `make doc-check` compares the options with those that the commands take. `dead`
 * prints its own (dead_cli.c), because they differ by what follows it. */
#include "daemon/help.h"

#include <string.h>

#define CONFIG                                                                                               \
    "  -c, --config FILE  the configuration; else $TIDEGATE_CONFIG, else tidegate.lua in this folder\n"
#define WHERE                                                                                                \
    "  -c, --config FILE  the configuration, which says where the spool is; else $TIDEGATE_CONFIG, else\n"   \
    "                     tidegate.lua in this folder\n"                                                     \
    "  --spool DIR        the spool's folder: then no configuration is needed, and -c is refused\n"
#define SCRIPTS                                                                                              \
    "  --scripts DIR      search this folder for scripts first; may be given again\n"                        \
    "  --lua DIR          the folder of tidegate.lua, what scripts require; else the shipped one\n"

static const struct {
    const char *command, *text;
} texts[] = {
    {"run",
     CONFIG "\n"
            "Runs until SIGTERM, SIGINT or `tidegate stop`; SIGHUP and `tidegate reload` reload. Logs go to "
            "stderr.\n"},
    {"check", CONFIG
     "  --no-fixtures      do not run the scripts' fixtures\n"
     "\n"
     "Says everything that is wrong, as `run` and `reload` would. The fixtures of the scripts that it names\n"
     "are run too, because `reload` runs those of scripts that have changed and refuses when one fails;\n"
     "`run` starts without them.\n"
     "Exit status: 0 good, 1 something is wrong (on stderr), 2 usage.\n"},
    {"config", "  --example          every option with its default and a line of help, ready to be saved\n"},
    {"status", WHERE
     "  --json             one JSON object with all that is known, each worker's report too\n"
     "\n"
     "For each destination: its state, what waits (the backlog in the log, retries, how old the oldest\n"
     "is), what has become of events since the relay started, and for which reasons. A destination that\n"
     "stands still tells what it waits for: the answer that caused it, and until when. Before them: what\n"
     "each source has sent, and which requests were refused.\n"},
    {"reload",
     WHERE "\n"
           "The relay reads the file that it was started with.\n"
           "Returns when every worker has the new configuration: 0, or 1 with the reasons and the old one\n"
           "runs on. Before that the fixtures of scripts that have changed are run.\n"},
    {"stop", WHERE "\nWhat is under way gets `stop_time`. Returns when the relay has ended.\n"},
    {"pause",
     WHERE "\nDEST is a destination's name. Lasts, over restarts too, until `tidegate resume DEST`.\n"},
    {"resume", WHERE
     "\nDEST is a destination's name. Ends a pause, a parking, a wait that a partner asked for, an open\n"
     "breaker. What has become dead letters meanwhile stays that: `tidegate dead replay --dest DEST`.\n"},
    {"forget", WHERE
     "  --user-id ID       the user\n"
     "  --json             what was removed as one JSON object: {userId, retries, dead, set_aside, running}\n"
     "\n"
     "Takes the user's events out of retries and dead letters, and hides those that are still in the log.\n"},
    {"spool", WHERE "  --json             of ls and verify: one JSON object for each segment\n"
                    "\n"
                    "ls      the segments: epoch, events, first and last number, bytes\n"
                    "cat     every event, one JSON object a line: {seq, source, event}\n"
                    "verify  reads all of it; exit status 1 when something is damaged\n"},
    {"try",
     "A script with settings of its own:\n"
     "  SCRIPT             its name\n"
     "  --settings FILE    JSON object of its settings\n"
     "  --allow-private    http and private addresses, as egress.allow_private = true allows them\n" SCRIPTS
     "  -c, --config FILE  scripts, lua_path, egress.allow_private and limits of scripts as configured "
     "there\n"
     "or a destination of the configuration, with its script, settings, sources, consent and filter:\n"
     "  --dest NAME        the destination; -c FILE as everywhere, else $TIDEGATE_CONFIG, else tidegate.lua\n"
     "  --source NAME      the source that the event came from; else the first that may\n"
     "\n"
     "  --event FILE       the event as an SDK posts it; - is standard input\n"
     "  --responses FILE   JSON array of {status, headers, body}, what the partner answers, in the order of "
     "the\n"
     "                     calls; those past the last are taken to succeed, and one that fetches a token "
     "gets one\n"
     "  --at TIME          what time it is for the script: 2026-01-02T03:04:05Z; fixes randomness too\n"
     "  --reveal           show secrets, which are *** otherwise\n"
     "\n"
     "Prints one JSON object: {gated?, outcome, reason, message?, requests}. Nothing is sent.\n"
     "Exit status: 0 deliver or skip; 1 reject, retry or error, or it could not be tried (why is on stderr); "
     "2 usage.\n"},
    {"test", "  SCRIPT…            names; else all that are found\n"
             "  -v, --verbose      fixtures that pass too, and what came out\n"
             "  --update           write what came out into fixtures that fail, and show it; an error of the "
             "script is\n"
             "                     never accepted\n"
             "  --watch            run again whenever a file changes, until Ctrl-C\n" SCRIPTS
             "  -c, --config FILE  search the scripts and lua_path of this configuration too\n"
             "\n"
             "Exit status: 0 all passed, 1 not all, 2 usage.\n"},
    {"new", "  --dir DIR          the folder to make it in, made too where it is not there; else this one\n"},
    {"describe",
     "  --settings FILE    JSON object of settings, where numbers of the contract are named by "
     "settings\n" SCRIPTS "  -c, --config FILE  search the scripts and lua_path of this configuration too\n"},
    {"send", "  FILE               one event, an array of events, {\"batch\": […]}, or one event a line; - "
             "is standard input\n" CONFIG
             "                     Its first listener and first write key are taken where these do not say:\n"
             "  --url URL          the relay: http://127.0.0.1:8080\n"
             "  --key KEY          the write key\n"
             "\n"
             "How many were accepted is said on stderr, as every message is; there is no data for stdout.\n"
             "Exit status: 0 all were accepted, 1 not all, 2 usage.\n"},
    {"catch", "  -l, --listen ADDR  default 127.0.0.1:9999; port 0: any that is free\n"
              "  --status N,N,…     statuses to answer in turn, the last one from then on; default 200\n"
              "  -H, --header H     \"Name: value\" of the answer; may be given again\n"
              "  --body TEXT        body of the answer\n"
              "  --delay MS         wait so long before each answer\n"
              "  --count N          end after N requests\n"
              "  --json             one JSON object a line\n"},
    {"demo",
     "  --once             end after the samples\n"
     "  --dir DIR          keep its configuration and spool in this folder; else they go at the end\n"},
    {"help", "  COMMAND            the same as tidegate COMMAND --help\n"},
};

const char *tg_help_of(const char *command)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i].command, command) == 0)
            return texts[i].text;
    return "";
}
