/* A run from inside: shared by what drives it and what its handler calls. */
#ifndef TG_SCRIPT_RUN_IMPL_H
#define TG_SCRIPT_RUN_IMPL_H

#include "script/event_view.h"
#include "script/response.h"
#include "script/state.h"
#include "script/tokens.h"

struct tg_call {
    unsigned number;
    unsigned nth; /* among those of the same address that are not repeatable; 0: repeatable */
    bool done;
    struct tg_kept kept; /* the response, when done and not needless */
};

struct tg_run {
    unsigned magic;
    struct tg_run *next, **link;
    struct tg_host *host;
    struct tg_dest_impl *dest;
    const struct tg_event *event;
    uint64_t seq, serial;
    struct tg_str options;
    const struct tg_run_ops *ops;
    void *arg;

    lua_State *co; /* NULL: not begun, ended, or lost with its state */
    int co_ref;
    struct tg_view *view;
    unsigned generation;
    unsigned waiting;                 /* for this call; 0: not */
    bool ended, through, busy, freed; /* through: ended with all that it wanted to ask for */

    struct tg_call *calls;
    unsigned n_calls;
    struct tg_token *tokens;
    struct tg_kept *earlier; /* from the retry row */
    size_t n_earlier;
    struct tg_request **queue;
    size_t n_queue;

    int status; /* of the last lua_resume */
    char *message;
};

/* Ends all but that one as state_rebuilt: their references are gone with the state. */
void tg_runs_lost(struct tg_host *h, struct tg_run *but);

#endif
