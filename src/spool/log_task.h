/* Jobs of the helper thread that work on the log's writer, which belongs to whatever job runs; the loop sees
 * it only as the copy that each job leaves in its `outcome`. */
#ifndef TG_SPOOL_LOG_TASK_H
#define TG_SPOOL_LOG_TASK_H

#include "spool/log_state.h"

/* Gives a task to the helper; its `run` ends with tg_log_look_at_writer, its `done` begins with
 * tg_log_absorb. */
void tg_log_give(struct task *t, void (*run)(struct tg_job *), void (*done)(struct tg_job *));
void tg_log_look_at_writer(struct task *t);
/* Takes over what the writer looks like now. */
struct tg_log *tg_log_absorb(struct task *t);

#endif
