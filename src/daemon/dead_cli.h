/* `tidegate dead ls|show|replay|drop`: dead letters, beside a running relay or without one. */
#ifndef TG_DAEMON_DEAD_CLI_H
#define TG_DAEMON_DEAD_CLI_H

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>

/* argv[0] is "dead", argv[1] the command. Data goes to `out`, messages to `errs`. The exit status: 0, 1 when
 * it failed (said on `errs`), 2 for usage. A spool without state.db has no dead letters. May wait for the
 * disk. */
struct tg_dead_world {
    const char *spool_dir;
    const char *config_path;         /* for --dry-run */
    const char *const *destinations; /* that are configured */
    size_t n_destinations;
    /* Tells a running relay that the state has changed; *runs says whether there is one. Negative: it could
     * not be told, `err` says why. NULL: there is none. */
    int (*wake)(const char *spool_dir, bool *runs, struct tg_err *err);
    /* Whether a running relay has loaded something else than what has this tg_snapshot_digest. May be NULL.
     */
    bool (*differs)(const char *spool_dir, const char *digest);
};
int tg_dead_main(const struct tg_dead_world *world, int argc, char **argv, FILE *out, FILE *errs);

#endif
