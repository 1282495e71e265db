/* The queue between the loop and the file.
 *
 * The loop's thread copies each operation into one allocation and hangs it on `gathering`. The helper's job
 * takes a batch of them (as many as make one transaction of decent size), writes in one transaction, then
 * answers the reads, so that a read sees every write queued before it. The job's `done`, on the loop again,
 * calls the callbacks in order and gives the job again when more was gathered. The connection is used by the
 * job only, or, while no job is given, by the functions that answer at once: never by two threads. */
#ifndef TG_SPOOL_STATE_QUEUE_H
#define TG_SPOOL_STATE_QUEUE_H

#include "spool/state_op.h"

/* Takes the operation; its callback comes. TG_OK, always. Loop thread. */
int tg_state_queue(struct tg_state *s, struct tg_state_op *op);

#endif
