#include "daemon/cmd_try.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "daemon/preview.h"
#include "daemon/script_paths.h"
#include "daemon/trial.h"
#include "ingest/normalise.h"
#include "script/folders.h"

#include <stdio.h>
#include <string.h>

/* Either a script with settings of its own, or a destination of the configuration. */
struct inputs {
    struct tg_script_paths paths;
    const char *script, *settings;
    const char *dest, *config, *sender;
    const char *event, *responses, *at;
    bool reveal, allow_private;
    bool filter_failed;
    struct tg_script_source source, library;
    char *settings_text, *event_text, *responses_text;
    size_t settings_len, event_len, responses_len;
    int64_t now; /* TG_NO_TIME: the real clock */
};

static int read_script(struct inputs *t, struct tg_err *err)
{
    int rc = tg_script_library_find(t->paths.lua, &t->library, err);
    if (!rc)
        rc = tg_script_source_find(t->paths.dirs, t->paths.n_dirs, t->script, &t->source, err);
    if (!rc && t->settings)
        rc = tg_preview_read(t->settings, &t->settings_text, &t->settings_len, err);
    return rc;
}

static int read_inputs(struct inputs *t, struct tg_err *err)
{
    t->now = TG_NO_TIME;
    if (t->at && !tg_time_parse(tg_str_of(t->at), &t->now))
        return tg_fail(err, TG_INVALID, "--at: '%s' is not a time such as 2026-01-02T03:04:05Z", t->at);
    int rc = t->script ? read_script(t, err) : TG_OK;
    if (!rc)
        rc = tg_preview_read(t->event, &t->event_text, &t->event_len, err);
    if (!rc && t->responses)
        rc = tg_preview_read(t->responses, &t->responses_text, &t->responses_len, err);
    return rc;
}

/* Tells first what would keep the event back. A type without a handler is what the script says itself. */
static int add_gates(const struct tg_trial_gates *g, struct tg_buf *json)
{
    if (!g->reason || strcmp(g->reason, "type_not_accepted") == 0)
        return TG_OK;
    int rc = tg_buf_printf(json, "\"gated\":{\"reason\":\"%s\",\"message\":", g->reason);
    if (!rc)
        rc = tg_json_quote(json, tg_str_of(g->message));
    return rc ? rc : tg_buf_adds(json, "},");
}

/* What the gates say, and then what would be sent, also of an event that they keep back: that is what
 * somebody wants to see who then changes one of the two. */
static int show(struct inputs *t, const struct tg_trial_dest *dest, struct tg_str source, struct tg_buf *json,
                struct tg_err *err)
{
    struct tg_items items;
    struct tg_trial_gates gates = {0};
    struct tg_buf rendered = TG_BUF_INIT(json->max);
    const struct tg_preview_show how = {tg_str_n(t->responses_text, t->responses_len), t->reveal, true};
    tg_items_init(&items);
    int rc = tg_preview_take(tg_str_n(t->event_text, t->event_len), source,
                             t->now == TG_NO_TIME ? tg_wall_ms() : t->now, &items, err);
    if (!rc)
        rc = tg_trial_ask(dest, &items.events[0], &gates, err);
    t->filter_failed = gates.failed;
    if (!rc)
        rc = tg_preview_show(dest->dest, &gates.shown, &how, &rendered, err);
    if (!rc) {
        rc = tg_buf_addc(json, '{');
        rc = rc ? rc : add_gates(&gates, json);
        rc = rc ? rc : tg_buf_add(json, rendered.data + 1, rendered.len - 1);
        rc = rc ? tg_fail(err, rc, "out of memory") : TG_OK;
    }
    tg_trial_gates_fini(&gates);
    tg_items_fini(&items);
    tg_buf_fini(&rendered);
    return rc;
}

/* What to do about it here: options that the message names are the relay's. */
static void add_hint(struct tg_err *err, const char *hint)
{
    size_t n = strlen(err->msg);
    (void)snprintf(err->msg + n, sizeof err->msg - n, "\n%s", hint);
}

static int show_script(struct inputs *t, struct tg_buf *json, struct tg_err *err)
{
    struct tg_preview *preview = NULL;
    const struct tg_config *c = t->paths.config;
    const struct tg_preview_in in = {.library = &t->library,
                                     .script = &t->source,
                                     .settings = tg_str_n(t->settings_text, t->settings_len),
                                     .now = t->now,
                                     .allow_private = t->allow_private || (c && c->egress.allow_private),
                                     .soft_limit_us = c ? c->script.soft_ms * 1000 : 0,
                                     .memory_bytes = c ? c->script.memory_bytes : 0};
    int rc = tg_preview_new(&in, &preview, err);
    if (rc && !in.allow_private && strstr(err->msg, "egress.allow_private"))
        add_hint(err, "Here --allow-private says so, or -c FILE: a configuration with egress.allow_private.");
    else if (rc && !t->settings)
        add_hint(
            err,
            "--settings FILE gives a script its settings; --dest NAME instead of the script takes those of "
            "the configuration.");
    if (!rc)
        rc = show(t, &(struct tg_trial_dest){.dest = tg_preview_dest(preview)}, TG_STR("preview"), json, err);
    tg_preview_free(&preview);
    return rc;
}

/* The source that the event is taken to come from: the one that is named, else the first that may. */
static int find_sender(const struct inputs *t, const struct tg_config *config,
                       const struct tg_destination_config *d, struct tg_str *sender, struct tg_err *err)
{
    *sender = tg_str_of(t->sender ? t->sender : d->sources.n ? d->sources.v[0] : config->sources[0].name);
    for (size_t i = 0; i < config->n_sources; i++)
        if (tg_str_is(*sender, config->sources[i].name))
            return TG_OK;
    return tg_fail(err, TG_NOTFOUND, "--source: there is no source %.*s in the configuration",
                   TG_STR_ARG(*sender));
}

static int show_destination(struct inputs *t, struct tg_buf *json, struct tg_err *err)
{
    struct tg_trial *trial = NULL;
    struct tg_trial_dest dest;
    struct tg_str sender = {0};
    int rc = tg_trial_new(t->config, t->now, &trial, err);
    if (!rc)
        rc = tg_trial_find(trial, t->dest, &dest, err);
    if (!rc)
        rc = find_sender(t, tg_trial_config(trial), dest.config, &sender, err);
    if (!rc)
        rc = show(t, &dest, sender, json, err);
    tg_trial_free(&trial);
    return rc;
}

static int exit_code(struct tg_str json)
{
    struct tg_str outcome = tg_json_get(json, "outcome");
    return tg_str_is(outcome, "\"deliver\"") || tg_str_is(outcome, "\"skip\"") ? TG_EXIT_OK : TG_EXIT_FAILED;
}

static int run(struct inputs *t)
{
    struct tg_err err = {0, ""};
    struct tg_buf json = TG_BUF_INIT(256 << 20);
    int code = TG_EXIT_FAILED, rc = read_inputs(t, &err);
    if (!rc)
        rc = t->dest ? show_destination(t, &json, &err) : show_script(t, &json, &err);
    if (!rc) {
        code = t->filter_failed ? TG_EXIT_FAILED : exit_code(tg_buf_str(&json));
        (void)printf("%.*s\n", TG_STR_ARG(tg_buf_str(&json)));
    } else {
        (void)fprintf(stderr, "tidegate try: %s\n", err.msg);
    }
    tg_buf_fini(&json);
    tg_script_source_free(&t->source);
    tg_script_source_free(&t->library);
    tg_free(t->settings_text);
    tg_free(t->event_text);
    tg_free(t->responses_text);
    return code;
}

/* NULL, or what is wrong with the arguments. */
static const char *problem_of(const struct inputs *t)
{
    if (!t->event)
        return "--event FILE is missing";
    if (!t->script == !t->dest)
        return "either a SCRIPT or --dest NAME";
    if (t->dest && (t->settings || t->allow_private))
        return "with --dest the settings and what may be reached are the configuration's";
    if (!t->dest && t->sender)
        return "--source goes with --dest";
    return NULL;
}

int tg_cmd_try(int argc, char **argv)
{
    struct inputs t = {0};
    bool bad = false;
    t.dest = tg_cli_option(&argc, argv, NULL, "--dest", &bad);
    if (t.dest) /* else it is for the script's surroundings only: tg_script_paths_take */
        t.config = tg_cli_config_path(&argc, argv, &bad);
    if (!tg_script_paths_take(&t.paths, &argc, argv))
        return TG_EXIT_USAGE;
    t.settings = tg_cli_option(&argc, argv, NULL, "--settings", &bad);
    t.event = tg_cli_option(&argc, argv, NULL, "--event", &bad);
    t.responses = tg_cli_option(&argc, argv, NULL, "--responses", &bad);
    t.at = tg_cli_option(&argc, argv, NULL, "--at", &bad);
    t.sender = tg_cli_option(&argc, argv, NULL, "--source", &bad);
    t.reveal = tg_cli_flag(&argc, argv, NULL, "--reveal");
    t.allow_private = tg_cli_flag(&argc, argv, NULL, "--allow-private");
    int code = TG_EXIT_USAGE;
    if (!bad && !tg_cli_too_many(argc, argv, 0, 1)) {
        t.script = argc > 1 ? argv[1] : NULL;
        const char *problem = problem_of(&t);
        code = problem ? tg_cli_usage("try", problem) : run(&t);
    }
    tg_script_paths_fini(&t.paths);
    return code;
}
