/* A lock between processes that share memory: one word in it. It is never held for anything slow, and one
 * whose owner died is taken over. */
#ifndef TG_INGEST_PROCESS_LOCK_H
#define TG_INGEST_PROCESS_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

/* Zero: free. Else the pid of the process that holds it; not for two threads of one process. */
typedef atomic_int tg_process_lock;

/* True when it was taken from a dead owner, which may have left undone what it was at. */
bool tg_process_lock_take(tg_process_lock *lock);
void tg_process_lock_give(tg_process_lock *lock);
/* The process `pid` has ended and been waited for: takes the lock if it had it, whoever gets its pid now. */
bool tg_process_lock_inherit(tg_process_lock *lock, int pid);

#endif
