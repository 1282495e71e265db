#include "daemon/fixture_gate.h"

#include "daemon/fixture_run.h"

#include <stdio.h>
#include <string.h>

enum { FAILURES_TOLD = 5, PATH_SIZE = 4096 };

static bool same_source(const struct tg_script_source *a, const struct tg_script_source *b)
{
    if (!a || !b || a->n_files != b->n_files)
        return false;
    for (size_t i = 0; i < a->n_files; i++) {
        const struct tg_script_file *x = &a->files[i], *y = &b->files[i];
        if (strcmp(x->name, y->name) != 0 || strcmp(x->path, y->path) != 0 || !tg_str_eq(x->text, y->text))
            return false;
    }
    return true;
}

/* The folder that init.lua was read from. */
static bool folder_of(const struct tg_script_source *script, char folder[PATH_SIZE])
{
    static const char init[] = "init.lua";
    for (size_t i = 0; i < script->n_files; i++) {
        size_t n = strlen(script->files[i].path);
        if (strcmp(script->files[i].name, init) != 0 || n < sizeof init || n >= PATH_SIZE)
            continue;
        (void)snprintf(folder, PATH_SIZE, "%.*s", (int)(n - sizeof init), script->files[i].path);
        return true;
    }
    return false;
}

/* Lines of a report in one line. */
static void flatten(struct tg_buf *report)
{
    size_t out = 0;
    struct tg_str text = tg_str_trim(tg_buf_str(report));
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool space = c == '\n' || c == ' ';
        if (!space || (out && report->data[out - 1] != ' '))
            report->data[out++] = space ? ' ' : c;
    }
    report->len = out;
}

static void check_script(const struct tg_snapshot *next, const struct tg_script_source *script,
                         struct tg_problems *problems)
{
    char folder[PATH_SIZE];
    char **paths;
    size_t n, failures = 0;
    if (!folder_of(script, folder))
        return;
    if (tg_fixture_paths(folder, &paths, &n)) {
        tg_problem_add(problems, folder, NULL, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct tg_fixture_in in = {&next->library, script, paths[i], TG_BROKEN_FORMS, NULL};
        struct tg_fixture_result r;
        tg_fixture_run(&in, &r);
        if (!r.passed && failures++ < FAILURES_TOLD) {
            flatten(&r.report);
            tg_problem_add(problems, paths[i], NULL, "%s: %.*s", r.name ? r.name : "fixture",
                           TG_STR_ARG(tg_buf_str(&r.report)));
        }
        tg_fixture_result_fini(&r);
    }
    if (failures > FAILURES_TOLD)
        tg_problem_add(problems, folder, NULL, "%zu more fixtures fail: tidegate test %s",
                       failures - FAILURES_TOLD, script->name);
    tg_fixture_paths_free(paths, n);
}

void tg_fixture_gate(const struct tg_snapshot *next, const struct tg_snapshot *in_force,
                     struct tg_problems *problems)
{
    bool same_library = same_source(&next->library, &in_force->library);
    for (size_t i = 0; i < next->n_scripts; i++) {
        const struct tg_script_source *script = &next->scripts[i];
        if (!same_library || !same_source(script, tg_snapshot_script(in_force, script->name)))
            check_script(next, script, problems);
    }
}
