#include "script/rebuild.h"

#include "base/log.h"
#include "script/link.h"
#include "script/open_state.h"

void tg_host_rebuild(struct tg_host *h, struct tg_run *culprit)
{
    struct tg_err err = {0, ""};
    tg_lua_close_state(h);
    h->rebuild_wanted = false;
    for (struct tg_dest_impl *d = h->dests; d; d = d->next)
        d->linked = false;
    if (tg_lua_open_state(h, &err))
        tg_error("the Lua state could not be rebuilt", TG_FS("error", err.msg));
    for (struct tg_dest_impl *d = h->dests; h->L && d; d = d->next) {
        struct tg_problems problems;
        tg_problems_init(&problems);
        if (tg_dest_link(d, &problems))
            tg_error("a script could not be loaded again", TG_FS("destination", d->pub.name),
                     TG_FS("error", problems.n ? problems.items[0].reason : "out of memory"));
        tg_problems_fini(&problems);
    }
    if (!h->L)
        h->generation++; /* no run of the old state lives on */
    h->rebuild_wanted = false;
    h->runs_lost(h, culprit);
}

int tg_host_ready(struct tg_host *h, struct tg_err *err)
{
    if (h->rebuild_wanted || !h->L)
        tg_host_rebuild(h, NULL);
    return h->L ? TG_OK : tg_fail(err, TG_NOMEM, "no memory for a Lua state");
}
