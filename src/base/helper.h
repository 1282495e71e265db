/* One thread per worker for what may stall: fdatasync and SQLite commits.
 *
 * Jobs run one after another, in the order in which they were given. `run` is called on the helper thread,
 * `done` on the loop's thread afterwards. The job belongs to the caller, embedded in a struct of theirs, and
 * must stay until `done`. All functions here are called on the loop's thread. */
#ifndef TG_BASE_HELPER_H
#define TG_BASE_HELPER_H

#include "base/err.h"

#include <stddef.h>

struct event_base;
struct tg_helper;

struct tg_job {
    void (*run)(struct tg_job *job);  /* helper thread */
    void (*done)(struct tg_job *job); /* loop thread; may free the job or give it again; may be NULL */
    struct tg_job *next;              /* the helper's */
};

TG_MUST_CHECK int tg_helper_new(struct event_base *base, struct tg_helper **out, struct tg_err *err);
/* Runs what is queued, calls every `done`, joins the thread. */
void tg_helper_free(struct tg_helper **helper);
void tg_helper_give(struct tg_helper *helper, struct tg_job *job);
/* Blocks until the queue is empty and every `done` has been called (which may give new jobs: those too). */
void tg_helper_drain(struct tg_helper *helper);
/* Jobs given and not yet done. */
size_t tg_helper_pending(const struct tg_helper *helper);

#endif
