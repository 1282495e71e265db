/* The queue between the loop and the file.
 *
 * The loop's thread copies each operation into one allocation and hangs it on `gathering`. The helper's job
 * takes a batch of them (as many as make one transaction of decent size), writes in one transaction, then
 * answers the reads, so that a read sees every write queued before it. The job's `done`, on the loop again,
 * calls the callbacks in order and gives the job again when more was gathered. The connection is used by the
 * job only, or, while no job is given, by the functions that answer at once: never by two threads.
 *
 * Failure of one operation (a constraint, a row that is not there) concerns that one: SQLite undoes the
 * statement, and an operation of two statements has a savepoint. Anything else (full disk, I/O, memory, the
 * file held by others) ends the transaction and is the answer of all its operations; none of them is in the
 * file then. */
#include "spool/state_db.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_OPS = 1000, BATCH_BYTES = 2 * 1024 * 1024, ANSWER_BYTES = 4 * 1024 * 1024 };

enum op_kind {
    OP_PUT_RETRY,
    OP_UPDATE_RETRY,
    OP_DELETE_RETRY,
    OP_PUT_DEAD,
    OP_RETRY_TO_DEAD,
    OP_FACT,
    OP_TRIM,
    OP_NONE,
    OP_DUE, /* reads from here on */
    OP_USAGE
};

struct dead_op {
    int64_t retry_id; /* OP_RETRY_TO_DEAD */
    struct tg_dead row;
};

struct fact_op {
    const char *kind, *name;
    struct tg_str value;
};

struct trim_op {
    const char *destination, *source;
    int64_t keep_bytes, dropped;
    tg_state_trimmed *done;
};

struct usage_op {
    const char *destination;
    uint32_t worker, workers;
    struct tg_usage usage;
    tg_state_used *done;
};

struct due_op {
    const char *destination;
    uint32_t worker, workers;
    bool by_age;
    int64_t now;
    size_t limit;
    int64_t *busy; /* sorted */
    size_t n_busy;
    tg_state_due *done;
    struct tg_retry *rows; /* the answer */
    void **bases;          /* bases[i]: the allocation behind rows[i] */
    size_t n, room, bytes;
    int64_t next_due, total;
};

struct tg_state_op {
    struct tg_state_op *next;
    enum op_kind kind;
    size_t bytes;
    int status;
    char *why; /* of a failure of its own; NULL: see why_of */
    tg_state_done *done;
    void *arg;
    union {
        struct tg_retry retry; /* OP_DELETE_RETRY: the id only */
        struct dead_op dead;
        struct fact_op fact;
        struct trim_op trim;
        struct due_op due;
        struct usage_op usage;
    };
    char text[]; /* what the members above point to */
};

/* --- making operations --- */

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

static int new_op(struct tg_state *s, enum op_kind kind, size_t text, void *arg, struct tg_state_op **out)
{
    size_t bytes = sizeof **out + text;
    if (s->queued_bytes && s->queued_bytes + bytes > TG_STATE_QUEUE_MAX)
        return TG_BUSY;
    *out = tg_calloc(1, bytes);
    if (!*out)
        return TG_NOMEM;
    (*out)->kind = kind;
    (*out)->bytes = bytes;
    (*out)->arg = arg;
    return TG_OK;
}

static void free_op(struct tg_state_op *op)
{
    if (op->kind == OP_DUE) {
        for (size_t i = 0; i < op->due.n; i++)
            tg_free(op->due.bases[i]);
        tg_free(op->due.rows);
        tg_free(op->due.bases);
    }
    tg_free(op->why);
    tg_free(op);
}

static void run_job(struct tg_job *job);
static void finish_job(struct tg_job *job);

static void give_job(struct tg_state *s)
{
    s->job_given = true;
    s->job.run = run_job;
    s->job.done = finish_job;
    tg_helper_give(s->helper, &s->job);
}

static int queue(struct tg_state *s, struct tg_state_op *op)
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

static int queue_retry(struct tg_state *s, enum op_kind kind, const struct tg_retry *r, tg_state_done *done,
                       void *arg)
{
    if (r->responses.n > TG_STATE_RESPONSES_MAX)
        return TG_TOOBIG;
    size_t text = size_of(r->destination) + size_of(r->source) + size_of(r->message_id) + size_of(r->reason) +
                  r->header.n + r->body.n + r->responses.n;
    struct tg_state_op *op;
    int code = new_op(s, kind, text, arg, &op);
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
    return queue(s, op);
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
    int code = new_op(s, kind, text, arg, &op);
    if (code)
        return code;
    op->done = done;
    op->dead = (struct dead_op){.retry_id = retry_id, .row = *d};
    keep_dead(&op->dead.row, op->text);
    return queue(s, op);
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
    int code = new_op(s, OP_TRIM, size_of(destination) + size_of(source), arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->trim = (struct trim_op){destination, source, keep_bytes, 0, done};
    keep_text(&op->trim.destination, &at);
    keep_text(&op->trim.source, &at);
    return queue(s, op);
}

int tg_state_put_fact(struct tg_state *s, const char *kind, const char *name, struct tg_str value,
                      tg_state_done *done, void *arg)
{
    struct tg_state_op *op;
    int code = new_op(s, OP_FACT, size_of(kind) + size_of(name) + value.n, arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->done = done;
    op->fact = (struct fact_op){kind, name, value};
    keep_text(&op->fact.kind, &at);
    keep_text(&op->fact.name, &at);
    keep_span(&op->fact.value, &at);
    return queue(s, op);
}

int tg_state_after_all(struct tg_state *s, tg_state_done *done, void *arg)
{
    struct tg_state_op *op;
    int code = new_op(s, OP_NONE, 0, arg, &op);
    if (code)
        return code;
    op->done = done;
    return queue(s, op);
}

int tg_state_usage(struct tg_state *s, const char *destination, uint32_t worker, uint32_t workers,
                   tg_state_used *done, void *arg)
{
    assert(workers && worker < workers);
    struct tg_state_op *op;
    int code = new_op(s, OP_USAGE, size_of(destination), arg, &op);
    if (code)
        return code;
    char *at = op->text;
    op->usage =
        (struct usage_op){.destination = destination, .worker = worker, .workers = workers, .done = done};
    keep_text(&op->usage.destination, &at);
    return queue(s, op);
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* `what` without its texts and busy rows. */
static int queue_due(struct tg_state *s, const struct due_op *what, const int64_t *busy, size_t n_busy,
                     void *arg)
{
    assert(what->workers && what->worker < what->workers);
    size_t busy_bytes = n_busy * sizeof *busy;
    struct tg_state_op *op;
    int code = new_op(s, OP_DUE, busy_bytes + size_of(what->destination) + sizeof *busy, arg, &op);
    if (code)
        return code;
    char *at = op->text;
    at += -(uintptr_t)at % _Alignof(int64_t);
    op->due = *what;
    op->due.busy = (int64_t *)(void *)at;
    op->due.n_busy = n_busy;
    if (n_busy) {
        memcpy(op->due.busy, busy, busy_bytes);
        qsort(op->due.busy, n_busy, sizeof *busy, by_id);
    }
    at += busy_bytes;
    keep_text(&op->due.destination, &at);
    return queue(s, op);
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

/* --- the helper's thread: writes --- */

static int retry_to_dead(struct tg_state *s, const struct dead_op *d)
{
    int rc = tg_state_do(s, TG_STMT_SAVEPOINT);
    if (rc != SQLITE_OK)
        return rc;
    rc = tg_state_write_dead(s, &d->row);
    if (rc == SQLITE_OK)
        rc = tg_state_remove_retry(s, d->retry_id);
    if (rc != SQLITE_OK && !tg_state_is_own_failure(rc))
        return rc; /* the whole transaction will be rolled back */
    if (rc != SQLITE_OK)
        tg_state_do(s, TG_STMT_UNDO);
    int released = tg_state_do(s, TG_STMT_RELEASE);
    return rc == SQLITE_OK ? released : rc;
}

static int run_write(struct tg_state *s, struct tg_state_op *op)
{
    switch (op->kind) {
    case OP_PUT_RETRY:
        return tg_state_write_retry(s, &op->retry);
    case OP_UPDATE_RETRY:
        return tg_state_change_retry(s, &op->retry);
    case OP_DELETE_RETRY:
        return tg_state_remove_retry(s, op->retry.id);
    case OP_PUT_DEAD:
        return tg_state_write_dead(s, &op->dead.row);
    case OP_RETRY_TO_DEAD:
        return retry_to_dead(s, &op->dead);
    case OP_FACT:
        return tg_state_write_fact(s, op->fact.kind, op->fact.name, op->fact.value);
    case OP_TRIM:
        return tg_state_trim(s, op->trim.destination, op->trim.source, op->trim.keep_bytes,
                             &op->trim.dropped);
    case OP_NONE:
    case OP_DUE:
    case OP_USAGE:
        break;
    }
    return SQLITE_OK;
}

static bool is_read(const struct tg_state_op *op)
{
    return op->kind >= OP_DUE;
}

static void set_failure(struct tg_state *s, struct tg_state_op *op, int rc, const char *doing)
{
    struct tg_err err = {0};
    op->status = tg_state_fail(s, rc, doing, &err);
    op->why = tg_strdup(err.msg);
}

/* Everything in one transaction is everything or nothing. */
static void fail_all_writes(struct tg_state *s, struct tg_state_op *ops, int rc)
{
    int code = tg_state_fail(s, rc, "writing", &s->failure);
    for (struct tg_state_op *op = ops; op; op = op->next) {
        if (is_read(op))
            continue;
        op->status = code;
        tg_free(op->why);
        op->why = NULL;
        if (op->kind == OP_TRIM)
            op->trim.dropped = 0;
    }
}

static int write_each(struct tg_state *s, struct tg_state_op *ops)
{
    for (struct tg_state_op *op = ops; op; op = op->next) {
        int rc = run_write(s, op);
        if (rc == SQLITE_OK)
            continue;
        if (!tg_state_is_own_failure(rc))
            return rc;
        set_failure(s, op, rc, "writing a row");
    }
    return SQLITE_OK;
}

static bool has_writes(const struct tg_state_op *op)
{
    while (op && is_read(op))
        op = op->next;
    return op;
}

static void run_writes(struct tg_state *s, struct tg_state_op *ops)
{
    if (!has_writes(ops))
        return;
    int rc = tg_state_begin(s);
    if (rc == SQLITE_OK) {
        rc = write_each(s, ops);
        /* The message of the first error, before a rollback replaces it. */
        if (rc != SQLITE_OK)
            fail_all_writes(s, ops, rc);
        int ended = tg_state_end(s, rc);
        if (rc == SQLITE_OK && ended == SQLITE_OK) {
            tg_state_shrink(s);
            return;
        }
        if (rc != SQLITE_OK)
            return;
        rc = ended;
    }
    fail_all_writes(s, ops, rc);
}

/* --- the helper's thread: reads --- */

static bool make_room(struct due_op *d)
{
    if (d->n < d->room)
        return true;
    size_t room = d->room ? d->room * 2 : 16;
    struct tg_retry *rows = tg_realloc(d->rows, room * sizeof *rows);
    if (rows)
        d->rows = rows;
    void **bases = tg_realloc(d->bases, room * sizeof *bases);
    if (bases)
        d->bases = bases;
    if (!rows || !bases)
        return false;
    d->room = room;
    return true;
}

static int add_due_row(struct due_op *d, sqlite3_stmt *st)
{
    if (!make_room(d))
        return SQLITE_NOMEM;
    int rc = tg_state_read_retry(st, &d->rows[d->n], &d->bases[d->n]);
    if (rc == SQLITE_OK) {
        const struct tg_retry *r = &d->rows[d->n++];
        d->bytes += r->header.n + r->body.n + r->responses.n;
    }
    return rc;
}

static bool is_busy_row(const struct due_op *d, int64_t id)
{
    return d->n_busy && bsearch(&id, d->busy, d->n_busy, sizeof id, by_id);
}

/* Rows come by due time: the due ones are taken until the answer is full, the first one left is the next. */
static int walk_due(struct due_op *d, sqlite3_stmt *st)
{
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (is_busy_row(d, sqlite3_column_int64(st, 0)))
            continue;
        int64_t due = sqlite3_column_int64(st, 3);
        if (due > d->now || d->n >= d->limit || d->bytes >= ANSWER_BYTES) {
            d->next_due = due;
            return SQLITE_OK;
        }
        rc = add_due_row(d, st);
        if (rc != SQLITE_OK)
            return rc;
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int bind_share(sqlite3_stmt *st, const char *destination, uint32_t worker, uint32_t workers)
{
    int rc = tg_state_bind_text(st, 1, destination);
    rc |= sqlite3_bind_int64(st, 2, workers);
    rc |= sqlite3_bind_int64(st, 3, worker);
    return rc == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM;
}

static int count_retries(struct tg_state *s, const char *destination, uint32_t worker, uint32_t workers,
                         int64_t *rows, int64_t *bytes)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_RETRY_TOTAL, &rc);
    if (!st)
        return rc;
    rc = bind_share(st, destination, worker, workers);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *rows = sqlite3_column_int64(st, 0);
        *bytes = sqlite3_column_int64(st, 1);
        rc = SQLITE_OK;
    }
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc;
}

static void run_due(struct tg_state *s, struct tg_state_op *op)
{
    int rc;
    op->due.next_due = TG_NO_TIME;
    int64_t bytes = 0;
    struct due_op *d = &op->due;
    sqlite3_stmt *st = tg_state_stmt(s, d->by_age ? TG_STMT_OLD_RETRIES : TG_STMT_DUE, &rc);
    if (st) {
        rc = bind_share(st, d->destination, d->worker, d->workers);
        if (rc == SQLITE_OK)
            rc = walk_due(&op->due, st);
        sqlite3_reset(st);
        sqlite3_clear_bindings(st);
    }
    if (rc == SQLITE_OK)
        rc = count_retries(s, d->destination, d->worker, d->workers, &d->total, &bytes);
    if (rc != SQLITE_OK)
        set_failure(s, op, rc, "reading due retries");
}

/* The one number that a statement says of a destination; `none` when it says NULL. */
static int ask_number(struct tg_state *s, enum tg_stmt which, const char *destination, int64_t none,
                      int64_t *out)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, which, &rc);
    if (!st)
        return rc;
    rc = tg_state_bind_text(st, 1, destination);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_type(st, 0) == SQLITE_NULL ? none : sqlite3_column_int64(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc;
}

static void run_usage(struct tg_state *s, struct tg_state_op *op)
{
    struct usage_op *u = &op->usage;
    int rc = ask_number(s, TG_STMT_DEAD_BYTES, u->destination, 0, &u->usage.dead_bytes);
    if (rc == SQLITE_OK)
        rc = ask_number(s, TG_STMT_OLDEST_RETRY, u->destination, TG_NO_TIME, &u->usage.oldest_retry);
    if (rc == SQLITE_OK)
        rc =
            count_retries(s, u->destination, u->worker, u->workers, &u->usage.retries, &u->usage.retry_bytes);
    if (rc != SQLITE_OK)
        set_failure(s, op, rc, "asking what a destination has");
}

/* --- batches --- */

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
    run_writes(s, s->batch);
    for (struct tg_state_op *op = s->batch; op; op = op->next)
        if (op->kind == OP_DUE)
            run_due(s, op);
        else if (op->kind == OP_USAGE)
            run_usage(s, op);
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
    free_op(op);
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
