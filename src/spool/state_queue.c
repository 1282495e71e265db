#include "spool/state_queue.h"

#include "spool/state_run.h"

#include <assert.h>
#include <stddef.h>

enum { BATCH_OPS = 1000, BATCH_BYTES = 2 * 1024 * 1024 };

static struct tg_state_op *take_batch(struct tg_state *s)
{
    size_t n = 0, bytes = 0;
    pthread_mutex_lock(&s->lock);
    struct tg_state_op *first = s->gathering, **end = &s->gathering;
    while (*end && n < BATCH_OPS && (n == 0 || bytes + (*end)->bytes <= BATCH_BYTES)) {
        bytes += (*end)->bytes;
        n++;
        end = &(*end)->next;
    }
    s->gathering = *end;
    *end = NULL;
    if (!s->gathering)
        s->gathering_end = &s->gathering;
    pthread_mutex_unlock(&s->lock);
    return first;
}

static struct tg_state *state_of(struct tg_job *job)
{
    return (struct tg_state *)(void *)((char *)job - offsetof(struct tg_state, job));
}

static void run_job(struct tg_job *job)
{
    struct tg_state *s = state_of(job);
    tg_state_lock(s);
    s->batch = take_batch(s);
    tg_state_run_all(s, s->batch);
    tg_state_unlock(s);
}

/* The words for a status: the operation's own, those of the transaction, or (no memory for words) the code's.
 */
static const char *why_of(const struct tg_state *s, const struct tg_state_op *op)
{
    if (!op->status)
        return "";
    if (op->why)
        return op->why;
    return op->status == s->failure.code ? s->failure.msg : tg_code_text(op->status);
}

static void call_done(const struct tg_state *s, struct tg_state_op *op)
{
    if (op->kind == OP_DUE) {
        struct due_op *d = &op->due;
        if (d->done)
            d->done(op->arg, op->status, d->rows, op->status ? 0 : d->n, d->next_due, d->total);
    } else if (op->kind == OP_USAGE) {
        op->usage.done(op->arg, op->status, &op->usage.usage);
    } else if (op->kind == OP_TRIM) {
        if (op->trim.done)
            op->trim.done(op->arg, op->status, why_of(s, op), op->trim.dropped);
    } else if (op->done) {
        op->done(op->arg, op->status, why_of(s, op));
    }
}

static void end_op(struct tg_state *s, struct tg_state_op *op)
{
    s->queued_bytes -= op->bytes;
    call_done(s, op);
    tg_state_op_free(op);
}

static void finish_job(struct tg_job *job);

static void give_job(struct tg_state *s)
{
    s->job_given = true;
    s->job.run = run_job;
    s->job.done = finish_job;
    tg_helper_give(s->helper, &s->job);
}

static void finish_job(struct tg_job *job)
{
    struct tg_state *s = state_of(job);
    struct tg_state_op *op = s->batch, *reads = NULL, **reads_end = &reads;
    s->batch = NULL;
    /* As they were run: what a question was answered has the writes of its batch in it already. */
    while (op) {
        struct tg_state_op *next = op->next;
        if (op->kind == OP_DUE || op->kind == OP_USAGE) {
            *reads_end = op;
            reads_end = &op->next;
        } else {
            end_op(s, op);
        }
        op = next;
    }
    *reads_end = NULL;
    while (reads) {
        op = reads;
        reads = op->next;
        end_op(s, op);
    }
    /* Only now: what the callbacks queued goes into one transaction. */
    if (s->gathering)
        give_job(s);
    else
        s->job_given = false;
}

int tg_state_queue(struct tg_state *s, struct tg_state_op *op)
{
    assert(s->helper);
    s->queued_bytes += op->bytes;
    pthread_mutex_lock(&s->lock);
    *s->gathering_end = op;
    s->gathering_end = &op->next;
    pthread_mutex_unlock(&s->lock);
    if (!s->job_given)
        give_job(s);
    return TG_OK;
}
