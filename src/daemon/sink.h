/* From ingest to the spool: what was accepted goes into the worker's own partition, what was set aside into
 * the dead letters, and the answer leaves when both are durable.
 *
 * A request for deletion that the relay carries out itself (tg_event.forgets) leaves a tombstone in the state
 * once it is in the log: answered is what has both. Killed in between, it has not been answered, and is taken
 * again when it is sent again. */
#ifndef TG_DAEMON_SINK_H
#define TG_DAEMON_SINK_H

#include "daemon/aside.h"
#include "ingest/sink.h"
#include "spool/log.h"
#include "spool/state.h"

#include <stdbool.h>

struct tg_spool_sink;

struct tg_spool_sink_options {
    struct tg_log *log;
    struct tg_state *state;
    struct tg_aside *aside; /* keeps what is set aside within its ceiling */
    /* Tombstones of users (deliver/forgotten.h) are durable, before their requests for deletion are answered;
     * NULL: nobody wants to know. */
    void (*forgotten)(void *arg, size_t users);
    void *forgotten_arg;
};
/* Log, state and aside are lent and must outlive it. */
struct tg_spool_sink *tg_spool_sink_new(const struct tg_spool_sink_options *options);
void tg_spool_sink_free(struct tg_spool_sink **sink); /* no append may be under way */
struct tg_sink tg_spool_sink_interface(struct tg_spool_sink *sink);
/* While a destination (lent) is named nothing is accepted: its dead letters take all that they may. NULL ends
 * it. */
void tg_spool_sink_block(struct tg_spool_sink *sink, const char *destination);
/* From now on nothing is accepted: 503. */
void tg_spool_sink_stop(struct tg_spool_sink *sink);
/* Appends that wait for the disk. */
size_t tg_spool_sink_waiting(const struct tg_spool_sink *sink);

#endif
