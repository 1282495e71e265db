/* The delivery engine of a worker: takes events from its partitions for every destination, runs them through
 * the script, sends what the script asks for, and settles each event: delivered, skipped, kept for a retry,
 * or kept as a dead letter. Design section 8; how it works is in src/deliver/README.md.
 *
 * All functions are called on the loop's thread. Nothing here blocks but tg_engine_new (reads facts from the
 * state). */
#ifndef TG_DELIVER_ENGINE_H
#define TG_DELIVER_ENGINE_H

#include "base/buf.h"
#include "base/metrics.h"
#include "config/config.h"
#include "deliver/http_client.h"
#include "deliver/shared.h"
#include "script/host.h"
#include "spool/cursors.h"
#include "spool/log.h"
#include "spool/state.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct tg_engine;

/* A partition of this worker; log and cursors stay the caller's and must outlive the engine. The engine is
 * the log's listener (tg_log_on_synced). */
struct tg_engine_part {
    uint32_t number;
    struct tg_log *log;
    struct tg_cursors *cursors;
};

struct tg_engine_options {
    struct event_base *base;
    struct tg_client *http;
    struct tg_state *state;
    struct tg_helper *helper;
    struct tg_metrics *metrics;
    struct tg_shared *shared; /* made before the fork, so that rates and pauses hold on all workers; NULL:
                                 this worker alone */
    struct tg_shared *rates;  /* the same for what is left of rates; NULL: in `shared` */
    uint32_t worker, workers; /* retry rows of partitions with partition % workers == worker are ours */
    const struct tg_engine_part *parts;
    size_t n_parts;
    int64_t save_ms; /* how often cursors are saved; 0: every second */
    int64_t
        render_again_ms;  /* a request that has waited for longer is made anew before it goes out; 0: 30 s */
    uint64_t spool_bytes; /* spool.max_bytes, of which quotas in percent are a part; 0: those are none */
    /* Called for every answered or failed request, before it is judged; may be NULL. All lent. */
    void (*on_exchange)(void *arg, const struct tg_dest *dest, const struct tg_request *sent,
                        const struct tg_response *response);
    void *on_exchange_arg;
};

/* Options are copied, what they point to is not. Reads parked and paused destinations from the state. */
TG_MUST_CHECK int tg_engine_new(const struct tg_engine_options *options, struct tg_engine **out,
                                struct tg_err *err);
/* Ends everything at once (see tg_engine_stop for the polite way) and waits for state writes under way
 * (tg_helper_drain). Frees the destinations that it has taken: the script host must still be there. */
void tg_engine_free(struct tg_engine **engine);

/* A destination and what the configuration says of it. `dest` may be NULL when the configuration disables it.
 */
struct tg_engine_dest {
    struct tg_dest *dest;
    const struct tg_destination_config *config; /* copied where needed */
};
/* The set from now on, at the start and at each reload; between events. Takes every `dest`; those of before
 * are freed when their runs have ended. One that is new begins at the next event; one that is gone keeps its
 * cursor for 24 h. A parked one whose settings have changed resumes. On failure (TG_NOMEM) nothing has
 * changed and the dests are still the caller's. */
TG_MUST_CHECK int tg_engine_set_destinations(struct tg_engine *engine, const struct tg_engine_dest *dests,
                                             size_t n, int64_t generation, struct tg_err *err);

/* By the operator; durable and for all workers. pause: nothing is sent until resume. resume: ends a pause, a
 * parking, an open breaker. TG_NOTFOUND for a name that is not configured. */
TG_MUST_CHECK int tg_engine_pause(struct tg_engine *engine, const char *destination);
TG_MUST_CHECK int tg_engine_resume(struct tg_engine *engine, const char *destination);

/* A destination whose dead letters take all that they may, so that nothing more is to be accepted
 * (dead.on_full = "stop_ingest"); NULL when there is none. Lent until the next reload. */
const char *tg_engine_dead_full(const struct tg_engine *engine);
/* Somebody else has changed the state: put in retries, dropped dead letters, forgotten a user. Looks again
 * now. May wait for the disk. Not TG_OK: the forgotten users could not be read, those of before count on. */
int tg_engine_look(struct tg_engine *engine);
/* So many users have been forgotten: their tombstones are durable. All workers let go of what they have in
 * hand, and the users' rows in the state are to be removed (daemon/forgetter.h). */
void tg_engine_forgot(struct tg_engine *engine, size_t users);
/* `done` is called, from the loop, when all that the engine has given the state to write is durable. On
 * failure it is not. */
TG_MUST_CHECK int tg_engine_flush(struct tg_engine *engine,
                                  void (*done)(void *arg, int status, const char *why), void *arg);

/* A worker died or was killed while the script of `destination` had event `seq` of a partition: after two
 * such strikes the event becomes a dead letter with that reason (script_crash, script_timeout). Call before
 * the events are read again; strikes are kept in the state. */
TG_MUST_CHECK int tg_engine_strike(struct tg_engine *engine, const char *destination, uint64_t seq,
                                   const char *reason);

/* No new runs; what is in flight may end until `deadline_ms` (tg_mono_ms), then it is dropped and will be
 * delivered again after the next start. Cursors are saved, then `done` is called once, from the loop. */
void tg_engine_stop(struct tg_engine *engine, int64_t deadline_ms, void (*done)(void *arg), void *arg);

/* Whether nothing waits in a partition any more: all cursors have passed its last event and no retry rows are
 * left. Looks into the state (blocks for a query): for partitions that no worker writes, now and then. */
bool tg_engine_drained(struct tg_engine *engine, uint32_t partition);

/* Adds a JSON array with one object per destination:
 * {"name","script","state","backlog_events","backlog_bytes","oldest_ms","in_flight","retries","retry_bytes","parked_reason",
 * "paused_until","because","breaker"}, counting this worker's partitions. state: running, disabled, paused
 * (by the operator), parked, waiting (the partner asked for a pause), open (the breaker), rate_limited.
 * oldest_ms: age of the oldest event that waits, 0: none. because: the answer by which it was parked or
 * paused
 * ("429 from POST https://…"), null where another worker got it. */
TG_MUST_CHECK int tg_engine_status(struct tg_engine *engine, struct tg_buf *json);

#endif
