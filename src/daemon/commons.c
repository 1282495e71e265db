#include "daemon/commons.h"

#include "base/clock.h"
#include "base/log.h"
#include "deliver/leases.h"
#include "deliver/shared.h"
#include "ingest/dedup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>

static int make_dedup(struct tg_commons *c, const struct tg_plain *p, struct tg_err *err)
{
    if (p->dedup_window_ms == 0)
        return TG_OK;
    c->dedup_bytes = tg_dedup_bytes((size_t)p->dedup_entries);
    c->dedup_memory =
        mmap(NULL, c->dedup_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->dedup_memory == MAP_FAILED) {
        c->dedup_memory = NULL;
        return tg_fail_errno(err, errno, "dedup.max_entries");
    }
    int rc = tg_dedup_init(&c->dedup, c->dedup_memory, (size_t)p->dedup_entries, p->dedup_window_ms);
    return rc ? tg_fail(err, rc, "dedup: %s", tg_code_text(rc)) : TG_OK;
}

/* A partner counts on when the relay is started again, so what it was sent of late is remembered. */
static void open_rates(struct tg_commons *c, const char *spool_path)
{
    char path[PATH_MAX];
    struct tg_err err;
    (void)snprintf(path, sizeof path, "%s/rates", spool_path);
    c->rates = tg_shared_open(path, tg_mono_us(), &err);
    if (!c->rates)
        tg_warn("rates are not remembered over a restart", TG_FS("reason", err.msg));
}

int tg_commons_init(struct tg_commons *c, const struct tg_plain *plain, struct tg_err *err)
{
    *c = (struct tg_commons){
        .board = tg_board_new(plain->workers),
        .metrics = tg_metrics_new(plain->workers + 1),
        .shared = tg_shared_new(),
        .leases = tg_leases_new(),
    };
    if (!c->board || !c->metrics || !c->shared || !c->leases)
        return tg_fail(err, TG_NOMEM, "out of memory");
    tg_metrics_slot(c->metrics, 0);
    open_rates(c, plain->spool_path);
    return make_dedup(c, plain, err);
}

void tg_commons_fini(struct tg_commons *c)
{
    tg_board_free(&c->board);
    tg_metrics_free(&c->metrics);
    tg_shared_free(&c->shared);
    tg_shared_free(&c->rates);
    tg_leases_free(&c->leases);
    if (c->dedup_memory)
        (void)munmap(c->dedup_memory, c->dedup_bytes);
    c->dedup_memory = NULL;
    c->dedup = NULL;
}
