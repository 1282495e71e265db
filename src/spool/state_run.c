#include "spool/state_run.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

enum { ANSWER_BYTES = 4 * 1024 * 1024 };

/* --- writes --- */

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
        if (tg_state_op_is_read(op))
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
    while (op && tg_state_op_is_read(op))
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

/* --- reads --- */

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
    return d->n_busy && bsearch(&id, d->busy, d->n_busy, sizeof id, tg_state_by_id);
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

void tg_state_run_all(struct tg_state *s, struct tg_state_op *ops)
{
    run_writes(s, ops);
    for (struct tg_state_op *op = ops; op; op = op->next)
        if (op->kind == OP_DUE)
            run_due(s, op);
        else if (op->kind == OP_USAGE)
            run_usage(s, op);
}
