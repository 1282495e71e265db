#include "daemon/worker_config.h"

#include "config/loader.h"
#include "daemon/snapshot_bytes.h"

int tg_worker_config_fail(const struct tg_problems *problems, struct tg_err *err)
{
    struct tg_buf text = TG_BUF_INIT(sizeof err->msg);
    if (tg_problems_print(problems, &text) == TG_OK)
        (void)tg_fail(err, TG_INVALID, "%.*s", TG_STR_ARG(tg_str_trim(tg_buf_str(&text))));
    else
        (void)tg_fail(err, TG_INVALID, "the configuration has errors");
    tg_buf_fini(&text);
    return TG_INVALID;
}

int tg_worker_config_read(int fd, struct tg_snapshot **snapshot, struct tg_config **config,
                          struct tg_err *err)
{
    struct tg_problems problems;
    int rc = tg_snapshot_read(fd, snapshot, err);
    if (rc)
        return rc;
    tg_problems_init(&problems);
    *config = tg_config_load(&(*snapshot)->text, &problems);
    if (!*config) {
        rc = tg_worker_config_fail(&problems, err);
        tg_snapshot_free(snapshot);
    }
    tg_problems_fini(&problems);
    return rc;
}

void tg_worker_config_keep(struct tg_config *running, struct tg_config *next)
{
    struct tg_config kept = *running;
    running->listen = next->listen;
    running->n_listen = next->n_listen;
    running->admin = next->admin;
    running->spool.path = next->spool.path;
    next->listen = kept.listen;
    next->n_listen = kept.n_listen;
    next->admin = kept.admin;
    next->spool.path = kept.spool.path;
    next->spool.sync = kept.spool.sync;
    next->spool.sync_interval_ms = kept.spool.sync_interval_ms;
    next->dedup = kept.dedup;
    if (!next->admin_token || !*next->admin_token) { /* the address of before may be one that needs it */
        running->admin_token = next->admin_token;
        next->admin_token = kept.admin_token;
    }
}

int tg_worker_config_first(const struct tg_worker_start *start, struct tg_snapshot **snapshot,
                           struct tg_config **config, struct tg_err *err)
{
    struct tg_snapshot *first = NULL;
    struct tg_config *as_first = NULL;
    int rc = tg_worker_config_read(start->snapshot_fd, snapshot, config, err);
    if (rc || start->first_fd == start->snapshot_fd)
        return rc;
    rc = tg_worker_config_read(start->first_fd, &first, &as_first, err);
    if (rc) {
        tg_snapshot_free(snapshot);
        tg_config_free(config);
        return rc;
    }
    tg_worker_config_keep(as_first, *config);
    struct tg_script_source library = (*snapshot)->library;
    (*snapshot)->library = first->library; /* of which the siblings' states are made */
    first->library = library;
    tg_snapshot_free(&first);
    tg_config_free(&as_first);
    return TG_OK;
}
