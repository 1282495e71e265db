#include "daemon/cmd_describe.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/fixture_run.h"
#include "daemon/preview.h"
#include "daemon/script_paths.h"
#include "script/folders.h"

#include <stdio.h>

enum { PATH_SIZE = 4096, JSON_MAX = 16 << 20 };

struct describing {
    struct tg_script_paths paths;
    struct tg_script_source library, script;
};

/* A script's numbers may be names of settings, so that a contract without settings would say little. */
static int describe(const struct describing *d, struct tg_str settings, struct tg_buf *json,
                    struct tg_err *err)
{
    struct tg_preview *preview = NULL;
    struct tg_preview_in in = {.library = &d->library,
                               .script = &d->script,
                               .settings = settings,
                               .now = TG_NO_TIME,
                               .allow_private = true};
    int rc = tg_preview_new(&in, &preview, err);
    if (!rc)
        rc = tg_dest_describe(tg_preview_dest(preview), json);
    tg_preview_free(&preview);
    return rc;
}

static int describe_by_fixture(const struct describing *d, const char *name, struct tg_buf *json,
                               struct tg_err *err)
{
    char folder[PATH_SIZE];
    char **paths;
    size_t n;
    int rc = tg_script_folder(d->paths.dirs, d->paths.n_dirs, name, folder, sizeof folder, err);
    if (!rc && tg_fixture_paths(folder, &paths, &n))
        rc = tg_fail(err, TG_NOMEM, "out of memory");
    if (rc)
        return rc;
    rc = describe(d, TG_STR("{}"), json, err);
    for (size_t i = 0; rc && i < n; i++) {
        struct tg_fixture fixture;
        if (tg_fixture_load(paths[i], &fixture, NULL))
            continue;
        rc = describe(d, tg_str_of(fixture.settings), json, NULL);
        tg_fixture_fini(&fixture);
    }
    tg_fixture_paths_free(paths, n);
    return rc;
}

/* The contract, and first the folder that it was read from: there may be several of that name. */
static int tell(const struct describing *d, const char *name, const struct tg_buf *json, struct tg_err *err)
{
    char folder[PATH_SIZE];
    struct tg_buf quoted = TG_BUF_INIT(JSON_MAX);
    int rc = tg_script_folder(d->paths.dirs, d->paths.n_dirs, name, folder, sizeof folder, err);
    if (!rc && (rc = tg_json_quote(&quoted, tg_str_of(folder))))
        (void)tg_fail(err, rc, "%s", tg_code_text(rc));
    if (!rc)
        (void)printf("{\"folder\":%.*s,%.*s\n", TG_STR_ARG(tg_buf_str(&quoted)), (int)json->len - 1,
                     json->data + 1);
    tg_buf_fini(&quoted);
    return rc;
}

static int run(struct describing *d, const char *name, const char *settings)
{
    struct tg_err err = {0, ""};
    struct tg_buf json = TG_BUF_INIT(JSON_MAX);
    char *text = NULL;
    size_t len = 0;
    int rc = tg_script_library_find(d->paths.lua, &d->library, &err);
    if (!rc)
        rc = tg_script_source_find(d->paths.dirs, d->paths.n_dirs, name, &d->script, &err);
    if (!rc && settings)
        rc = tg_preview_read(settings, &text, &len, &err);
    if (!rc)
        rc = settings ? describe(d, tg_str_n(text, len), &json, &err)
                      : describe_by_fixture(d, name, &json, &err);
    if (!rc)
        rc = tell(d, name, &json, &err);
    if (rc)
        (void)fprintf(stderr, "tidegate describe: %s\n", err.msg);
    tg_free(text);
    tg_buf_fini(&json);
    tg_script_source_free(&d->script);
    tg_script_source_free(&d->library);
    return rc ? TG_EXIT_FAILED : TG_EXIT_OK;
}

int tg_cmd_describe(int argc, char **argv)
{
    struct describing d = {0};
    bool bad = false;
    int code = TG_EXIT_USAGE;
    if (!tg_script_paths_take(&d.paths, &argc, argv))
        return code;
    const char *settings = tg_cli_option(&argc, argv, NULL, "--settings", &bad);
    if (!bad && !tg_cli_too_many(argc, argv, 1, 1))
        code = run(&d, argv[1], settings);
    tg_script_paths_fini(&d.paths);
    return code;
}
