#include "daemon/cmd_test.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/fixture_edit.h"
#include "daemon/fixture_run.h"
#include "daemon/preview.h"
#include "daemon/request_lines.h"
#include "daemon/script_paths.h"
#include "daemon/watch.h"
#include "script/folders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, UNTOUCHED_MAX = 1 << 20, FIXTURE_MAX = 64 << 20 };

struct testing {
    struct tg_script_paths paths;
    struct tg_script_source library;
    bool verbose, update;
    unsigned passed, failed;
    struct tg_buf load_error; /* the last one of this script */
};

/* The lines of the file that are other ones now. */
static int print_changes(struct tg_str before, struct tg_str after)
{
    struct tg_buf diff = TG_BUF_INIT(FIXTURE_MAX);
    int rc = tg_line_diff(before, after, &diff);
    struct tg_str rest = tg_buf_str(&diff);
    while (!rc && rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        if (*rest.p != ' ')
            (void)printf("      %.*s\n", (int)n, rest.p);
        n += end != NULL;
        rest = tg_str_n(rest.p + n, rest.n - n);
    }
    tg_buf_fini(&diff);
    return rc;
}

/* Writes what came out into the fixture's file, whole or not at all, and shows it. */
static int accept_result(const char *path, const struct tg_fixture_result *r, struct tg_err *err)
{
    char *text = NULL, aside[PATH_SIZE + 300];
    size_t len;
    struct tg_buf out = TG_BUF_INIT(FIXTURE_MAX);
    if (tg_str_is(tg_json_get(tg_buf_str(&r->got), "outcome"), "\"error\""))
        return tg_fail(err, TG_SCRIPT, "an error of the script is not accepted");
    int rc = tg_preview_read(path, &text, &len, err);
    if (!rc)
        rc = tg_fixture_edit(tg_str_n(text, len), tg_buf_str(&r->got), &out, err);
    (void)snprintf(aside, sizeof aside, "%s.new", path);
    FILE *f = rc ? NULL : fopen(aside, "we");
    if (!rc && (!f || fwrite(out.data, 1, out.len, f) != out.len))
        rc = tg_fail_errno(err, errno, "%s", aside);
    if (f && fclose(f) != 0 && !rc)
        rc = tg_fail_errno(err, errno, "%s", aside);
    if (!rc && rename(aside, path) != 0)
        rc = tg_fail_errno(err, errno, "%s", path);
    if (!rc && (rc = print_changes(tg_str_n(text, len), tg_buf_str(&out))))
        (void)tg_fail(err, rc, "written, but it cannot be shown: %s", tg_code_text(rc));
    tg_buf_fini(&out);
    tg_free(text);
    return rc;
}

/* A script that cannot be loaded says why with each of its fixtures: once is enough. */
static bool said_before(struct testing *t, const struct tg_fixture_result *r)
{
    if (r->loaded)
        return false;
    if (tg_str_eq(tg_buf_str(&t->load_error), tg_buf_str(&r->report)))
        return true;
    tg_buf_clear(&t->load_error);
    if (tg_buf_addstr(&t->load_error, tg_buf_str(&r->report)))
        tg_buf_clear(&t->load_error);
    return false;
}

static void tell(struct testing *t, const char *word, const char *script, const char *file,
                 const struct tg_fixture_result *r)
{
    struct tg_str report = said_before(t, r) ? TG_STR("      as above\n") : tg_buf_str(&r->report);
    (void)printf("%s %s/%s: %s\n%.*s", word, script, file, r->name ? r->name : file, TG_STR_ARG(report));
    if (t->verbose && r->rendered)
        (void)printf("      %.*s\n", TG_STR_ARG(tg_buf_str(&r->got)));
}

static void run_fixture(struct testing *t, const struct tg_script_source *source,
                        struct tg_coverage *coverage, const char *path)
{
    struct tg_fixture_in in = {&t->library, source, path, TG_BROKEN_FORMS, coverage};
    struct tg_fixture_result r;
    struct tg_err err;
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    tg_fixture_run(&in, &r);
    if (t->update && !r.passed && r.rendered) {
        tell(t, "was ", source->name, file, &r);
        if (accept_result(path, &r, &err)) {
            (void)printf("      not accepted: %s\n", err.msg);
        } else {
            tg_fixture_result_fini(&r);
            tg_fixture_run(&in, &r);
            (void)printf("%s %s/%s\n",
                         r.passed ? "now accepted:" : "accepted, but it still fails:", source->name, file);
        }
    }
    if (r.passed)
        t->passed++;
    else
        t->failed++;
    if (!r.passed || t->verbose)
        tell(t, r.passed ? "ok  " : "FAIL", source->name, file, &r);
    tg_fixture_result_fini(&r);
}

static void tell_untouched(const struct tg_coverage *coverage)
{
    struct tg_buf text = TG_BUF_INIT(UNTOUCHED_MAX);
    unsigned n = 0;
    if (tg_coverage_report(coverage, "               ", &text, &n))
        (void)printf("             out of memory: coverage is not known\n");
    else if (n)
        (void)printf("             no fixture touches\n%.*s", TG_STR_ARG(tg_buf_str(&text)));
    tg_buf_fini(&text);
}

static int run_fixtures(struct testing *t, const struct tg_script_source *source, const char *folder)
{
    char **paths;
    size_t n;
    struct tg_coverage *coverage = NULL;
    int rc = tg_fixture_paths(folder, &paths, &n);
    if (rc)
        return rc;
    rc = tg_coverage_new(&coverage);
    for (size_t i = 0; !rc && i < source->n_files; i++)
        tg_coverage_source(coverage, source->files[i].path, source->files[i].text);
    tg_buf_clear(&t->load_error);
    unsigned before = t->passed, bad = t->failed;
    for (size_t i = 0; !rc && i < n; i++)
        run_fixture(t, source, coverage, paths[i]);
    if (!rc) {
        (void)printf("%-12s %u passed, %u failed%s\n", source->name, t->passed - before, t->failed - bad,
                     n ? "" : " (no fixtures)");
        tell_untouched(coverage);
    }
    tg_coverage_free(&coverage);
    tg_fixture_paths_free(paths, n);
    return rc;
}

static bool run_script(struct testing *t, const char *name)
{
    struct tg_err err;
    struct tg_script_source source;
    char folder[PATH_SIZE];
    int rc = tg_script_folder(t->paths.dirs, t->paths.n_dirs, name, folder, sizeof folder, &err);
    if (!rc)
        rc = tg_script_source_find(t->paths.dirs, t->paths.n_dirs, name, &source, &err);
    if (rc) {
        (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
        return false;
    }
    rc = run_fixtures(t, &source, folder);
    if (rc)
        (void)fprintf(stderr, "tidegate test: %s: %s\n", name, tg_code_text(rc));
    tg_script_source_free(&source);
    return rc == TG_OK;
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

static bool run_named(struct testing *t, int argc, char **argv)
{
    bool well = true;
    if (argc < 2)
        well = run_all(t);
    for (int i = 1; i < argc; i++)
        well = run_script(t, argv[i]) && well;
    return well;
}

/* Runs again whenever something changes, until it is interrupted. */
static int run_watching(struct testing *t, int argc, char **argv)
{
    struct tg_err err;
    int fd, rc = tg_watch_open(&fd, &err);
    for (; !rc; rc = tg_watch_wait(fd, &err)) {
        char folder[PATH_SIZE];
        t->passed = t->failed = 0;
        for (size_t i = 0; !rc && argc < 2 && i < t->paths.n_dirs; i++)
            rc = tg_watch_add(fd, t->paths.dirs[i], true, &err);
        for (int i = 1; !rc && i < argc; i++)
            if (!tg_script_folder(t->paths.dirs, t->paths.n_dirs, argv[i], folder, sizeof folder, NULL))
                rc = tg_watch_add(fd, folder, true, &err);
        if (rc)
            break;
        (void)run_named(t, argc, argv);
        (void)printf("watching; Ctrl-C ends\n");
        (void)fflush(stdout);
    }
    (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
    if (fd >= 0)
        (void)close(fd);
    return TG_EXIT_FAILED;
}

int tg_cmd_test(int argc, char **argv)
{
    struct testing t = {.load_error = TG_BUF_INIT(UNTOUCHED_MAX)};
    struct tg_err err;
    int code = TG_EXIT_USAGE;
    if (!tg_script_paths_take(&t.paths, &argc, argv))
        return code;
    t.verbose = tg_cli_flag(&argc, argv, "-v", "--verbose");
    t.update = tg_cli_flag(&argc, argv, NULL, "--update");
    bool watch = tg_cli_flag(&argc, argv, NULL, "--watch");
    tg_log_set_level(TG_LOG_ERROR);
    if (tg_cli_too_many(argc, argv, 0, 1000))
        ;
    else if (tg_script_library_find(t.paths.lua, &t.library, &err)) {
        (void)fprintf(stderr, "tidegate test: %s\n", err.msg);
        code = TG_EXIT_FAILED;
    } else if (watch) {
        code = run_watching(&t, argc, argv);
    } else {
        code = run_named(&t, argc, argv) && !t.failed ? TG_EXIT_OK : TG_EXIT_FAILED;
    }
    tg_buf_fini(&t.load_error);
    tg_script_source_free(&t.library);
    tg_script_paths_fini(&t.paths);
    return code;
}
