#include "daemon/dead_cli.h"

#include "daemon/cli.h"
#include "daemon/dead_args.h"
#include "daemon/dead_dry_run.h"
#include "daemon/dead_list.h"
#include "daemon/dead_replay.h"

#include <errno.h>
#include <unistd.h>

/* --- drop --- */

static int drop_matching(struct tg_state *s, struct tg_dead_request *r, int64_t *dropped)
{
    struct tg_err err = {0};
    int64_t n = 0;
    int code = s ? tg_state_dead_drop(s, &r->filter, &n, &err) : TG_OK;
    *dropped += n;
    return code ? tg_dead_failed(r, &err, code) : 0;
}

static int drop_ids(struct tg_state *s, struct tg_dead_request *r, int64_t *dropped)
{
    int result = 0;
    for (int i = 0; i < r->n_ids; i++) {
        int64_t before = *dropped;
        tg_dead_pick(r, i);
        int code = drop_matching(s, r, dropped);
        if (code)
            return code;
        if (*dropped == before)
            result = tg_dead_no_such(r, r->ids[i]);
    }
    return result;
}

static int run_drop(struct tg_state *s, struct tg_dead_request *r)
{
    int64_t dropped = 0;
    int code = r->n_ids ? drop_ids(s, r, &dropped) : drop_matching(s, r, &dropped);
    bool runs;
    if (dropped)
        tg_dead_wake(r, &runs); /* there may be room again */
    fprintf(r->out, "dropped %lld dead letter%s\n", (long long)dropped, dropped == 1 ? "" : "s");
    return code;
}

/* --- all together --- */

/* *s stays NULL where there is no file: then there are no dead letters, and none is made. */
static int open_state(const struct tg_dead_request *r, const char *spool_dir, struct tg_state **s)
{
    struct tg_err err = {0};
    struct tg_buf path = TG_BUF_INIT(8192);
    int code = tg_buf_printf(&path, "%s/%s", spool_dir, TG_STATE_FILE);
    const char *z = code ? NULL : tg_buf_cstr(&path);
    bool there = z && (access(z, F_OK) == 0 || errno != ENOENT);
    tg_buf_fini(&path);
    if (!z)
        code = TG_NOMEM;
    else if (there)
        code = tg_state_open(spool_dir, NULL, s, &err);
    return code ? tg_dead_failed(r, &err, code) : 0;
}

static int run(struct tg_dead_request *r)
{
    struct tg_state *s = NULL;
    int code = open_state(r, r->world->spool_dir, &s);
    if (code)
        return code;
    switch (r->command) {
    case TG_DEAD_LS:
        code = tg_dead_ls(s, r);
        break;
    case TG_DEAD_SHOW:
        code = tg_dead_show(s, r);
        break;
    case TG_DEAD_REPLAY:
        code = r->dry_run ? tg_dead_dry_run(s, r) : tg_dead_replay(s, r);
        break;
    default:
        code = run_drop(s, r);
    }
    tg_state_close(&s);
    if (fflush(r->out) || ferror(r->out)) {
        if (!code)
            fprintf(r->errs, "dead %s: cannot write: %s\n", r->name, strerror(errno));
        return TG_EXIT_FAILED;
    }
    return code;
}

int tg_dead_main(const struct tg_dead_world *world, int argc, char **argv, FILE *out, FILE *errs)
{
    struct tg_dead_request r = {.world = world, .out = out, .errs = errs};
    int code = tg_dead_args_parse(&r, argc, argv);
    if (code)
        return code;
    if (r.help) {
        tg_dead_args_usage(out, r.command);
        return 0;
    }
    code = tg_dead_args_check(&r);
    return code ? code : run(&r);
}
