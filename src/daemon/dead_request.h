/* What `tidegate dead` is asked for, and where: what its commands share. */
#ifndef TG_DAEMON_DEAD_REQUEST_H
#define TG_DAEMON_DEAD_REQUEST_H

#include "base/buf.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stdio.h>

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

enum tg_dead_command { TG_DEAD_LS = 1, TG_DEAD_SHOW = 2, TG_DEAD_DROP = 4, TG_DEAD_REPLAY = 8 };

struct tg_dead_request {
    unsigned command; /* one of these; 0: none, for --help */
    const char *name; /* of the command, for messages */
    const struct tg_dead_world *world;
    struct tg_dead_filter filter;
    const char *responses; /* file */
    bool json, all, dry_run, help;
    char **ids; /* the plain arguments: whole numbers above 0 */
    int n_ids;
    FILE *out, *errs;
};

enum { TG_DEAD_ROW_MAX = 64 * 1024 * 1024 }; /* bytes of one printed dead letter */

/* From now on the filter matches the i-th of the ids alone. */
void tg_dead_pick(struct tg_dead_request *r, int i);

/* These say what went wrong on `errs` and return TG_EXIT_FAILED. */
int tg_dead_failed(const struct tg_dead_request *r, const struct tg_err *err, int code);
int tg_dead_no_such(const struct tg_dead_request *r, const char *id);

TG_MUST_CHECK int tg_dead_print_out(FILE *out, const struct tg_buf *text);
/* A running relay looks at once; without that word it would within a minute. */
void tg_dead_wake(const struct tg_dead_request *r, bool *runs);

#endif
