#include "daemon/cmd_try.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "daemon/preview.h"
#include "daemon/script_paths.h"
#include "script/sources.h"

#include <stdio.h>
#include <string.h>

struct trial {
    struct tg_script_paths paths;
    const char *script, *settings, *event, *responses, *at;
    bool reveal, allow_private;
    struct tg_script_source source, library;
    char *settings_text, *event_text, *responses_text;
    size_t settings_len, event_len, responses_len;
    int64_t now;
};

static int read_inputs(struct trial *t, struct tg_err *err)
{
    t->now = TG_NO_TIME;
    if (t->at && !tg_time_parse(tg_str_of(t->at), &t->now))
        return tg_fail(err, TG_INVALID, "--at: '%s' is not a time such as 2026-01-02T03:04:05Z", t->at);
    int rc = tg_script_library_find(t->paths.lua, &t->library, err);
    if (!rc)
        rc = tg_script_source_find(t->paths.dirs, t->paths.n_dirs, t->script, &t->source, err);
    if (!rc && t->settings)
        rc = tg_preview_read(t->settings, &t->settings_text, &t->settings_len, err);
    if (!rc)
        rc = tg_preview_read(t->event, &t->event_text, &t->event_len, err);
    if (!rc && t->responses)
        rc = tg_preview_read(t->responses, &t->responses_text, &t->responses_len, err);
    return rc;
}

static int render(struct trial *t, struct tg_buf *json, struct tg_err *err)
{
    struct tg_preview *preview = NULL;
    struct tg_preview_in in = {.library = &t->library,
                               .script = &t->source,
                               .settings = tg_str_n(t->settings_text, t->settings_len),
                               .now = t->now,
                               .allow_private = t->allow_private};
    int rc = tg_preview_new(&in, &preview, err);
    if (!rc)
        rc = tg_preview_run(preview, tg_str_n(t->event_text, t->event_len),
                            tg_str_n(t->responses_text, t->responses_len), t->reveal, json, err);
    tg_preview_free(&preview);
    return rc;
}

static int exit_code(struct tg_str json)
{
    struct tg_str outcome = tg_json_get(json, "outcome");
    return tg_str_is(outcome, "\"deliver\"") || tg_str_is(outcome, "\"skip\"") ? TG_EXIT_OK : TG_EXIT_FAILED;
}

static int run(struct trial *t)
{
    struct tg_err err = {0, ""};
    struct tg_buf json = TG_BUF_INIT(256 << 20);
    int code = TG_EXIT_FAILED, rc = read_inputs(t, &err);
    if (!rc)
        rc = render(t, &json, &err);
    if (!rc) {
        code = exit_code(tg_buf_str(&json));
        (void)printf("%.*s\n", TG_STR_ARG(tg_buf_str(&json)));
    } else {
        (void)fprintf(stderr, "tidegate try: %s\n", err.msg);
    }
    tg_buf_fini(&json);
    tg_script_source_fini(&t->source);
    tg_script_source_fini(&t->library);
    tg_free(t->settings_text);
    tg_free(t->event_text);
    tg_free(t->responses_text);
    return code;
}

int tg_cmd_try(int argc, char **argv)
{
    struct trial t = {0};
    bool bad = false;
    if (!tg_script_paths_take(&t.paths, &argc, argv))
        return TG_EXIT_USAGE;
    t.settings = tg_cli_option(&argc, argv, NULL, "--settings", &bad);
    t.event = tg_cli_option(&argc, argv, NULL, "--event", &bad);
    t.responses = tg_cli_option(&argc, argv, NULL, "--responses", &bad);
    t.at = tg_cli_option(&argc, argv, NULL, "--at", &bad);
    t.reveal = tg_cli_flag(&argc, argv, NULL, "--reveal");
    t.allow_private = tg_cli_flag(&argc, argv, NULL, "--allow-private");
    int code = TG_EXIT_USAGE;
    if (bad || tg_cli_too_many(argc, argv, 1, 1))
        ;
    else if (!t.event)
        code = tg_cli_usage("try", "--event FILE is missing");
    else {
        t.script = argv[1];
        code = run(&t);
    }
    tg_script_paths_fini(&t.paths);
    return code;
}
