#include "daemon/cmd_test.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "daemon/cli.h"
#include "daemon/json_diff.h"
#include "daemon/mutate.h"
#include "daemon/preview.h"
#include "daemon/script_paths.h"
#include "script/fixture.h"
#include "script/sources.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BROKEN_FORMS = 60, DIFFERENCES = 12, JSON_MAX = 64 << 20, PATH_SIZE = 1024 };

struct testing {
    struct tg_script_paths paths;
    struct tg_script_source library;
    bool verbose;
    unsigned passed, failed;
};

struct one { /* a fixture under test */
    struct testing *t;
    const char *script;
    struct tg_fixture f;
    struct tg_preview *preview;
    struct tg_buf got, report;
};

static void complain(struct one *o, const char *format, const char *text)
{
    char line[4096];
    (void)snprintf(line, sizeof line, format, text);
    if (tg_buf_printf(&o->report, "      %s\n", line))
        o->report.len = o->report.max; /* full: it has failed all the same */
}

/* --- the checks --- */

static bool check_expected(struct one *o)
{
    struct tg_str got = tg_buf_str(&o->got), want = tg_str_of(o->f.expect);
    static const char *const keys[] = {"outcome", "reason", "requests"};
    unsigned n = 0;
    for (int i = 0; i < 3; i++) {
        struct tg_str w = tg_json_get(want, keys[i]), g = tg_json_get(got, keys[i]);
        if (!w.n && i == 0)
            w = TG_STR("\"deliver\"");
        if (!w.n && i == 1)
            w = TG_STR("null");
        if (!w.n)
            w = TG_STR("[]");
        struct tg_buf part = TG_BUF_INIT(JSON_MAX);
        unsigned here = tg_json_diff(w, g, DIFFERENCES, &part);
        if (here && tg_buf_printf(&o->report, "    %s\n%.*s", keys[i], TG_STR_ARG(tg_buf_str(&part))))
            here++;
        n += here;
        tg_buf_fini(&part);
    }
    struct tg_str message = tg_json_get(got, "message");
    if (n && message.n && tg_buf_printf(&o->report, "    it said: %.*s\n", TG_STR_ARG(message)))
        return false;
    return n == 0;
}

static bool check_again(struct one *o)
{
    struct tg_buf again = TG_BUF_INIT(JSON_MAX);
    struct tg_err err;
    bool same =
        !tg_preview_run(o->preview, tg_str_of(o->f.event), tg_str_of(o->f.responses), true, &again, &err) &&
        tg_str_eq(tg_buf_str(&again), tg_buf_str(&o->got));
    if (!same)
        complain(o, "a second run of the same event gave something else: %s",
                 again.len ? tg_buf_cstr(&again) : "nothing");
    tg_buf_fini(&again);
    return same;
}

/* Broken forms of the event: whatever they lead to, the script may not raise. */
static bool check_broken(struct one *o)
{
    bool well = true;
    for (unsigned i = 1; well && i <= BROKEN_FORMS; i++) {
        struct tg_buf event = TG_BUF_INIT(JSON_MAX), json = TG_BUF_INIT(JSON_MAX);
        struct tg_err err;
        if (!tg_mutate_json(tg_str_of(o->f.event), i, &event) &&
            !tg_preview_run(o->preview, tg_buf_str(&event), tg_str_of(o->f.responses), true, &json, &err) &&
            tg_str_is(tg_json_get(tg_buf_str(&json), "outcome"), "\"error\"")) {
            struct tg_str said = tg_json_get(tg_buf_str(&json), "message");
            char *text = tg_strndup(said.n ? said.p : "", said.n);
            complain(o, "a broken form of the event makes the script raise: %s", text ? text : "");
            complain(o, "the event was %s", tg_buf_cstr(&event));
            tg_free(text);
            well = false;
        }
        tg_buf_fini(&event);
        tg_buf_fini(&json);
    }
    return well;
}

static bool open_preview(struct one *o, const struct tg_script_source *source)
{
    struct tg_err err;
    struct tg_preview_in in = {.library = &o->t->library,
                               .script = source,
                               .settings = tg_str_of(o->f.settings),
                               .now =
                                   1767225600000, /* 2026-01-01T00:00:00Z unless the fixture says otherwise */
                               .allow_private = o->f.allow_private};
    if (o->f.at && !tg_time_parse(tg_str_of(o->f.at), &in.now)) {
        complain(o, "at: '%s' is not a time", o->f.at);
        return false;
    }
    if (tg_preview_new(&in, &o->preview, &err)) {
        complain(o, "%s", err.msg);
        return false;
    }
    return true;
}

static bool check(struct one *o, const struct tg_script_source *source)
{
    struct tg_err err;
    if (!o->f.expect) {
        complain(o, "%s", "expect: a fixture says what it expects: { outcome, reason, requests }");
        return false;
    }
    if (!open_preview(o, source))
        return false;
    if (tg_preview_run(o->preview, tg_str_of(o->f.event), tg_str_of(o->f.responses), true, &o->got, &err)) {
        complain(o, "%s", err.msg);
        return false;
    }
    bool well = check_expected(o);
    well = check_again(o) && well;
    return check_broken(o) && well;
}

/* --- fixtures --- */

static void run_fixture(struct testing *t, const struct tg_script_source *source, const char *folder,
                        const char *file)
{
    struct one o = {
        .t = t, .script = source->name, .got = TG_BUF_INIT(JSON_MAX), .report = TG_BUF_INIT(1 << 20)};
    struct tg_err err;
    char path[PATH_SIZE + 300];
    (void)snprintf(path, sizeof path, "%s/fixtures/%s", folder, file);
    bool loaded = !tg_fixture_load(path, &o.f, &err), well = false;
    if (loaded)
        well = check(&o, source);
    else
        complain(&o, "%s", err.msg);
    if (well)
        t->passed++;
    else
        t->failed++;
    if (!well || t->verbose)
        (void)printf("%s %s/%s: %s\n%.*s", well ? "ok  " : "FAIL", source->name, file,
                     loaded ? o.f.name : file, TG_STR_ARG(tg_buf_str(&o.report)));
    if (t->verbose && o.got.len)
        (void)printf("      %.*s\n", TG_STR_ARG(tg_buf_str(&o.got)));
    tg_preview_free(&o.preview);
    tg_fixture_fini(&o.f);
    tg_buf_fini(&o.got);
    tg_buf_fini(&o.report);
}

static int is_fixture(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 4 && strcmp(e->d_name + n - 4, ".lua") == 0;
}

static bool run_script(struct testing *t, const char *name)
{
    struct tg_err err;
    struct tg_script_source source;
    char folder[PATH_SIZE], fixtures[PATH_SIZE + 16];
    int rc = tg_script_folder(t->paths.dirs, t->paths.n_dirs, name, folder, sizeof folder, &err);
    if (!rc)
        rc = tg_script_source_find(t->paths.dirs, t->paths.n_dirs, name, &source, &err);
    if (rc) {
        (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
        return false;
    }
    (void)snprintf(fixtures, sizeof fixtures, "%s/fixtures", folder);
    struct dirent **files = NULL;
    int n = scandir(fixtures, &files, is_fixture, alphasort);
    unsigned before = t->passed, bad = t->failed;
    for (int i = 0; i < n; i++) {
        run_fixture(t, &source, folder, files[i]->d_name);
        tg_free(files[i]);
    }
    tg_free(files);
    (void)printf("%-12s %u passed, %u failed%s\n", name, t->passed - before, t->failed - bad,
                 n <= 0 ? " (no fixtures)" : "");
    tg_script_source_fini(&source);
    return true;
}

static bool run_all(struct testing *t)
{
    struct tg_err err;
    char **names;
    size_t n;
    bool well = true;
    if (tg_script_names(t->paths.dirs, t->paths.n_dirs, &names, &n, &err)) {
        (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        well = run_script(t, names[i]) && well;
        tg_free(names[i]);
    }
    tg_free(names);
    return well;
}

int tg_cmd_test(int argc, char **argv)
{
    struct testing t = {0};
    struct tg_err err;
    if (!tg_script_paths_take(&t.paths, &argc, argv))
        return TG_EXIT_USAGE;
    t.verbose = tg_cli_flag(&argc, argv, "-v", "--verbose");
    if (tg_cli_too_many(argc, argv, 0, 1000)) {
        tg_script_paths_fini(&t.paths);
        return TG_EXIT_USAGE;
    }
    tg_log_set_level(TG_LOG_ERROR);
    bool well = !tg_script_library_find(t.paths.lua, &t.library, &err);
    if (!well)
        (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
    else if (argc < 2)
        well = run_all(&t);
    for (int i = 1; i < argc && t.library.n_files; i++)
        well = run_script(&t, argv[i]) && well;
    tg_script_source_fini(&t.library);
    tg_script_paths_fini(&t.paths);
    return well && !t.failed ? TG_EXIT_OK : TG_EXIT_FAILED;
}
