#include "daemon/dead_args.h"

#include "base/clock.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "script/nearest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LS = TG_DEAD_LS,
    SHOW = TG_DEAD_SHOW,
    DROP = TG_DEAD_DROP,
    REPLAY = TG_DEAD_REPLAY,
    PICK = DROP | REPLAY, /* what takes ids or filters */
    ANY = LS | SHOW | PICK
};

/* --- the table --- */

struct option {
    const char *name;
    enum { TEXT, TIME, COUNT, FLAG } kind;
    unsigned commands; /* which take it */
    size_t at;         /* in struct tg_dead_request */
    const char *value, *help;
};

#define AT(member) offsetof(struct tg_dead_request, member)

static const struct option options[] = {
    {"dest", TEXT, LS | PICK, AT(filter.destination), "NAME", "of this destination"},
    {"set-aside", FLAG, LS | PICK, AT(filter.set_aside_only), "", "what ingest set aside: of no destination"},
    {"reason", TEXT, LS | PICK, AT(filter.reason), "WORD", "with this reason (http_400, script_error …)"},
    {"since", TIME, LS | PICK, AT(filter.since), "TIME",
     "last tried at or after 2026-01-02T03:04:05Z, or 2h, 7d ago"},
    {"until", TIME, LS | PICK, AT(filter.until), "TIME", "last tried before"},
    {"source", TEXT, LS | PICK, AT(filter.source), "NAME", "of this source"},
    {"message-id", TEXT, LS | PICK, AT(filter.message_id), "ID", "of the event with this messageId"},
    {"event", TEXT, LS | PICK, AT(filter.event_name), "NAME", "of events with this name"},
    {"user", TEXT, LS | PICK, AT(filter.user_id), "ID", "of this userId"},
    {"limit", COUNT, LS | PICK, AT(filter.limit), "N", "the oldest N of them"},
    {"all", FLAG, PICK, AT(all), "", "every one, without any filter"},
    {"dry-run", FLAG, REPLAY, AT(dry_run), "", "send nothing: show what would be, and what is different now"},
    {"responses", TEXT, REPLAY, AT(responses), "FILE",
     "with --dry-run: what the partner answers, as for tidegate try"},
    {"json", FLAG, LS | SHOW | REPLAY, AT(json), "", "one JSON object a line"},
    {"help", FLAG, LS | SHOW | PICK, AT(help), "", "this text"},
};

enum { OPTIONS = sizeof options / sizeof options[0] };

struct usage {
    unsigned command;
    const char *name, *line, *more;
};
static const struct usage usages[] = {
    {LS, "ls", "dead ls [FILTER...] [--json]", "Lists them, oldest first, and counts their reasons."},
    {SHOW, "show", "dead show ID [--json]",
     "Everything that is known of one: the event, the masked request, the answer."},
    {REPLAY, "replay", "dead replay ID...|FILTER...|--all [--dry-run [--json] [--responses FILE]]",
     "Sends them again, through the scripts as they are now and with their messageIds; they are dead letters "
     "no more.\nWith --dry-run each call is taken to succeed, and one that fetches a token gets one; what is "
     "compared is the\nrequest of the event itself."},
    {DROP, "drop", "dead drop ID...|FILTER...|--all", "Deletes them for good."},
};
enum { USAGES = sizeof usages / sizeof usages[0] };

static void print_option(FILE *to, const char *name, const char *value, const char *help)
{
    fprintf(to, "  --%s %-*s %s\n", name, (int)(16 - strlen(name)), value, help);
}

/* The options of these commands, and where the spool is. */
static void print_options(FILE *to, unsigned commands)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].commands & commands)
            print_option(to, options[i].name, options[i].value, options[i].help);
    print_option(to, "config", "FILE",
                 "(or -c) the configuration; else $TIDEGATE_CONFIG, else tidegate.lua in this folder");
    if (commands != REPLAY)
        print_option(to, "spool", "DIR", "the spool's folder instead (ls, show and drop)");
}

void tg_dead_args_usage(FILE *to, unsigned command)
{
    unsigned commands = command ? command : ANY;
    const char *before = "usage: ";
    for (size_t i = 0; i < USAGES; i++)
        if (usages[i].command & commands) {
            fprintf(to, "%stidegate %s [-c FILE]\n", before, usages[i].line);
            before = "       ";
        }
    fputs("\n", to);
    print_options(to, commands);
    for (size_t i = 0; i < USAGES; i++)
        if (usages[i].command == commands)
            fprintf(to, "\n%s\n", usages[i].more);
    if (commands == ANY)
        fputs("\ntidegate dead ls --help and so on tell which of these go with it.\n", to);
    fputs("Exit status: 0 done, 1 not, or not with all (why is on stderr), 2 usage.\n", to);
}

/* --- reading --- */

static int unknown_option(const struct tg_dead_request *r, const char *argument, struct tg_str name)
{
    struct tg_nearest nearest;
    tg_nearest_init(&nearest, name);
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].commands & r->command)
            tg_nearest_try(&nearest, tg_str_of(options[i].name));
    fprintf(r->errs, "dead %s: unknown option %s", r->name, argument);
    if (nearest.best[0])
        fprintf(r->errs, "; did you mean --%s?", nearest.best);
    fputs(" (tidegate dead --help lists them)\n", r->errs);
    return TG_EXIT_USAGE;
}

/* "90s", "15m", "2h", "7d", "4w". */
static bool parse_age(const char *text, int64_t *ms)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *text < '0' || *text > '9' || n > 1000000)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (end[0] == units[i].letter && !end[1]) {
            *ms = n * units[i].ms;
            return true;
        }
    return false;
}

static bool parse_when(const char *text, int64_t *ms)
{
    int64_t age;
    if (!parse_age(text, &age))
        return tg_time_parse(tg_str_of(text), ms);
    *ms = tg_wall_ms() - age;
    return true;
}

static bool parse_count(const char *text, int64_t *n)
{
    char *end;
    errno = 0;
    *n = strtoll(text, &end, 10);
    return !errno && end != text && !*end && *text >= '0' && *text <= '9' && *n > 0;
}

static int bad_value(const struct tg_dead_request *r, const struct option *o, const char *value,
                     const char *wanted)
{
    fprintf(r->errs, "dead %s: --%s: \"%s\" is not %s\n", r->name, o->name, value, wanted);
    return TG_EXIT_USAGE;
}

static int set_option(struct tg_dead_request *r, const struct option *o, const char *value)
{
    void *at = (char *)r + o->at;
    switch (o->kind) {
    case FLAG:
        *(bool *)at = true;
        return 0;
    case TEXT:
        *(const char **)at = value;
        return *value ? 0 : bad_value(r, o, value, "a name");
    case TIME:
        return parse_when(value, at)
                   ? 0
                   : bad_value(r, o, value, "a time (2026-01-02T03:04:05Z) or an age (90s, 15m, 2h, 7d)");
    case COUNT:
        return parse_count(value, at) ? 0 : bad_value(r, o, value, "a whole number above 0");
    }
    return TG_EXIT_USAGE;
}

static const struct option *find_option(const struct tg_dead_request *r, struct tg_str name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (tg_str_is(name, options[i].name) && options[i].commands & r->command)
            return &options[i];
    return NULL;
}

/* One option, "--name value" or "--name=value"; *i goes on to its last argument. */
static int take_option(struct tg_dead_request *r, int argc, char **argv, int *i)
{
    const char *argument = argv[*i];
    const char *name = argument + strspn(argument, "-");
    size_t n = strcspn(name, "=");
    const char *inlined = name[n] ? name + n + 1 : NULL;
    const struct option *o = argument[1] == '-' ? find_option(r, tg_str_n(name, n)) : NULL;
    if (!o)
        return unknown_option(r, argument, tg_str_n(name, n));
    if (o->kind == FLAG && inlined) {
        fprintf(r->errs, "dead %s: --%s takes no value\n", r->name, o->name);
        return TG_EXIT_USAGE;
    }
    if (o->kind != FLAG && !inlined) {
        if (*i + 1 >= argc) {
            fprintf(r->errs, "dead %s: --%s needs a value: %s\n", r->name, o->name, o->value);
            return TG_EXIT_USAGE;
        }
        inlined = argv[++*i];
    }
    return set_option(r, o, inlined);
}

static int parse_command(struct tg_dead_request *r, const char *name)
{
    for (size_t i = 0; i < USAGES; i++)
        if (strcmp(name, usages[i].name) == 0) {
            r->command = usages[i].command;
            r->name = name;
            return 0;
        }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        r->help = true;
        return 0;
    }
    fprintf(r->errs, "dead: unknown command %s\n", name);
    tg_dead_args_usage(r->errs, 0);
    return TG_EXIT_USAGE;
}

int tg_dead_args_parse(struct tg_dead_request *r, int argc, char **argv)
{
    if (argc < 2) {
        tg_dead_args_usage(r->errs, 0);
        return TG_EXIT_USAGE;
    }
    int code = parse_command(r, argv[1]);
    r->ids = argv + 2;
    for (int i = 2; i < argc && !code && !r->help; i++) {
        if (argv[i][0] == '-' && argv[i][1])
            code = take_option(r, argc, argv, &i);
        else
            r->ids[r->n_ids++] = argv[i];
    }
    return code;
}

/* Whether anything narrows the choice; a limit alone does not. */
static bool filters(const struct tg_dead_filter *f)
{
    return f->destination || f->set_aside_only || f->reason || f->source || f->message_id || f->event_name ||
           f->user_id || f->since || f->until;
}

int tg_dead_args_check(const struct tg_dead_request *r)
{
    int64_t id;
    for (int i = 0; i < r->n_ids; i++)
        if (!parse_count(r->ids[i], &id)) {
            fprintf(r->errs,
                    "dead %s: \"%s\" is not the id of a dead letter: take it from `tidegate dead ls`\n",
                    r->name, r->ids[i]);
            return TG_EXIT_USAGE;
        }
    const char *wrong = NULL;
    if (r->command == LS && r->n_ids)
        wrong = "takes filters, no ids: to see one, `tidegate dead show ID`";
    else if (r->command == SHOW && r->n_ids != 1)
        wrong = "needs the id of one dead letter";
    else if (r->command & PICK && r->all && (filters(&r->filter) || r->n_ids))
        wrong = "--all stands alone, without filters and ids";
    else if (r->command & PICK && !r->all && !filters(&r->filter) && !r->n_ids)
        wrong = "say which: ids, filters, or --all for every one";
    else if (r->command == REPLAY && r->json && !r->dry_run)
        wrong = "--json goes with --dry-run";
    else if (r->command == REPLAY && r->responses && !r->dry_run)
        wrong = "--responses goes with --dry-run";
    if (wrong)
        fprintf(r->errs, "dead %s: %s\n", r->name, wrong);
    return wrong ? TG_EXIT_USAGE : 0;
}
