/* One fixture of a script: run, compared, run again, and its event sent in broken forms. Used by `tidegate
 * test`, by the check before a reload, and by the module for plain LuaJIT. */
#ifndef TG_DAEMON_FIXTURE_RUN_H
#define TG_DAEMON_FIXTURE_RUN_H

#include "script/coverage.h"
#include "script/fixture.h"
#include "script/host.h"

struct tg_fixture_in {
    const struct tg_script_source *library, *script;
    const char *path;             /* of the fixture's file */
    unsigned broken_forms;        /* TG_BROKEN_FORMS; 0: only the event itself */
    struct tg_coverage *coverage; /* or NULL */
};
enum { TG_BROKEN_FORMS = 60 };
#define TG_BROKEN_EVENT "the event was " /* begins the line of a report that shows a broken form */

struct tg_fixture_result {
    bool passed;
    bool rendered;        /* `got` says what came out */
    char *name;           /* what the fixture shows; the path when it could not be read */
    struct tg_buf got;    /* as tg_render says */
    bool loaded;          /* the script was, with the fixture's settings */
    struct tg_buf report; /* what is wrong, indented lines for a person; what caused it first */
};
/* Always fills *result, which is freed with tg_fixture_result_fini; whatever goes wrong makes it fail. Runs
 * Lua, in a state of its own. */
void tg_fixture_run(const struct tg_fixture_in *in, struct tg_fixture_result *result);
void tg_fixture_result_fini(struct tg_fixture_result *result);

/* The fixtures of the script in `folder`, paths in order, freed with tg_fixture_paths_free. A script without
 * any has none; TG_NOMEM. */
TG_MUST_CHECK int tg_fixture_paths(const char *folder, char ***paths, size_t *n);
void tg_fixture_paths_free(char **paths, size_t n);

#endif
