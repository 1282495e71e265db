/* `tidegate check` and `tidegate config --example` */
#include "base/log.h"
#include "config/example.h"
#include "config/loader.h"
#include "daemon/cli.h"
#include "daemon/fixture_gate.h"
#include "daemon/snapshot_build.h"

#include <stdio.h>

static void tell_good(const char *path, const struct tg_config *config, bool ran, size_t fixtures)
{
    (void)printf("%s: good: %zu source%s, %zu destination%s", path, config->n_sources,
                 config->n_sources == 1 ? "" : "s", config->n_destinations,
                 config->n_destinations == 1 ? "" : "s");
    if (ran)
        (void)printf(", %zu fixture%s passed\n", fixtures, fixtures == 1 ? "" : "s");
    else
        (void)printf("; fixtures were not run\n");
}

/* As `reload` does it for scripts that have changed; here nobody knows which those are. */
int tg_cmd_check(int argc, char **argv)
{
    bool bad = false, run = !tg_cli_flag(&argc, argv, NULL, "--no-fixtures");
    const char *path = tg_cli_config_path(&argc, argv, &bad);
    if (bad || tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    struct tg_problems problems;
    struct tg_config *config = NULL;
    struct tg_buf report = TG_BUF_INIT(1024 * 1024);
    tg_problems_init(&problems);
    struct tg_snapshot *s = tg_snapshot_build(path, 1, &config, &problems);
    tg_log_set_level(TG_LOG_ERROR); /* of scripts in fixtures: as `test` does */
    size_t fixtures = s && run ? tg_fixture_gate(s, NULL, &problems) : 0;
    int status = tg_problems_any(&problems) || !s ? TG_EXIT_FAILED : TG_EXIT_OK;
    if (status == TG_EXIT_OK)
        tell_good(path, config, run, fixtures);
    else if (tg_problems_print(&problems, &report) == TG_OK)
        (void)fwrite(report.data, 1, report.len, stderr);
    tg_buf_fini(&report);
    tg_config_free(&config);
    tg_snapshot_free(&s);
    tg_problems_fini(&problems);
    return status;
}

int tg_cmd_config(int argc, char **argv)
{
    bool example = tg_cli_flag(&argc, argv, NULL, "--example");
    if (tg_cli_too_many(argc, argv, 0, 0))
        return TG_EXIT_USAGE;
    if (!example)
        return tg_cli_usage(argv[0], "say --example");
    struct tg_buf out = TG_BUF_INIT(1024 * 1024);
    int rc = tg_config_example(&out);
    if (rc)
        (void)fprintf(stderr, "tidegate: %s\n", tg_code_text(rc));
    else
        (void)fwrite(out.data, 1, out.len, stdout);
    tg_buf_fini(&out);
    return rc ? TG_EXIT_FAILED : TG_EXIT_OK;
}
