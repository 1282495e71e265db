/* What the helper's job does with a batch of operations: one transaction for what writes, then the answers,
 * so that a read sees every write queued before it.
 *
 * Failure of one operation (a constraint, a row that is not there) concerns that one: SQLite undoes the
 * statement, and an operation of two statements has a savepoint. Anything else (full disk, I/O, memory, the
 * file held by others) ends the transaction and is the answer of all its operations; none of them is in the
 * file then. */
#ifndef TG_SPOOL_STATE_RUN_H
#define TG_SPOOL_STATE_RUN_H

#include "spool/state_op.h"

/* Each operation has its status and answer then. Helper thread; the connection is locked. */
void tg_state_run_all(struct tg_state *s, struct tg_state_op *ops);

#endif
