/* `tidegate status | reload | stop | pause DEST | resume DEST`: commands to the running relay. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/loader.h"
#include "daemon/cli.h"
#include "daemon/control.h"
#include "spool/partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_ANSWER = 64 * 1024 * 1024, STOP_WAIT_MS = 300000 };

#define GOES_ON "tidegate reload: the running relay goes on with the configuration that it has\n"

static int64_t number(struct tg_str object, const char *name)
{
    int64_t n = 0;
    (void)tg_json_int(tg_json_get(object, name), &n);
    return n;
}

static void print_text(struct tg_str value)
{
    struct tg_buf text = TG_BUF_INIT(65536);
    if (value.n && tg_json_type(value) == TG_JSON_STRING && tg_json_text(value, &text) == TG_OK)
        (void)fwrite(text.data, 1, text.len, stdout);
    tg_buf_fini(&text);
}

static bool is_text(struct tg_str value)
{
    return value.n && tg_json_type(value) == TG_JSON_STRING;
}

/* What it waits for: "parked: http_401 (401 from POST https://…)", "the partner asked to wait until …". */
static void print_stand_still(struct tg_str d)
{
    struct tg_str parked = tg_json_get(d, "parked_reason"), until = tg_json_get(d, "paused_until"),
                  because = tg_json_get(d, "because");
    if (is_text(parked)) {
        (void)printf(", parked: ");
        print_text(parked);
    } else if (is_text(until)) {
        (void)printf(", the partner asked to wait until ");
        print_text(until);
    } else if (tg_str_is(tg_json_get(d, "state"), "\"open\"")) {
        (void)printf(", it fails: one probe at a time");
    }
    if (is_text(because)) {
        (void)printf(" (");
        print_text(because);
        (void)printf(")");
    }
}

static void print_counts(struct tg_str d)
{
    static const char *const names[] = {"delivered", "skipped", "rejected", "retried", "dead", "dropped"};
    (void)printf("    since the start");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)printf("%s%s %" PRId64, i ? ", " : ": ", names[i], number(d, names[i]));
    (void)printf("\n");
}

struct count {
    struct tg_str word;
    int64_t n;
};
enum { WORDS_SHOWN = 5 };

/* Puts a count among the greatest, greatest first. */
static void rank(struct count top[WORDS_SHOWN], struct count c)
{
    for (size_t i = 0; i < WORDS_SHOWN; i++) {
        if (c.n <= top[i].n)
            continue;
        struct count kept = top[i];
        top[i] = c;
        c = kept;
    }
}

/* The greatest of an object of counts: "no_email 12, filtered 3, …". */
static void print_words(struct tg_str counts)
{
    struct count top[WORDS_SHOWN] = {{.n = 0}};
    size_t n = 0;
    struct tg_json_walk w = tg_json_walk(counts);
    for (; tg_json_next(&w); n++) {
        struct count c = {.word = w.key};
        (void)tg_json_int(w.value, &c.n);
        rank(top, c);
    }
    for (size_t i = 0; i < WORDS_SHOWN && top[i].n; i++) {
        (void)printf(i ? ", " : "");
        print_text(top[i].word);
        (void)printf(" %" PRId64, top[i].n);
    }
    (void)printf(n > WORDS_SHOWN ? ", …" : "");
}

/* Why events were not simply delivered. What was rejected is among the dead letters. */
static void print_reasons(struct tg_str d)
{
    static const char *const names[] = {"skipped", "retried", "dead", "dropped"};
    struct tg_str reasons = tg_json_get(d, "reasons");
    const char *before = "    because: ";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tg_str counts = tg_json_get(reasons, names[i]);
        if (!counts.n)
            continue;
        (void)printf("%s%s ", before, names[i]);
        print_words(counts);
        before = "; ";
    }
    (void)printf(*before == ';' ? "\n" : "");
}

static void print_senders(struct tg_str status)
{
    struct tg_json_walk w = tg_json_walk(tg_json_get(status, "sources"));
    while (tg_json_next(&w)) {
        struct tg_str aside = tg_json_get(w.value, "set_aside");
        (void)printf("  source ");
        print_text(w.key);
        (void)printf(": accepted %" PRId64 ", duplicates %" PRId64, number(w.value, "accepted"),
                     number(w.value, "duplicates"));
        (void)printf(aside.n ? ", set aside: " : "");
        print_words(aside);
        (void)printf("\n");
    }
    struct tg_str refused = tg_json_get(status, "refused");
    w = tg_json_walk(refused);
    if (!tg_json_next(&w))
        return;
    (void)printf("  requests refused: ");
    print_words(refused);
    (void)printf("\n");
}

static void print_size(int64_t bytes, const char *what)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    for (; n >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        n /= 1024;
    (void)printf("%.*f %s %s", unit ? 1 : 0, n, units[unit], what);
}

static void print_disk(struct tg_str d)
{
    (void)printf("    disk: waiting ");
    print_size(number(d, "backlog_bytes") + number(d, "retry_bytes"), "used, ");
    print_size(number(d, "backlog_free_bytes"), "free; dead letters ");
    print_size(number(d, "dead_bytes"), "used, ");
    print_size(number(d, "dead_free_bytes"), "free\n");
}

static void print_destination(const struct tg_json_walk *w)
{
    struct tg_str d = w->value;
    (void)printf("  ");
    print_text(w->key);
    (void)printf(": ");
    print_text(tg_json_get(d, "state"));
    (void)printf(", backlog %" PRId64 " events, in flight %" PRId64 ", retries %" PRId64 ", oldest %.1f s",
                 number(d, "backlog_events"), number(d, "in_flight"), number(d, "retries"),
                 (double)number(d, "oldest_ms") / 1000);
    print_stand_still(d);
    struct tg_str kept = tg_json_get(d, "kept_until");
    if (is_text(kept)) {
        (void)printf(", not configured: kept until ");
        print_text(kept);
    }
    (void)printf("\n");
    if (!is_text(kept))
        print_disk(d);
    print_counts(d);
    print_reasons(d);
}

/* For the person; --json gives all of it. */
static void print_status(struct tg_str json)
{
    struct tg_str value;
    if (tg_json_validate(json, TG_JSON_MAX_DEPTH, &value, NULL)) {
        (void)fwrite(json.p, 1, json.n, stdout);
        return;
    }
    bool ready = tg_str_is(tg_json_get(value, "ready"), "true");
    (void)printf("tidegate ");
    print_text(tg_json_get(value, "version"));
    (void)printf(", %s", ready ? "ready" : "not ready: ");
    print_text(tg_json_get(value, "why"));
    (void)printf(", up %" PRId64 " s, configuration %" PRId64 "\n", number(value, "uptime_ms") / 1000,
                 number(value, "generation"));
    struct tg_json_walk workers = tg_json_walk(tg_json_get(value, "workers"));
    while (tg_json_next(&workers))
        (void)printf("  worker %" PRId64 ": pid %" PRId64 ", %s, %" PRId64 " restarts\n",
                     number(workers.value, "worker"), number(workers.value, "pid"),
                     tg_str_is(tg_json_get(workers.value, "up"), "true") ? "up" : "down",
                     number(workers.value, "restarts"));
    print_senders(value);
    struct tg_json_walk w = tg_json_walk(tg_json_get(value, "destinations"));
    while (tg_json_next(&w))
        print_destination(&w);
}

/* Until the relay has ended, so that the next one finds the spool free. False: it takes too long. */
static bool wait_for_end(const char *spool_path)
{
    int64_t until = tg_mono_ms() + STOP_WAIT_MS;
    const struct timespec pause = {0, 20 * 1000 * 1000};
    while (tg_spool_holder_lives(spool_path)) {
        if (tg_mono_ms() > until)
            return false;
        (void)fflush(stdout);
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static int ask(const char *spool_path, const char *line, bool raw)
{
    struct tg_err err = {0};
    struct tg_buf answer = TG_BUF_INIT(MAX_ANSWER);
    bool ok = false;
    int rc = tg_control_ask(spool_path, line, &ok, &answer, &err);
    if (rc)
        (void)fprintf(stderr, "tidegate: %s\n", err.msg);
    else if (!ok && strcmp(line, "reload") == 0)
        (void)fprintf(stderr, "%.*s\n", TG_STR_ARG(tg_buf_str(&answer)));
    else if (!ok)
        (void)fprintf(stderr, "tidegate %s: not done: %.*s\n", line, TG_STR_ARG(tg_buf_str(&answer)));
    else if (strcmp(line, "status") == 0 && !raw)
        print_status(tg_buf_str(&answer));
    else
        (void)printf("%.*s\n", TG_STR_ARG(tg_buf_str(&answer)));
    if (!rc && !ok && strcmp(line, "reload") == 0)
        (void)fprintf(stderr, GOES_ON);
    tg_buf_fini(&answer);
    if (!rc && ok && strcmp(line, "stop") == 0 && !wait_for_end(spool_path)) {
        (void)fprintf(stderr, "tidegate stop: it has not ended yet; its log says what it waits for\n");
        return TG_EXIT_FAILED;
    }
    return rc || !ok ? TG_EXIT_FAILED : TG_EXIT_OK;
}

/* --- a reload of what cannot be read --- */

/* The quoted text behind `word` and an equals sign, in text from `from` on; lent. */
static struct tg_str quoted_after(const char *from, const char *word)
{
    const char *at = from ? strstr(from, word) : NULL;
    const char *quote = at ? at + strlen(word) : "";
    if ((*quote == '"' || *quote == '\'') && quote[1] == ']') /* ["word"] */
        quote += 2;
    quote += strspn(quote, " \t\r\n=");
    const char *end = *quote == '"' || *quote == '\'' ? strchr(quote + 1, *quote) : NULL;
    return end ? tg_str_n(quote + 1, (size_t)(end - quote - 1)) : tg_str_of(NULL);
}

/* Where the spool of a broken configuration may be: as its text looks, else by default. The relay is asked
 * whether it runs with that file, so a wrong guess does no harm. */
static int guess_spool(const char *config, struct tg_buf *spool)
{
    struct tg_err err = {0};
    struct tg_config_text text = {0};
    const char *slash = strrchr(config, '/');
    struct tg_str folder = tg_str_n(config, slash ? (size_t)(slash + 1 - config) : 0);
    bool read = tg_config_text_read(&text, config, &err) == TG_OK;
    char *z = read ? tg_strndup(text.text, text.len) : NULL;
    const char *options = z ? strstr(z, "spool") : NULL;
    struct tg_str path = quoted_after(options, "path");
    if (!path.n)
        path = TG_STR("./spool");
    int rc = path.p[0] == '/' ? TG_OK : tg_buf_addstr(spool, folder);
    if (!rc)
        rc = tg_buf_addstr(spool, path);
    tg_free(z);
    if (read)
        tg_config_text_fini(&text);
    return rc;
}

/* The person has been told what is wrong. The relay refuses it too, and its log and metrics say so. */
static void tell_of_broken(const char *config)
{
    struct tg_err err = {0};
    struct tg_buf spool = TG_BUF_INIT(8192), line = TG_BUF_INIT(8192), answer = TG_BUF_INIT(MAX_ANSWER);
    bool ok = false;
    char *real = realpath(config, NULL);
    int rc = real ? guess_spool(config, &spool) : TG_NOTFOUND;
    if (!rc)
        rc = tg_buf_printf(&line, "reload %s", real);
    const char *where = rc ? NULL : tg_buf_cstr(&spool), *command = rc ? NULL : tg_buf_cstr(&line);
    bool heard = where && command && tg_control_ask(where, command, &ok, &answer, &err) == TG_OK && !ok;
    if (heard && !tg_str_is(tg_buf_str(&answer), TG_CONTROL_OTHER))
        (void)fprintf(stderr, GOES_ON);
    else
        (void)fprintf(stderr, "tidegate reload: the running relay was not found; name its spool with --spool "
                              "DIR to have it look itself\n");
    free(real); /* libc's */
    tg_buf_fini(&spool);
    tg_buf_fini(&line);
    tg_buf_fini(&answer);
}

/* As tg_cli_spool; a relay whose configuration cannot be read hears of a reload all the same. */
static char *spool_of(const char *command, const struct tg_cli_where *where)
{
    if (where->spool || strcmp(command, "reload") != 0)
        return tg_cli_spool(command, where);
    struct tg_config *config = tg_cli_config(where->config);
    if (!config) {
        tell_of_broken(where->config);
        return NULL;
    }
    char *spool = tg_strdup(config->spool.path);
    tg_config_free(&config);
    return spool;
}

int tg_cmd_control(int argc, char **argv)
{
    struct tg_cli_where where;
    char line[256];
    bool named = strcmp(argv[0], "pause") == 0 || strcmp(argv[0], "resume") == 0;
    bool json = strcmp(argv[0], "status") == 0 && tg_cli_flag(&argc, argv, NULL, "--json");
    if (!tg_cli_where(&argc, argv, &where) || tg_cli_too_many(argc, argv, named, named))
        return TG_EXIT_USAGE;
    char *spool = spool_of(argv[0], &where);
    if (!spool)
        return TG_EXIT_FAILED;
    (void)snprintf(line, sizeof line, named ? "%s %s" : "%s", argv[0], named ? argv[1] : "");
    int status = ask(spool, line, json);
    tg_free(spool);
    return status;
}
