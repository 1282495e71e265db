/* What the files of the state module share: the connection, its prepared statements, and errors in our codes.
 * Only src/spool/state*.c include this. */
#ifndef TG_SPOOL_STATE_DB_H
#define TG_SPOOL_STATE_DB_H

#include "base/helper.h"
#include "spool/state.h"

#include <pthread.h>
#include <sqlite3.h>

enum {
    TG_STATE_SCHEMA = 1,               /* user_version */
    TG_STATE_APPLICATION = 0x54676174, /* application_id: "Tgat" */
    TG_STATE_PATIENCE_MS = 5000,       /* how long to wait for other processes' transactions */
    /* The same while opening: all workers of a new relay make the file at once, each change is several syncs,
     * and one that gives up ends the start. */
    TG_STATE_OPENING_MS = 30000
};

enum tg_stmt {
    TG_STMT_BEGIN,
    TG_STMT_COMMIT,
    TG_STMT_ROLLBACK,
    TG_STMT_SAVEPOINT,
    TG_STMT_UNDO,
    TG_STMT_RELEASE,
    TG_STMT_PUT_RETRY,
    TG_STMT_UPDATE_RETRY,
    TG_STMT_DELETE_RETRY,
    TG_STMT_DUE,
    TG_STMT_OLD_RETRIES,
    TG_STMT_RETRY_TOTAL,
    TG_STMT_OLDEST_RETRY,
    TG_STMT_PUT_DEAD,
    TG_STMT_GET_DEAD,
    TG_STMT_OLD_DEAD,
    TG_STMT_OLD_ASIDE,
    TG_STMT_DELETE_DEAD,
    TG_STMT_DEAD_BYTES,
    TG_STMT_PUT_FACT,
    TG_STMT_DELETE_FACT,
    TG_STMT_FREE_PAGES,
    TG_STMTS
};

struct tg_state_op;

struct tg_state {
    sqlite3 *db;
    sqlite3_stmt *stmt[TG_STMTS]; /* prepared at first use */
    char *path;
    int patience_ms;
    pthread_mutex_t use; /* held by whoever uses the connection; recursive */

    /* The queue: the loop's thread puts operations in, the helper takes them out. */
    struct tg_helper *helper;
    pthread_mutex_t lock; /* for `gathering` */
    struct tg_state_op *gathering, **gathering_end;
    size_t queued_bytes; /* loop thread */
    struct tg_job job;
    bool job_given;            /* loop thread */
    struct tg_err failure;     /* of the latest transaction that failed as a whole */
    struct tg_state_op *batch; /* the helper's while the job runs, then the loop's */
};

/* Around every use of the connection by the functions that answer at once: the helper may be in a
 * transaction. */
void tg_state_lock(struct tg_state *s);
void tg_state_unlock(struct tg_state *s);

/* Our code for SQLite's, from the connection's latest error. */
int tg_state_code(struct tg_state *s, int rc);
/* Fills err with code and message ("<path>: <doing>: <why>"; what to do for a damaged file). Returns the
 * code. */
int tg_state_fail(struct tg_state *s, int rc, const char *doing, struct tg_err *err);
/* A failure that concerns one statement only: the transaction goes on. */
bool tg_state_is_own_failure(int rc);

/* The prepared statement, reset and without bindings; NULL: see *rc. */
sqlite3_stmt *tg_state_stmt(struct tg_state *s, enum tg_stmt which, int *rc);
/* Steps a statement that returns no rows and resets it. SQLITE_OK or an error code. */
int tg_state_run(sqlite3_stmt *st);
/* Both for one without bindings. */
int tg_state_do(struct tg_state *s, enum tg_stmt which);
/* BEGIN IMMEDIATE, tried again for as long as the patience lasts. */
int tg_state_begin(struct tg_state *s);
/* COMMIT when rc is SQLITE_OK, else ROLLBACK; returns the first error. */
int tg_state_end(struct tg_state *s, int rc);

int tg_state_bind_text(sqlite3_stmt *st, int at, const char *z);      /* NULL: '' */
int tg_state_bind_blob(sqlite3_stmt *st, int at, struct tg_str span); /* empty: x'' */
/* The span of a column, lent until the next step. */
struct tg_str tg_state_column(sqlite3_stmt *st, int at);

/* Gives free pages back to the file system, some at a time, once there are many. */
void tg_state_shrink(struct tg_state *s);

/* Copying rows out of a statement: `base` is one allocation that the row's strings and spans point into. */
int tg_state_read_retry(sqlite3_stmt *st, struct tg_retry *row, void **base);
int tg_state_read_dead(sqlite3_stmt *st, struct tg_dead *row, void **base);

/* For the functions that answer at once (state_read.c, state_person.c). On success of tg_state_prepare the
 * connection is locked until tg_state_unlock. */
enum { TG_STATE_AT_ONCE = 500 }; /* rows in one transaction, so that the relay's writes need not wait long */
int tg_state_prepare(struct tg_state *s, const char *text, sqlite3_stmt **st, struct tg_err *err);
/* A filter as the WHERE clause of a statement on `dead`; `one`: and the row is :one. */
struct tg_conditions {
    char text[640]; /* all of them fit: each is a literal */
    size_t len;
};
struct tg_conditions tg_state_conditions(const struct tg_dead_filter *f, bool one);
int tg_state_bind_filter(sqlite3_stmt *st, const struct tg_dead_filter *f);
struct tg_ids {
    int64_t *id; /* tg_free */
    size_t n, room;
};
int tg_state_add_id(struct tg_ids *ids, int64_t id);
int tg_state_dead_ids(struct tg_state *s, const struct tg_dead_filter *f, struct tg_ids *ids,
                      struct tg_err *err);

/* Statements of operations; used by the queue and at once. SQLite codes, SQLITE_NOTFOUND for a row that is
 * not there. */
int tg_state_write_retry(struct tg_state *s, const struct tg_retry *r);
int tg_state_change_retry(struct tg_state *s, const struct tg_retry *r);
int tg_state_remove_retry(struct tg_state *s, int64_t id);
int tg_state_write_dead(struct tg_state *s, const struct tg_dead *d);
int tg_state_write_fact(struct tg_state *s, const char *kind, const char *name, struct tg_str value);
int tg_state_trim(struct tg_state *s, const char *destination, const char *source, int64_t keep_bytes,
                  int64_t *dropped);

#endif
