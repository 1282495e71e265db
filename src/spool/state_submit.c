/* The operations of a worker: each is copied into one allocation and queued. */
#include "spool/state_queue.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(const char *z)
{
    return z ? strlen(z) + 1 : 0;
}

static void keep_text(const char **z, char **at)
{
    size_t n = size_of(*z);
    if (n)
        *z = memcpy(*at, *z, n);
    *at += n;
}

static void keep_span(struct tg_str *span, char **at)
{
    if (span->n)
        span->p = memcpy(*at, span->p, span->n);
    *at += span->n;
}

static int queue_retry(struct tg_state *s, enum op_kind kind, const struct tg_retry *r, tg_state_done *done,
                       void *arg)
{
    if (r->responses.n > TG_STATE_RESPONSES_MAX)
        return TG_TOOBIG;
    size_t text = size_of(r->destination) + size_of(r->source) + size_of(r->message_id) + size_of(r->reason) +
                  r->header.n + r->body.n + r->responses.n;
    struct tg_state_op *op;
    int code = tg_state_op_new(s, kind, text, arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->done = done;
    op->retry = *r;
    keep_text(&op->retry.destination, &at);
    keep_text(&op->retry.source, &at);
    keep_text(&op->retry.message_id, &at);
    keep_text(&op->retry.reason, &at);
    keep_span(&op->retry.header, &at);
    keep_span(&op->retry.body, &at);
    keep_span(&op->retry.responses, &at);
    return tg_state_queue(s, op);
}

int tg_state_put_retry(struct tg_state *s, const struct tg_retry *r, tg_state_done *done, void *arg)
{
    return queue_retry(s, OP_PUT_RETRY, r, done, arg);
}

int tg_state_update_retry(struct tg_state *s, const struct tg_retry *r, tg_state_done *done, void *arg)
{
    struct tg_retry change = *r;
    change.destination = change.source = change.message_id = NULL;
    change.header = change.body = tg_str_of(NULL);
    return queue_retry(s, OP_UPDATE_RETRY, &change, done, arg);
}

int tg_state_delete_retry(struct tg_state *s, int64_t id, tg_state_done *done, void *arg)
{
    struct tg_retry gone = {.id = id};
    return queue_retry(s, OP_DELETE_RETRY, &gone, done, arg);
}

static void keep_dead(struct tg_dead *d, char *at)
{
    keep_text(&d->destination, &at);
    keep_text(&d->source, &at);
    keep_text(&d->message_id, &at);
    keep_text(&d->type, &at);
    keep_text(&d->event_name, &at);
    keep_text(&d->reason, &at);
    keep_text(&d->message, &at);
    keep_span(&d->header, &at);
    keep_span(&d->body, &at);
    keep_span(&d->request, &at);
    keep_span(&d->response, &at);
}

static int queue_dead(struct tg_state *s, enum op_kind kind, int64_t retry_id, const struct tg_dead *d,
                      tg_state_done *done, void *arg)
{
    size_t text = size_of(d->destination) + size_of(d->source) + size_of(d->message_id) + size_of(d->type) +
                  size_of(d->event_name) + size_of(d->reason) + size_of(d->message) + d->header.n +
                  d->body.n + d->request.n + d->response.n;
    struct tg_state_op *op;
    int code = tg_state_op_new(s, kind, text, arg, &op);
    if (code)
        return code;
    op->done = done;
    op->dead = (struct dead_op){.retry_id = retry_id, .row = *d};
    keep_dead(&op->dead.row, op->text);
    return tg_state_queue(s, op);
}

int tg_state_put_dead(struct tg_state *s, const struct tg_dead *d, tg_state_done *done, void *arg)
{
    return queue_dead(s, OP_PUT_DEAD, 0, d, done, arg);
}

int tg_state_retry_to_dead(struct tg_state *s, int64_t id, const struct tg_dead *d, tg_state_done *done,
                           void *arg)
{
    return queue_dead(s, OP_RETRY_TO_DEAD, id, d, done, arg);
}

int tg_state_trim_dead(struct tg_state *s, const char *destination, const char *source, int64_t keep_bytes,
                       tg_state_trimmed *done, void *arg)
{
    struct tg_state_op *op;
    int code = tg_state_op_new(s, OP_TRIM, size_of(destination) + size_of(source), arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->trim = (struct trim_op){destination, source, keep_bytes, 0, done};
    keep_text(&op->trim.destination, &at);
    keep_text(&op->trim.source, &at);
    return tg_state_queue(s, op);
}

int tg_state_put_fact(struct tg_state *s, const char *kind, const char *name, struct tg_str value,
                      tg_state_done *done, void *arg)
{
    struct tg_state_op *op;
    int code = tg_state_op_new(s, OP_FACT, size_of(kind) + size_of(name) + value.n, arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->done = done;
    op->fact = (struct fact_op){kind, name, value};
    keep_text(&op->fact.kind, &at);
    keep_text(&op->fact.name, &at);
    keep_span(&op->fact.value, &at);
    return tg_state_queue(s, op);
}

int tg_state_after_all(struct tg_state *s, tg_state_done *done, void *arg)
{
    struct tg_state_op *op;
    int code = tg_state_op_new(s, OP_NONE, 0, arg, &op);
    if (code)
        return code;
    op->done = done;
    return tg_state_queue(s, op);
}

int tg_state_usage(struct tg_state *s, const char *destination, uint32_t worker, uint32_t workers,
                   tg_state_used *done, void *arg)
{
    assert(workers && worker < workers);
    struct tg_state_op *op;
    int code = tg_state_op_new(s, OP_USAGE, size_of(destination), arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->usage =
        (struct usage_op){.destination = destination, .worker = worker, .workers = workers, .done = done};
    keep_text(&op->usage.destination, &at);
    return tg_state_queue(s, op);
}

/* `what` without its texts and busy rows. */
static int queue_due(struct tg_state *s, const struct due_op *what, const int64_t *busy, size_t n_busy,
                     void *arg)
{
    assert(what->workers && what->worker < what->workers);
    size_t busy_bytes = n_busy * sizeof *busy;
    struct tg_state_op *op;
    int code = tg_state_op_new(s, OP_DUE, busy_bytes + size_of(what->destination) + sizeof *busy, arg, &op);
    if (code)
        return code;
    char *at = op->text;
    at += -(uintptr_t)at % _Alignof(int64_t);
    op->due = *what;
    op->due.busy = (int64_t *)(void *)at;
    op->due.n_busy = n_busy;
    if (n_busy) {
        memcpy(op->due.busy, busy, busy_bytes);
        qsort(op->due.busy, n_busy, sizeof *busy, tg_state_by_id);
    }
    at += busy_bytes;
    keep_text(&op->due.destination, &at);
    return tg_state_queue(s, op);
}

int tg_state_due_retries(struct tg_state *s, const char *destination, uint32_t worker, uint32_t workers,
                         int64_t now, size_t limit, const int64_t *busy, size_t n_busy, tg_state_due *done,
                         void *arg)
{
    const struct due_op what = {.destination = destination,
                                .worker = worker,
                                .workers = workers,
                                .now = now,
                                .limit = limit,
                                .done = done};
    return queue_due(s, &what, busy, n_busy, arg);
}

int tg_state_oldest_retries(struct tg_state *s, const char *destination, uint32_t worker, uint32_t workers,
                            size_t limit, const int64_t *busy, size_t n_busy, tg_state_due *done, void *arg)
{
    const struct due_op what = {.destination = destination,
                                .worker = worker,
                                .workers = workers,
                                .by_age = true,
                                .now = INT64_MAX,
                                .limit = limit,
                                .done = done};
    return queue_due(s, &what, busy, n_busy, arg);
}
