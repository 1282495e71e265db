#include "daemon/fixture_gate.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/fixture_run.h"

#include <stdio.h>
#include <string.h>

enum { CAUSES_TOLD = 5, CAUSE_BYTES = 600, REPORT_BYTES = 2 << 20, PATH_SIZE = 4096 };

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

/* Why fixtures fail: those with the same cause are told once. */
struct cause {
    char *text, *path, *name; /* of the first */
    size_t more;
};
struct failures {
    struct cause causes[CAUSES_TOLD];
    size_t n, untold;
};

static bool next_line(struct tg_str *text, struct tg_str *line)
{
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    bool any = text->n > 0;
    *line = end ? tg_str_n(text->p, (size_t)(end - text->p)) : *text;
    *text = end ? tg_str_n(end + 1, text->n - line->n - 1) : TG_STR("");
    return any;
}

/* Cut where it gets long, between two characters. */
static char *shortened(const struct tg_buf *text)
{
    size_t n = text->len;
    char line[CAUSE_BYTES + 8];
    if (n > CAUSE_BYTES)
        for (n = CAUSE_BYTES; n && ((unsigned char)text->data[n] & 0xc0) == 0x80;)
            n--;
    (void)snprintf(line, sizeof line, "%.*s%s", (int)n, n ? text->data : "", n < text->len ? " …" : "");
    return tg_strdup(line);
}

/* A report in one line, of which the cause comes first: `requests[1].url: expected …; it said: …`. Lines that
 * are indented by four are headings of those beneath. */
static char *in_one_line(struct tg_str report)
{
    struct tg_buf out = TG_BUF_INIT(REPORT_BYTES);
    struct tg_str line, heading = TG_STR("");
    int rc = TG_OK;
    while (!rc && next_line(&report, &line)) {
        bool is_heading = line.n > 4 && memcmp(line.p, "    ", 4) == 0 && line.p[4] != ' ';
        bool detail = line.n && line.p[0] == '\t'; /* of a traceback: `tidegate test` shows it */
        line = tg_str_trim(line);
        detail = detail || tg_str_is(line, "stack traceback:") || tg_str_starts(line, TG_BROKEN_EVENT);
        if (is_heading)
            heading = line;
        if (is_heading || detail || !line.n)
            continue;
        rc = tg_buf_printf(&out, "%s%.*s%s%.*s", out.len ? "; " : "", TG_STR_ARG(heading),
                           !heading.n         ? ""
                           : line.p[0] == '[' ? ""
                                              : ": ",
                           TG_STR_ARG(line));
    }
    char *text = shortened(&out);
    tg_buf_fini(&out);
    return text;
}

static void note(struct failures *f, const char *path, const struct tg_fixture_result *r)
{
    char *text = in_one_line(tg_buf_str(&r->report));
    for (size_t i = 0; text && i < f->n; i++)
        if (strcmp(f->causes[i].text, text) == 0) {
            f->causes[i].more++;
            tg_free(text);
            return;
        }
    struct cause cause = {text, text ? tg_strdup(path) : NULL, tg_strdup(r->name ? r->name : "fixture"), 0};
    if (f->n < CAUSES_TOLD && cause.text && cause.path && cause.name) {
        f->causes[f->n++] = cause;
        return;
    }
    f->untold++;
    tg_free(cause.text);
    tg_free(cause.path);
    tg_free(cause.name);
}

static void tell(struct failures *f, const char *folder, const struct tg_script_source *script,
                 struct tg_problems *problems)
{
    for (size_t i = 0; i < f->n; i++) {
        struct cause *c = &f->causes[i];
        char more[64] = "";
        if (c->more)
            (void)snprintf(more, sizeof more, " (and %zu more fixture%s)", c->more, c->more == 1 ? "" : "s");
        tg_problem_add(problems, NULL, NULL, "%s (fixture %s: %s)%s", c->text, c->path, c->name, more);
        tg_free(c->text);
        tg_free(c->path);
        tg_free(c->name);
    }
    if (f->untold)
        tg_problem_add(problems, folder, NULL, "%zu more fixtures fail: tidegate test %s", f->untold,
                       script->name);
}

static size_t check_script(const struct tg_snapshot *next, const struct tg_script_source *script,
                           struct tg_problems *problems)
{
    char folder[PATH_SIZE];
    char **paths;
    size_t n;
    struct failures failures = {.n = 0};
    if (!folder_of(script, folder))
        return 0;
    if (tg_fixture_paths(folder, &paths, &n)) {
        tg_problem_add(problems, folder, NULL, "out of memory");
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct tg_fixture_in in = {&next->library, script, paths[i], TG_BROKEN_FORMS, NULL};
        struct tg_fixture_result r;
        tg_fixture_run(&in, &r);
        if (!r.passed)
            note(&failures, paths[i], &r);
        tg_fixture_result_fini(&r);
    }
    tell(&failures, folder, script, problems);
    tg_fixture_paths_free(paths, n);
    return n;
}

size_t tg_fixture_gate(const struct tg_snapshot *next, const struct tg_snapshot *in_force,
                       struct tg_problems *problems)
{
    bool same_library = in_force && same_source(&next->library, &in_force->library);
    size_t n = 0;
    tg_log_set_process("fixtures");
    for (size_t i = 0; i < next->n_scripts; i++) {
        const struct tg_script_source *script = &next->scripts[i];
        if (!same_library || !same_source(script, tg_snapshot_script(in_force, script->name)))
            n += check_script(next, script, problems);
    }
    return n;
}
