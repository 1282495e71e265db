/* The delivery engine of a worker: takes events from its partitions for every destination, runs them through
 * the script, sends what the script asks for, and settles each event: delivered, skipped, kept for a retry,
 * or kept as a dead letter. Design section 8; how it works is in src/deliver/README.md.
 * The set of destinations is in deliver/destinations.h.
 *
 * All functions are called on the loop's thread. Nothing here blocks but tg_engine_new (reads facts from the
 * state). */
#ifndef TG_DELIVER_ENGINE_H
#define TG_DELIVER_ENGINE_H

#include "base/buf.h"
#include "deliver/engine_options.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_engine;

/* Options are copied, what they point to is not. Reads parked and paused destinations from the state. */
TG_MUST_CHECK int tg_engine_new(const struct tg_engine_options *options, struct tg_engine **out,
                                struct tg_err *err);
/* Ends everything at once (see tg_engine_stop for the polite way) and waits for state writes under way
 * (tg_helper_drain). Frees the destinations that it has taken: the script host must still be there. */
void tg_engine_free(struct tg_engine **engine);

/* What shares of the spool are of (spool.max_bytes), for the next set of destinations. */
void tg_engine_set_spool_bytes(struct tg_engine *engine, uint64_t bytes);

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

/* A worker died or was killed while the script of `destination` had the event of this mark (poison.h): after
 * two such strikes the event becomes a dead letter with that reason (script_crash, script_timeout). Call
 * before the events are read again; strikes are kept in the state. */
TG_MUST_CHECK int tg_engine_strike(struct tg_engine *engine, const char *destination, uint64_t mark,
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
 * ("429 from POST https://…"), null where another worker got it. Then, for each partition, those that are not
 * configured any more and for which something waits:
 * {"name","state":"removed","backlog_events","backlog_bytes","kept_until"}. */
TG_MUST_CHECK int tg_engine_status(struct tg_engine *engine, struct tg_buf *json);

#endif
