/* `tidegate status | reload | stop | pause DEST | resume DEST`: commands to the running relay. */
#include "base/json.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ANSWER = 64 * 1024 * 1024 };

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

static void print_destination(const struct tg_json_walk *w)
{
    struct tg_str parked = tg_json_get(w->value, "parked_reason");
    (void)printf("  ");
    print_text(w->key);
    (void)printf(": ");
    print_text(tg_json_get(w->value, "state"));
    (void)printf(", backlog %" PRId64 " events, in flight %" PRId64 ", retries %" PRId64 ", oldest %.1f s",
                 number(w->value, "backlog_events"), number(w->value, "in_flight"),
                 number(w->value, "retries"), (double)number(w->value, "oldest_ms") / 1000);
    if (parked.n && tg_json_type(parked) == TG_JSON_STRING) {
        (void)printf(", parked: ");
        print_text(parked);
    }
    struct tg_str until = tg_json_get(w->value, "paused_until");
    if (until.n && tg_json_type(until) == TG_JSON_STRING) {
        (void)printf(", the partner asked to wait until ");
        print_text(until);
    }
    (void)printf("\n");
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
    struct tg_json_walk w = tg_json_walk(tg_json_get(value, "destinations"));
    while (tg_json_next(&w))
        print_destination(&w);
}

static int ask(const char *spool_path, const char *line, bool raw)
{
    struct tg_err err = {0};
    struct tg_buf answer = TG_BUF_INIT(MAX_ANSWER);
    bool ok = false;
    int rc = tg_control_ask(spool_path, line, &ok, &answer, &err);
    if (rc)
        (void)fprintf(stderr, "tidegate: %s\n", err.msg);
    else if (!ok)
        (void)fprintf(stderr, "%.*s\n", TG_STR_ARG(tg_buf_str(&answer)));
    else if (strcmp(line, "status") == 0 && !raw)
        print_status(tg_buf_str(&answer));
    else
        (void)printf("%.*s\n", TG_STR_ARG(tg_buf_str(&answer)));
    tg_buf_fini(&answer);
    return rc || !ok ? TG_EXIT_FAILED : TG_EXIT_OK;
}

int tg_cmd_control(int argc, char **argv)
{
    struct tg_cli_where where;
    char line[256];
    bool named = strcmp(argv[0], "pause") == 0 || strcmp(argv[0], "resume") == 0;
    bool json = strcmp(argv[0], "status") == 0 && tg_cli_flag(&argc, argv, NULL, "--json");
    if (!tg_cli_where(&argc, argv, &where) || tg_cli_too_many(argc, argv, named, named))
        return TG_EXIT_USAGE;
    char *spool = tg_cli_spool(argv[0], &where);
    if (!spool)
        return TG_EXIT_FAILED;
    (void)snprintf(line, sizeof line, named ? "%s %s" : "%s", argv[0], named ? argv[1] : "");
    int status = ask(spool, line, json);
    tg_free(spool);
    return status;
}
