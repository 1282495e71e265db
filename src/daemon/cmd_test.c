#include "daemon/cmd_test.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/fixture_run.h"
#include "daemon/script_paths.h"
#include "script/sources.h"

#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 1024, UNTOUCHED_MAX = 1 << 20 };

struct testing {
    struct tg_script_paths paths;
    struct tg_script_source library;
    bool verbose;
    unsigned passed, failed;
};

static void run_fixture(struct testing *t, const struct tg_script_source *source,
                        struct tg_coverage *coverage, const char *path)
{
    struct tg_fixture_in in = {&t->library, source, path, TG_BROKEN_FORMS, coverage};
    struct tg_fixture_result r;
    const char *file = strrchr(path, '/');
    tg_fixture_run(&in, &r);
    if (r.passed)
        t->passed++;
    else
        t->failed++;
    if (!r.passed || t->verbose)
        (void)printf("%s %s/%s: %s\n%.*s", r.passed ? "ok  " : "FAIL", source->name, file ? file + 1 : path,
                     r.name ? r.name : path, TG_STR_ARG(tg_buf_str(&r.report)));
    if (t->verbose && r.rendered)
        (void)printf("      %.*s\n", TG_STR_ARG(tg_buf_str(&r.got)));
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
    tg_script_source_fini(&source);
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
