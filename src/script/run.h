/* Runs: one event through one handler. */
#ifndef TG_SCRIPT_RUN_H
#define TG_SCRIPT_RUN_H

#include "base/buf.h"
#include "base/event.h"
#include "script/contract.h"
#include "script/request.h"
#include "script/tokens.h"

enum tg_run_end {
    TG_RUN_DONE,    /* the handler returned; deliveries may still be under way; with none at all it is a skip,
                       no_request */
    TG_RUN_SKIP,    /* skip(reason) */
    TG_RUN_REJECT,  /* reject(reason) */
    TG_RUN_RETRY,   /* retry(reason, seconds) */
    TG_RUN_ERROR,   /* uncaught error: reason script_error, message with traceback */
    TG_RUN_TIMEOUT, /* soft limit: reason script_timeout */
    TG_RUN_MEMORY   /* reason script_memory. The state has been rebuilt: every other run of this host is gone
                       too, see below */
};

struct tg_run_result {
    enum tg_run_end end;
    const char *reason;     /* stable word; lent during the callback */
    const char *message;    /* for the person; may be NULL; lent */
    int64_t retry_after_ms; /* TG_RUN_RETRY; 0: the schedule decides; TG_RUN_LOST */
};
enum { TG_RUN_LOST = -1 }; /* at once: nothing that a script could say */

struct tg_run;
struct tg_run_ops {
    /* A delivery; the request now belongs to the callee. Called from within tg_run_start or tg_run_settle. */
    void (*deliver)(void *arg, struct tg_run *run, struct tg_request *request);
    /* The handler has ended. Called once, from within tg_run_start or tg_run_settle (or tg_host_… when the
     * state had to be rebuilt: end TG_RUN_RETRY, reason "state_rebuilt", retry_after TG_RUN_LOST). The run
     * stays valid until tg_run_free, which may be called in here. */
    void (*end)(void *arg, struct tg_run *run, const struct tg_run_result *result);
};

/* Starts the handler for event->type. `event` and what it points to must stay until the run is freed.
 * `responses` (or empty) are those of deliveries done at an earlier attempt, as tg_run_responses gave them:
 * the same calls are answered from it without reaching `deliver`, unless repeatable. `options` is
 * the integrations object's entry for this destination (JSON text, or empty). TG_UNSUPPORTED when the script
 * has no handler of that type. */
TG_MUST_CHECK int tg_run_start(struct tg_dest *dest, const struct tg_event *event, uint64_t seq,
                               struct tg_str options, struct tg_str responses, const struct tg_run_ops *ops,
                               void *arg, struct tg_run **out, struct tg_err *err);
/* Delivery number `call` is done with TG_OUTCOME_OK: remembers the response, resumes a handler that waits for
 * it. A delivery that failed ends the event for now: free the run instead. */
void tg_run_settle(struct tg_run *run, unsigned call, const struct tg_response *response);
/* JSON of the responses so far (not those of repeatable calls), for the retry row; at most 64 KiB, bodies cut
 * from the largest. */
TG_MUST_CHECK int tg_run_responses(struct tg_run *run, struct tg_buf *json);
/* How the tokens that the handler authenticates with stand. */
enum tg_tokens tg_run_tokens(const struct tg_run *run);
/* The partner answered 401: forgets these tokens, so that the next handler fetches one. False when there are
 * none. */
bool tg_run_refuse_tokens(struct tg_run *run);
void tg_run_free(struct tg_run **run);

#endif
