#include "daemon/dead_cli.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "daemon/dead_print.h"
#include "daemon/dead_trial.h"
#include "daemon/preview.h"
#include "spool/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROW_MAX = 64 * 1024 * 1024 }; /* bytes of one printed dead letter */

enum command { LS = 1, SHOW = 2, DROP = 4, REPLAY = 8, PICK = DROP | REPLAY, ANY = LS | SHOW | PICK };

struct request {
    enum command command;
    const char *name; /* of the command, for messages */
    const struct tg_dead_world *world;
    struct tg_dead_filter filter;
    const char *responses; /* file */
    bool json, all, dry_run, help;
    char **ids; /* the plain arguments */
    int n_ids;
    FILE *out, *errs;
};

/* --- options --- */

struct option {
    const char *name;
    enum { TEXT, TIME, COUNT, FLAG } kind;
    unsigned commands; /* which take it */
    size_t at;         /* in struct request */
    const char *value, *help;
};

#define AT(member) offsetof(struct request, member)

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
    enum command command;
    const char *name, *line, *more;
};
static const struct usage usages[] = {
    {LS, "ls", "dead ls [FILTER...] [--json]", "Lists them, oldest first, and counts their reasons."},
    {SHOW, "show", "dead show ID [--json]",
     "Everything that is known of one: the event, the masked request, the answer."},
    {REPLAY, "replay", "dead replay ID...|FILTER...|--all [--dry-run [--json] [--responses FILE]]",
     "Sends them again, through the scripts as they are now and with their messageIds; they are dead letters "
     "no "
     "more.\nWith --dry-run each call is taken to succeed, and one that fetches a token gets one; what is "
     "compared is the\n"
     "request of the event itself."},
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

static void print_usage(FILE *to, unsigned commands)
{
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

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance; words of the length of an option's name. */
static int distance(const char *a, const char *b)
{
    enum { LONGEST = 24 };
    int row[LONGEST + 1];
    int n = (int)strlen(b);
    if (n > LONGEST)
        return LONGEST;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int changed = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = smaller(changed, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

static const char *nearest_option(const struct request *r, const char *name)
{
    const char *best = NULL;
    int least = 4; /* farther ones would only confuse */
    for (size_t i = 0; i < OPTIONS; i++) {
        int d = distance(name, options[i].name);
        if (options[i].commands & r->command && d < least) {
            least = d;
            best = options[i].name;
        }
    }
    return best;
}

static int unknown_option(const struct request *r, const char *argument, const char *name)
{
    const char *nearest = nearest_option(r, name);
    fprintf(r->errs, "dead %s: unknown option %s", r->name, argument);
    if (nearest)
        fprintf(r->errs, "; did you mean --%s?", nearest);
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

static int bad_value(const struct request *r, const struct option *o, const char *value, const char *wanted)
{
    fprintf(r->errs, "dead %s: --%s: \"%s\" is not %s\n", r->name, o->name, value, wanted);
    return TG_EXIT_USAGE;
}

static int set_option(struct request *r, const struct option *o, const char *value)
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

static const struct option *find_option(const struct request *r, struct tg_str name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (tg_str_is(name, options[i].name) && options[i].commands & r->command)
            return &options[i];
    return NULL;
}

/* One option, "--name value" or "--name=value"; *i goes on to its last argument. */
static int take_option(struct request *r, int argc, char **argv, int *i)
{
    const char *argument = argv[*i];
    const char *name = argument + strspn(argument, "-");
    size_t n = strcspn(name, "=");
    const char *inlined = name[n] ? name + n + 1 : NULL;
    const struct option *o = argument[1] == '-' ? find_option(r, tg_str_n(name, n)) : NULL;
    if (!o)
        return unknown_option(r, argument, name);
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

static int parse_command(struct request *r, const char *name)
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
    print_usage(r->errs, ANY);
    return TG_EXIT_USAGE;
}

/* Moves the plain arguments to the front of argv: they are the ids. */
static int parse(struct request *r, int argc, char **argv)
{
    if (argc < 2) {
        print_usage(r->errs, ANY);
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

static int check_arguments(const struct request *r)
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

/* --- ls --- */

struct tally {
    char *reason;
    int64_t count;
};

struct listing {
    const struct request *r;
    struct tg_buf text;
    struct tally *tallies;
    size_t n, room;
    int64_t total;
};

static int tally(struct listing *l, const char *reason)
{
    l->total++;
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->tallies[i].reason, reason) == 0) {
            l->tallies[i].count++;
            return TG_OK;
        }
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct tally *more = tg_realloc(l->tallies, room * sizeof *more);
        if (!more)
            return TG_NOMEM;
        l->tallies = more;
        l->room = room;
    }
    char *copy = tg_strdup(reason);
    if (!copy)
        return TG_NOMEM;
    l->tallies[l->n++] = (struct tally){copy, 1};
    return TG_OK;
}

static int put_out(FILE *out, const struct tg_buf *text)
{
    return fwrite(text->data, 1, text->len, out) == text->len ? TG_OK : TG_IO;
}

static int list_row(void *arg, const struct tg_dead *d)
{
    struct listing *l = arg;
    int rc = TG_OK;
    if (!l->r->json && !l->total) {
        rc = tg_dead_print_head(&l->text);
        if (!rc)
            rc = put_out(l->r->out, &l->text);
    }
    if (!rc)
        rc = l->r->json ? tg_dead_print_json(&l->text, d, false) : tg_dead_print_row(&l->text, d);
    if (!rc)
        rc = put_out(l->r->out, &l->text);
    return rc ? rc : tally(l, d->reason);
}

static int by_count(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    return x->count == y->count ? strcmp(x->reason, y->reason)
                                : (x->count < y->count) - (x->count > y->count);
}

static void print_tallies(struct listing *l)
{
    FILE *out = l->r->out;
    if (l->n)
        qsort(l->tallies, l->n, sizeof *l->tallies, by_count);
    if (!l->total)
        fputs("no dead letters\n", out);
    else
        fprintf(out, "\n%lld dead letter%s\n", (long long)l->total, l->total == 1 ? "" : "s");
    for (size_t i = 0; i < l->n; i++)
        fprintf(out, "%8lld  %s\n", (long long)l->tallies[i].count, l->tallies[i].reason);
}

static int failed(const struct request *r, const struct tg_err *err, int code)
{
    fprintf(r->errs, "dead %s: %s\n", r->name, err->msg[0] ? err->msg : tg_code_text(code));
    return TG_EXIT_FAILED;
}

static int run_ls(struct tg_state *s, struct request *r)
{
    struct listing l = {.r = r, .text = TG_BUF_INIT(ROW_MAX)};
    struct tg_err err = {0};
    int code = s ? tg_state_dead_each(s, &r->filter, list_row, &l, &err) : TG_OK;
    if (!code && !r->json)
        print_tallies(&l);
    for (size_t i = 0; i < l.n; i++)
        tg_free(l.tallies[i].reason);
    tg_free(l.tallies);
    tg_buf_fini(&l.text);
    return code ? failed(r, &err, code) : 0;
}

/* --- show and drop --- */

static int show_row(void *arg, const struct tg_dead *d)
{
    struct listing *l = arg;
    l->total++;
    int rc = l->r->json ? tg_dead_print_json(&l->text, d, true) : tg_dead_print_page(&l->text, d);
    return rc ? rc : put_out(l->r->out, &l->text);
}

static int no_such(const struct request *r, const char *id)
{
    fprintf(r->errs, "dead %s: there is no dead letter %s (any more)\n", r->name, id);
    return TG_EXIT_FAILED;
}

static int run_show(struct tg_state *s, struct request *r)
{
    struct listing l = {.r = r, .text = TG_BUF_INIT(ROW_MAX)};
    struct tg_err err = {0};
    parse_count(r->ids[0], &r->filter.id);
    int code = s ? tg_state_dead_each(s, &r->filter, show_row, &l, &err) : TG_OK;
    tg_buf_fini(&l.text);
    if (code)
        return failed(r, &err, code);
    return l.total ? 0 : no_such(r, r->ids[0]);
}

static int drop_matching(struct tg_state *s, struct request *r, int64_t *dropped)
{
    struct tg_err err = {0};
    int64_t n = 0;
    int code = s ? tg_state_dead_drop(s, &r->filter, &n, &err) : TG_OK;
    *dropped += n;
    return code ? failed(r, &err, code) : 0;
}

static int drop_ids(struct tg_state *s, struct request *r, int64_t *dropped)
{
    int result = 0;
    for (int i = 0; i < r->n_ids; i++) {
        int64_t before = *dropped;
        parse_count(r->ids[i], &r->filter.id);
        int code = drop_matching(s, r, dropped);
        if (code)
            return code;
        if (*dropped == before)
            result = no_such(r, r->ids[i]);
    }
    return result;
}

/* A running relay looks at once; without that word it would within a minute. */
static void wake_relay(const struct request *r, bool *runs)
{
    struct tg_err err = {0};
    *runs = false;
    if (r->world->wake && r->world->wake(r->world->spool_dir, runs, &err))
        fprintf(r->errs, "dead %s: the relay could not be told: %s\n", r->name, err.msg);
}

static int run_drop(struct tg_state *s, struct request *r)
{
    int64_t dropped = 0;
    int code = r->n_ids ? drop_ids(s, r, &dropped) : drop_matching(s, r, &dropped);
    bool runs;
    if (dropped)
        wake_relay(r, &runs); /* there may be room again */
    fprintf(r->out, "dropped %lld dead letter%s\n", (long long)dropped, dropped == 1 ? "" : "s");
    return code;
}

/* --- replay --- */

static int replay_matching(struct tg_state *s, struct request *r, struct tg_replayed *total)
{
    struct tg_replayed part = {0};
    struct tg_err err = {0};
    int code = s ? tg_state_dead_replay(s, &r->filter, r->world->destinations, r->world->n_destinations,
                                        tg_wall_ms(), &part, &err)
                 : TG_OK;
    total->replayed += part.replayed;
    total->set_aside += part.set_aside;
    total->unknown += part.unknown;
    return code ? failed(r, &err, code) : 0;
}

static int64_t touched(const struct tg_replayed *t)
{
    return t->replayed + t->set_aside + t->unknown;
}

static int replay_ids(struct tg_state *s, struct request *r, struct tg_replayed *total)
{
    int result = 0;
    for (int i = 0; i < r->n_ids; i++) {
        int64_t before = touched(total);
        parse_count(r->ids[i], &r->filter.id);
        int code = replay_matching(s, r, total);
        if (code)
            return code;
        if (touched(total) == before)
            result = no_such(r, r->ids[i]);
    }
    return result;
}

static void tell_left(const struct request *r, int64_t set_aside, int64_t unknown)
{
    if (set_aside)
        fprintf(r->errs,
                "dead replay: %lld left alone: ingest set them aside, so no destination has had them. Look "
                "at them "
                "(tidegate dead show ID), put the event right, post it (tidegate send FILE), drop the dead "
                "letter\n",
                (long long)set_aside);
    if (unknown)
        fprintf(r->errs,
                "dead replay: %lld left alone: their destinations are not in the configuration. Add them "
                "again, or "
                "drop the dead letters\n",
                (long long)unknown);
}

static int run_replay(struct tg_state *s, struct request *r)
{
    struct tg_replayed total = {0};
    bool runs = false;
    int code = r->n_ids ? replay_ids(s, r, &total) : replay_matching(s, r, &total);
    if (total.replayed)
        wake_relay(r, &runs);
    fprintf(r->out, "replayed %lld dead letter%s%s\n", (long long)total.replayed,
            total.replayed == 1 ? "" : "s",
            !total.replayed ? ""
            : runs          ? ": due now"
                            : ": due when the relay runs");
    tell_left(r, total.set_aside, total.unknown);
    return code ? code : total.set_aside + total.unknown ? TG_EXIT_FAILED : 0;
}

struct trial {
    const struct request *r;
    struct tg_trial *trial;
    char *responses; /* JSON, or NULL */
    struct tg_buf text;
    int64_t shown, same, set_aside, bad;
};

static int try_row(void *arg, const struct tg_dead *d)
{
    struct trial *t = arg;
    struct tg_err err = {0};
    if (!d->destination) {
        t->set_aside++;
        return TG_OK;
    }
    tg_buf_clear(&t->text);
    bool same = false;
    int rc = tg_dead_trial_run(t->trial, d, tg_str_of(t->responses), t->r->json, &t->text, &same, &err);
    if (rc) {
        fprintf(t->r->errs, "dead replay: %lld: %s\n", (long long)d->id, err.msg);
        t->bad++;
        return rc == TG_NOMEM ? rc : TG_OK;
    }
    t->shown++;
    t->same += same;
    return put_out(t->r->out, &t->text);
}

static int try_matching(struct tg_state *s, struct request *r, struct trial *t)
{
    struct tg_err err = {0};
    int64_t before = t->shown + t->set_aside + t->bad;
    int code = s ? tg_state_dead_each(s, &r->filter, try_row, t, &err) : TG_OK;
    if (code)
        return failed(r, &err, code);
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)r->filter.id);
    return r->filter.id && t->shown + t->set_aside + t->bad == before ? no_such(r, id) : 0;
}

static void tell_shown(const struct trial *t)
{
    FILE *out = t->r->out;
    long long shown = t->shown, same = t->same, other = shown - same;
    fprintf(out, "%lld dead letter%s would be replayed", shown, shown == 1 ? "" : "s");
    if (other)
        fprintf(out, ": %lld differ%s", other, other == 1 ? "s" : "");
    if (same)
        fprintf(out, "%s%lld %s the same as before", other ? ", " : ": ", same, same == 1 ? "is" : "are");
    fprintf(out, "; nothing was sent\n");
}

/* The trial took the files as they are; the relay sends with what it has loaded. */
static void tell_reload(const struct trial *t)
{
    const struct tg_dead_world *world = t->r->world;
    char digest[TG_SNAPSHOT_DIGEST + 1];
    if (world->differs && !tg_trial_digest(t->trial, digest) && world->differs(world->spool_dir, digest))
        fprintf(t->r->errs, "dead replay: the scripts or the configuration were changed since the relay took "
                            "them: tidegate reload first, for it sends with those that it has\n");
}

static int run_trial(struct tg_state *s, struct request *r)
{
    struct trial t = {.r = r, .text = TG_BUF_INIT(ROW_MAX)};
    struct tg_err err = {0};
    size_t len;
    int code = r->responses ? tg_preview_read(r->responses, &t.responses, &len, &err) : TG_OK;
    if (!code)
        code = tg_trial_new(r->world->config_path, TG_NO_TIME, &t.trial, &err);
    if (code) {
        tg_free(t.responses);
        return failed(r, &err, code);
    }
    if (!r->n_ids)
        code = try_matching(s, r, &t);
    for (int i = 0; i < r->n_ids && !code; i++) {
        parse_count(r->ids[i], &r->filter.id);
        code = try_matching(s, r, &t);
    }
    if (!r->json)
        tell_shown(&t);
    tell_left(r, t.set_aside, 0);
    tell_reload(&t);
    tg_trial_free(&t.trial);
    tg_free(t.responses);
    tg_buf_fini(&t.text);
    return code ? code : t.set_aside + t.bad ? TG_EXIT_FAILED : 0;
}

/* --- all together --- */

/* *s stays NULL where there is no file: then there are no dead letters, and none is made. */
static int open_state(const struct request *r, const char *spool_dir, struct tg_state **s)
{
    struct tg_err err = {0};
    struct tg_buf path = TG_BUF_INIT(8192);
    int code = tg_buf_printf(&path, "%s/%s", spool_dir, TG_STATE_FILE);
    const char *z = code ? NULL : tg_buf_cstr(&path);
    bool there = z && (access(z, F_OK) == 0 || errno != ENOENT);
    tg_buf_fini(&path);
    if (!z)
        code = TG_NOMEM;
    else if (there)
        code = tg_state_open(spool_dir, NULL, s, &err);
    return code ? failed(r, &err, code) : 0;
}

static int run(struct request *r)
{
    struct tg_state *s = NULL;
    int code = open_state(r, r->world->spool_dir, &s);
    if (code)
        return code;
    switch (r->command) {
    case LS:
        code = run_ls(s, r);
        break;
    case SHOW:
        code = run_show(s, r);
        break;
    case REPLAY:
        code = r->dry_run ? run_trial(s, r) : run_replay(s, r);
        break;
    default:
        code = run_drop(s, r);
    }
    tg_state_close(&s);
    if (fflush(r->out) || ferror(r->out)) {
        if (!code)
            fprintf(r->errs, "dead %s: cannot write: %s\n", r->name, strerror(errno));
        return TG_EXIT_FAILED;
    }
    return code;
}

int tg_dead_main(const struct tg_dead_world *world, int argc, char **argv, FILE *out, FILE *errs)
{
    struct request r = {.world = world, .out = out, .errs = errs};
    int code = parse(&r, argc, argv);
    if (code)
        return code;
    if (r.help) {
        print_usage(out, r.command ? r.command : ANY);
        return 0;
    }
    code = check_arguments(&r);
    return code ? code : run(&r);
}
