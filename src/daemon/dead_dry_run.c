#include "daemon/dead_dry_run.h"

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/cli.h"
#include "daemon/dead_replay.h"
#include "daemon/dead_trial.h"
#include "daemon/preview.h"

struct trial {
    const struct tg_dead_request *r;
    struct tg_trial *trial;
    char *responses; /* JSON, or NULL */
    struct tg_buf text;
    int64_t shown, same, set_aside, bad;
};

static int try_row(void *arg, const struct tg_dead *d)
{
    struct trial *t = arg;
    struct tg_err err = {0};
    if (!d->destination) {
        t->set_aside++;
        return TG_OK;
    }
    tg_buf_clear(&t->text);
    bool same = false;
    int rc = tg_dead_trial_run(t->trial, d, tg_str_of(t->responses), t->r->json, &t->text, &same, &err);
    if (rc) {
        fprintf(t->r->errs, "dead replay: %lld: %s\n", (long long)d->id, err.msg);
        t->bad++;
        return rc == TG_NOMEM ? rc : TG_OK;
    }
    t->shown++;
    t->same += same;
    return tg_dead_print_out(t->r->out, &t->text);
}

static int try_matching(struct tg_state *s, struct tg_dead_request *r, struct trial *t)
{
    struct tg_err err = {0};
    int64_t before = t->shown + t->set_aside + t->bad;
    int code = s ? tg_state_dead_each(s, &r->filter, try_row, t, &err) : TG_OK;
    if (code)
        return tg_dead_failed(r, &err, code);
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)r->filter.id);
    return r->filter.id && t->shown + t->set_aside + t->bad == before ? tg_dead_no_such(r, id) : 0;
}

static void tell_shown(const struct trial *t)
{
    FILE *out = t->r->out;
    long long shown = t->shown, same = t->same, other = shown - same;
    fprintf(out, "%lld dead letter%s would be replayed", shown, shown == 1 ? "" : "s");
    if (other)
        fprintf(out, ": %lld differ%s", other, other == 1 ? "s" : "");
    if (same)
        fprintf(out, "%s%lld %s the same as before", other ? ", " : ": ", same, same == 1 ? "is" : "are");
    fprintf(out, "; nothing was sent\n");
}

/* The trial took the files as they are; the relay sends with what it has loaded. */
static void tell_reload(const struct trial *t)
{
    const struct tg_dead_world *world = t->r->world;
    char digest[TG_SNAPSHOT_DIGEST + 1];
    if (world->differs && !tg_trial_digest(t->trial, digest) && world->differs(world->spool_dir, digest))
        fprintf(t->r->errs, "dead replay: the scripts or the configuration were changed since the relay took "
                            "them: tidegate reload first, for it sends with those that it has\n");
}

int tg_dead_dry_run(struct tg_state *s, struct tg_dead_request *r)
{
    struct trial t = {.r = r, .text = TG_BUF_INIT(TG_DEAD_ROW_MAX)};
    struct tg_err err = {0};
    size_t len;
    int code = r->responses ? tg_preview_read(r->responses, &t.responses, &len, &err) : TG_OK;
    if (!code)
        code = tg_trial_new(r->world->config_path, TG_NO_TIME, &t.trial, &err);
    if (code) {
        tg_free(t.responses);
        return tg_dead_failed(r, &err, code);
    }
    if (!r->n_ids)
        code = try_matching(s, r, &t);
    for (int i = 0; i < r->n_ids && !code; i++) {
        tg_dead_pick(r, i);
        code = try_matching(s, r, &t);
    }
    if (!r->json)
        tell_shown(&t);
    tg_dead_tell_left(r, t.set_aside, 0);
    tell_reload(&t);
    tg_trial_free(&t.trial);
    tg_free(t.responses);
    tg_buf_fini(&t.text);
    return code ? code : t.set_aside + t.bad ? TG_EXIT_FAILED : 0;
}
