#include "daemon/dead_replay.h"

#include "base/clock.h"
#include "daemon/cli.h"

static int replay_matching(struct tg_state *s, struct tg_dead_request *r, struct tg_replayed *total)
{
    struct tg_replayed part = {0};
    struct tg_err err = {0};
    int code = s ? tg_state_dead_replay(s, &r->filter, r->world->destinations, r->world->n_destinations,
                                        tg_wall_ms(), &part, &err)
                 : TG_OK;
    total->replayed += part.replayed;
    total->set_aside += part.set_aside;
    total->unknown += part.unknown;
    return code ? tg_dead_failed(r, &err, code) : 0;
}

static int64_t touched(const struct tg_replayed *t)
{
    return t->replayed + t->set_aside + t->unknown;
}

static int replay_ids(struct tg_state *s, struct tg_dead_request *r, struct tg_replayed *total)
{
    int result = 0;
    for (int i = 0; i < r->n_ids; i++) {
        int64_t before = touched(total);
        tg_dead_pick(r, i);
        int code = replay_matching(s, r, total);
        if (code)
            return code;
        if (touched(total) == before)
            result = tg_dead_no_such(r, r->ids[i]);
    }
    return result;
}

void tg_dead_tell_left(const struct tg_dead_request *r, int64_t set_aside, int64_t unknown)
{
    if (set_aside)
        fprintf(r->errs,
                "dead replay: %lld left alone: ingest set them aside, so no destination has had them. Look "
                "at them "
                "(tidegate dead show ID), put the event right, post it (tidegate send FILE), drop the dead "
                "letter\n",
                (long long)set_aside);
    if (unknown)
        fprintf(r->errs,
                "dead replay: %lld left alone: their destinations are not in the configuration. Add them "
                "again, or "
                "drop the dead letters\n",
                (long long)unknown);
}

int tg_dead_replay(struct tg_state *s, struct tg_dead_request *r)
{
    struct tg_replayed total = {0};
    bool runs = false;
    int code = r->n_ids ? replay_ids(s, r, &total) : replay_matching(s, r, &total);
    if (total.replayed)
        tg_dead_wake(r, &runs);
    fprintf(r->out, "replayed %lld dead letter%s%s\n", (long long)total.replayed,
            total.replayed == 1 ? "" : "s",
            !total.replayed ? ""
            : runs          ? ": due now"
                            : ": due when the relay runs");
    tg_dead_tell_left(r, total.set_aside, total.unknown);
    return code ? code : total.set_aside + total.unknown ? TG_EXIT_FAILED : 0;
}
