/* The connection: opening, the schema and its versions, transactions, errors.
 *
 * Opening a new file, by several processes at once: the file is made with O_EXCL and mode 0600 (SQLite gives
 * its -wal and -shm the same mode), each connection asks for WAL, and the schema is made in one immediate
 * transaction that looks again at user_version, so that one process makes it and the others find it. SQLite's
 * busy handler does not cover the change to WAL, hence the loop there.
 *
 * The file must never be opened and closed beside SQLite in a process that has a connection to it: closing
 * any descriptor of a file drops the process' POSIX locks on it. O_EXCL guarantees that for the file made
 * here. */
#include "spool/state_db.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `usage` is kept by triggers, so that sums over millions of rows cost nothing. Its kinds: 'retry' (name:
 * destination, detail: partition), 'dead' (destination, reason), 'aside' (source, reason). A sum of nothing
 * goes: reasons are the scripts' words, and there may be any number of them. */
#define COUNT(kind, name, detail, sign, row)                                                                 \
    "  INSERT INTO usage VALUES(" kind ", " name ", " detail ", " sign "1, " sign row ".bytes)"              \
    "    ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, bytes = bytes + excluded.bytes;\n"
#define DROP_EMPTY(kind, name, detail)                                                                       \
    "  DELETE FROM usage WHERE kind = " kind " AND name = " name " AND detail = " detail " AND rows = 0;\n"
#define DEAD_KIND(row)         "CASE WHEN " row ".destination IS NULL THEN 'aside' ELSE 'dead' END"
#define DEAD_NAME(row)         "coalesce(" row ".destination, " row ".source)"
#define COUNT_RETRY(sign, row) COUNT("'retry'", row ".destination", row ".partition", sign, row)
#define COUNT_DEAD(sign, row)  COUNT(DEAD_KIND(row), DEAD_NAME(row), row ".reason", sign, row)
#define UNCOUNT_RETRY          COUNT_RETRY("-", "old") DROP_EMPTY("'retry'", "old.destination", "old.partition")
#define UNCOUNT_DEAD           COUNT_DEAD("-", "old") DROP_EMPTY(DEAD_KIND("old"), DEAD_NAME("old"), "old.reason")

static const char schema_1[] =
    "CREATE TABLE retry(\n"
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    "  destination TEXT NOT NULL CHECK(destination <> ''),\n"
    "  partition INTEGER NOT NULL,\n"
    "  seq INTEGER NOT NULL,\n"
    "  due INTEGER NOT NULL,\n"
    "  first_failure INTEGER NOT NULL,\n"
    "  budget_used INTEGER NOT NULL,\n"
    "  attempts INTEGER NOT NULL,\n"
    "  received_at INTEGER NOT NULL,\n"
    "  bytes INTEGER NOT NULL,\n"
    "  source TEXT NOT NULL,\n"
    "  message_id TEXT NOT NULL,\n"
    "  reason TEXT NOT NULL,\n"
    "  header BLOB NOT NULL,\n"
    "  body BLOB NOT NULL,\n"
    "  responses BLOB NOT NULL);\n"
    "CREATE UNIQUE INDEX retry_place ON retry(destination, partition, seq) WHERE seq > 0;\n"
    "CREATE INDEX retry_due ON retry(destination, due, partition);\n"
    "CREATE INDEX retry_age ON retry(destination, received_at);\n"
    "CREATE INDEX retry_seq ON retry(partition, seq);\n"
    "CREATE TABLE dead(\n"
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
    "  destination TEXT CHECK(destination <> ''),\n"
    "  partition INTEGER NOT NULL,\n"
    "  seq INTEGER NOT NULL,\n"
    "  first INTEGER NOT NULL,\n"
    "  last INTEGER NOT NULL,\n"
    "  received_at INTEGER NOT NULL,\n"
    "  status INTEGER NOT NULL,\n"
    "  attempts INTEGER NOT NULL,\n"
    "  generation INTEGER NOT NULL,\n"
    "  bytes INTEGER NOT NULL,\n"
    "  reason TEXT NOT NULL CHECK(reason <> ''),\n"
    "  source TEXT NOT NULL,\n"
    "  message_id TEXT NOT NULL,\n"
    "  type TEXT NOT NULL,\n"
    "  event_name TEXT NOT NULL,\n"
    "  user_id TEXT NOT NULL,\n"
    "  message TEXT NOT NULL,\n"
    "  header BLOB NOT NULL,\n"
    "  body BLOB NOT NULL,\n"
    "  request BLOB NOT NULL,\n"
    "  response BLOB NOT NULL);\n"
    "CREATE UNIQUE INDEX dead_place ON dead(destination, partition, seq) WHERE seq > 0;\n"
    "CREATE INDEX dead_destination ON dead(destination, last);\n"
    "CREATE INDEX dead_aside ON dead(source, last) WHERE destination IS NULL;\n"
    "CREATE INDEX dead_reason ON dead(reason, last);\n"
    "CREATE INDEX dead_last ON dead(last);\n"
    "CREATE INDEX dead_message ON dead(message_id);\n"
    "CREATE INDEX dead_seq ON dead(partition, seq) WHERE seq > 0;\n"
    "CREATE TABLE facts(kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,\n"
    "  PRIMARY KEY(kind, name)) WITHOUT ROWID;\n"
    "CREATE TABLE usage(kind TEXT NOT NULL, name TEXT NOT NULL, detail NOT NULL, rows INTEGER NOT NULL,\n"
    "  bytes INTEGER NOT NULL, PRIMARY KEY(kind, name, detail)) WITHOUT ROWID;\n"
    "CREATE TRIGGER retry_in AFTER INSERT ON retry BEGIN\n" COUNT_RETRY(
        "", "new") "END;\n"
                   "CREATE TRIGGER retry_out AFTER DELETE ON retry BEGIN\n" UNCOUNT_RETRY "END;\n"
                   "CREATE TRIGGER retry_change AFTER UPDATE OF bytes, destination, partition ON retry\n"
                   "  WHEN old.bytes <> new.bytes OR old.destination <> new.destination OR old.partition <> "
                   "new.partition\n"
                   "  BEGIN\n" COUNT_RETRY("", "new") UNCOUNT_RETRY
    "END;\n"
    "CREATE TRIGGER dead_in AFTER INSERT ON dead BEGIN\n" COUNT_DEAD(
        "", "new") "END;\n"
                   "CREATE TRIGGER dead_out AFTER DELETE ON dead BEGIN\n" UNCOUNT_DEAD "END;\n"
                   "CREATE TRIGGER dead_change AFTER UPDATE ON dead BEGIN\n" COUNT_DEAD("", "new")
                       UNCOUNT_DEAD "END;\n";

/* Element v is what leads from schema v to v + 1. */
static const char *const upgrades[TG_STATE_SCHEMA] = {schema_1};

#define RETRY_COLUMNS                                                                                        \
    "id, partition, seq, due, first_failure, budget_used, attempts, received_at, destination, source, "      \
    "message_id, "                                                                                           \
    "reason, header, body, responses"
#define DEAD_COLUMNS                                                                                         \
    "id, partition, seq, first, last, received_at, status, attempts, generation, destination, reason, "      \
    "source, "                                                                                               \
    "message_id, type, event_name, message, header, body, request, response"

static const char *const sql[TG_STMTS] = {
    [TG_STMT_BEGIN] = "BEGIN IMMEDIATE",
    [TG_STMT_COMMIT] = "COMMIT",
    [TG_STMT_ROLLBACK] = "ROLLBACK",
    [TG_STMT_SAVEPOINT] = "SAVEPOINT op",
    [TG_STMT_UNDO] = "ROLLBACK TO op",
    [TG_STMT_RELEASE] = "RELEASE op",
    [TG_STMT_PUT_RETRY] =
        "INSERT INTO retry(partition, seq, due, first_failure, budget_used, attempts, received_at, bytes, "
        "destination,"
        " source, message_id, reason, header, body, responses)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
        " ON CONFLICT(destination, partition, seq) WHERE seq > 0 DO UPDATE SET due = excluded.due,"
        " first_failure = excluded.first_failure, budget_used = excluded.budget_used, attempts = "
        "excluded.attempts,"
        " received_at = excluded.received_at, bytes = excluded.bytes, source = excluded.source,"
        " message_id = excluded.message_id, reason = excluded.reason, header = excluded.header, body = "
        "excluded.body,"
        " responses = excluded.responses",
    [TG_STMT_UPDATE_RETRY] = "UPDATE retry SET due = ?2, first_failure = ?3, budget_used = ?4, attempts = "
                             "?5, reason = ?6, responses = ?7,"
                             " bytes = bytes - length(responses) + length(?7) WHERE id = ?1",
    [TG_STMT_DELETE_RETRY] = "DELETE FROM retry WHERE id = ?1",
    [TG_STMT_DUE] = "SELECT " RETRY_COLUMNS " FROM retry WHERE destination = ?1 AND partition % ?2 = ?3"
                    " ORDER BY due, partition, id",
    [TG_STMT_OLD_RETRIES] =
        "SELECT " RETRY_COLUMNS " FROM retry WHERE destination = ?1 AND partition % ?2 = ?3"
        " ORDER BY received_at, id",
    [TG_STMT_RETRY_TOTAL] = "SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM usage"
                            " WHERE kind = 'retry' AND name = ?1 AND detail % ?2 = ?3",
    [TG_STMT_OLDEST_RETRY] = "SELECT min(received_at) FROM retry WHERE destination = ?1",
    [TG_STMT_PUT_DEAD] =
        "INSERT INTO dead(destination, partition, seq, first, last, received_at, status, attempts, "
        "generation, bytes,"
        " reason, source, message_id, type, event_name, user_id, message, header, body, request, response)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, "
        "?21)"
        " ON CONFLICT(destination, partition, seq) WHERE seq > 0 DO UPDATE SET first = excluded.first,"
        " last = excluded.last, received_at = excluded.received_at, status = excluded.status,"
        " attempts = excluded.attempts, generation = excluded.generation, bytes = excluded.bytes,"
        " reason = excluded.reason, source = excluded.source, message_id = excluded.message_id, type = "
        "excluded.type,"
        " event_name = excluded.event_name, user_id = excluded.user_id, message = excluded.message,"
        " header = excluded.header, body = excluded.body, request = excluded.request, response = "
        "excluded.response",
    [TG_STMT_GET_DEAD] = "SELECT " DEAD_COLUMNS " FROM dead WHERE id = ?1",
    [TG_STMT_OLD_DEAD] = "SELECT id, bytes, (SELECT sum(bytes) FROM usage WHERE kind = 'dead' AND name = ?1)"
                         " FROM dead WHERE destination = ?1 ORDER BY last, id LIMIT ?2",
    [TG_STMT_OLD_ASIDE] =
        "SELECT id, bytes, (SELECT sum(bytes) FROM usage WHERE kind = 'aside' AND name = ?1)"
        " FROM dead WHERE destination IS NULL AND source = ?1 ORDER BY last, id LIMIT ?2",
    [TG_STMT_DELETE_DEAD] = "DELETE FROM dead WHERE id = ?1",
    [TG_STMT_DEAD_BYTES] = "SELECT coalesce(sum(bytes), 0) FROM usage WHERE kind = 'dead' AND name = ?1",
    [TG_STMT_PUT_FACT] =
        "INSERT INTO facts VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value",
    [TG_STMT_DELETE_FACT] = "DELETE FROM facts WHERE kind = ?1 AND name = ?2",
    [TG_STMT_FREE_PAGES] = "PRAGMA freelist_count",
};

/* --- errors --- */

static bool disk_is_full(struct tg_state *s)
{
    int e = s->db ? sqlite3_system_errno(s->db) : 0;
    return e == ENOSPC || e == EDQUOT;
}

int tg_state_code(struct tg_state *s, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return TG_OK;
    case SQLITE_FULL:
        return TG_FULL;
    case SQLITE_NOMEM:
        return TG_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return TG_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TG_CORRUPT;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return TG_INVALID;
    case SQLITE_TOOBIG:
        return TG_TOOBIG;
    case SQLITE_NOTFOUND:
        return TG_NOTFOUND;
    default: /* also IOERR for want of space, as when the -shm file cannot grow */
        return disk_is_full(s) ? TG_FULL : TG_IO;
    }
}

bool tg_state_is_own_failure(int rc)
{
    int code = rc & 0xff;
    return code == SQLITE_CONSTRAINT || code == SQLITE_MISMATCH || code == SQLITE_TOOBIG ||
           code == SQLITE_NOTFOUND;
}

static int fail_corrupt(struct tg_state *s, const char *why, struct tg_err *err)
{
    return tg_fail(err, TG_CORRUPT,
                   "%s: damaged (%s). Stop the relay, move this file and its -wal and -shm aside and start "
                   "again: a new one "
                   "is made. Lost to the relay by that: events waiting for a retry, dead letters, what is "
                   "paused or parked; "
                   "events still in the log are not. `sqlite3 FILE .recover` may save rows of the old file",
                   s->path, why);
}

int tg_state_fail(struct tg_state *s, int rc, const char *doing, struct tg_err *err)
{
    if (rc == SQLITE_READONLY_DBMOVED)
        return tg_fail(err, TG_IO, "%s: removed or replaced while in use: restart the relay", s->path);
    int code = tg_state_code(s, rc);
    bool latest = s->db && (sqlite3_errcode(s->db) & 0xff) == (rc & 0xff);
    const char *why = latest ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    if (code == TG_NOTFOUND)
        return tg_fail(err, code, "%s: %s: no such row", s->path, doing);
    if (code == TG_CORRUPT)
        return fail_corrupt(s, why, err);
    if (code == TG_BUSY)
        return tg_fail(err, code, "%s: %s: another process holds it for more than %d ms", s->path, doing,
                       s->patience_ms);
    int e = s->db ? sqlite3_system_errno(s->db) : 0;
    if ((code == TG_IO || code == TG_FULL) && e)
        return tg_fail(err, code, "%s: %s: %s: %s", s->path, doing, why, strerror(e));
    return tg_fail(err, code, "%s: %s: %s", s->path, doing, why);
}

/* --- statements --- */

sqlite3_stmt *tg_state_stmt(struct tg_state *s, enum tg_stmt which, int *rc)
{
    if (!s->stmt[which]) {
        *rc = sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[which], NULL);
        return s->stmt[which];
    }
    *rc = SQLITE_OK;
    sqlite3_reset(s->stmt[which]);
    sqlite3_clear_bindings(s->stmt[which]);
    return s->stmt[which];
}

int tg_state_run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st); /* they point into the operation, which is freed */
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int tg_state_do(struct tg_state *s, enum tg_stmt which)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, which, &rc);
    return st ? tg_state_run(st) : rc;
}

int tg_state_bind_text(sqlite3_stmt *st, int at, const char *z)
{
    return sqlite3_bind_text(st, at, z ? z : "", -1, SQLITE_STATIC);
}

int tg_state_bind_blob(sqlite3_stmt *st, int at, struct tg_str span)
{
    if (!span.n)
        return sqlite3_bind_zeroblob(st, at, 0);
    return sqlite3_bind_blob64(st, at, span.p, span.n, SQLITE_STATIC);
}

struct tg_str tg_state_column(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(st, at); /* before the length: it may convert */
    return tg_str_n(p, p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static bool is_busy(int rc)
{
    return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_PROTOCOL;
}

/* Some kinds of busy come back at once although a busy handler is set (recovery of the WAL, the change to
 * WAL). */
static bool try_again(int rc, int64_t deadline)
{
    if (!is_busy(rc) || tg_mono_ms() >= deadline)
        return false;
    sqlite3_sleep(5);
    return true;
}

/* The file that is open has no name any more: what is written into it is gone with the process. */
static bool has_moved(struct tg_state *s)
{
    int moved = 0;
    return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

int tg_state_begin(struct tg_state *s)
{
    if (has_moved(s))
        return SQLITE_READONLY_DBMOVED;
    int64_t deadline = tg_mono_ms() + s->patience_ms;
    int rc;
    do
        rc = tg_state_do(s, TG_STMT_BEGIN);
    while (try_again(rc, deadline));
    return rc;
}

int tg_state_end(struct tg_state *s, int rc)
{
    if (rc == SQLITE_OK)
        rc = tg_state_do(s, TG_STMT_COMMIT);
    /* A failed COMMIT leaves the transaction open; a full disk or a lack of memory may have ended it already.
     */
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(s->db))
        tg_state_do(s, TG_STMT_ROLLBACK);
    return rc;
}

void tg_state_shrink(struct tg_state *s)
{
    enum { MANY = 4096, AT_ONCE = 512 };
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_FREE_PAGES, &rc);
    if (!st)
        return;
    int pages = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    sqlite3_reset(st);
    if (pages > MANY) { /* a failure changes nothing: the next commit tries again */
        char text[64];
        snprintf(text, sizeof text, "PRAGMA incremental_vacuum(%d)", AT_ONCE);
        sqlite3_exec(s->db, text, NULL, NULL, NULL);
    }
}

/* --- opening --- */

static int make_file(struct tg_state *s, struct tg_err *err)
{
    int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return TG_OK;
    }
    if (errno == EEXIST)
        return TG_OK;
    return tg_fail_errno(err, errno, "%s: cannot make it", s->path);
}

static int read_number(struct tg_state *s, const char *query, int *value)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, query, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    *value = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
    rc = sqlite3_finalize(st);
    return rc;
}

/* auto_vacuum works only before the first page is written, so before WAL. */
static const char settings[] = "PRAGMA auto_vacuum = INCREMENTAL;"
                               "PRAGMA journal_mode = WAL;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA cache_size = -1024;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA secure_delete = FAST;"
                               "PRAGMA trusted_schema = OFF;"
                               "PRAGMA cell_size_check = ON;"
                               "PRAGMA wal_autocheckpoint = 1000;"
                               "PRAGMA journal_size_limit = 4194304;";

static int configure(struct tg_state *s, struct tg_err *err)
{
    int64_t deadline = tg_mono_ms() + s->patience_ms;
    int rc;
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, s->patience_ms);
    do
        rc = sqlite3_exec(s->db, settings, NULL, NULL, NULL);
    while (try_again(rc, deadline));
    return rc == SQLITE_OK ? TG_OK : tg_state_fail(s, rc, "opening", err);
}

/* Whether the file is ours and which schema it has; 0: a new, empty file. Inside a transaction: numbers of
 * two moments, while another process makes the file, would look like somebody else's. */
static int check_version(struct tg_state *s, int *version, struct tg_err *err)
{
    int application = 0, tables = 0;
    int rc = read_number(s, "PRAGMA user_version", version);
    if (rc == SQLITE_OK)
        rc = read_number(s, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = read_number(s, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return tg_state_fail(s, rc, "reading its version", err);
    if (application != TG_STATE_APPLICATION && (application || tables || *version))
        return tg_fail(err, TG_INVALID,
                       "%s: an SQLite file, but not tidegate's: move it out of the spool folder", s->path);
    if (*version > TG_STATE_SCHEMA || *version < 0)
        return tg_fail(err, TG_BADVERSION,
                       "%s: written by a newer tidegate (schema %d, this one knows up to %d): run that one",
                       s->path, *version, TG_STATE_SCHEMA);
    return TG_OK;
}

static int upgrade_from(struct tg_state *s, int version)
{
    int rc = SQLITE_OK;
    for (int v = version; v < TG_STATE_SCHEMA && rc == SQLITE_OK; v++)
        rc = sqlite3_exec(s->db, upgrades[v], NULL, NULL, NULL);
    char text[96];
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d", TG_STATE_APPLICATION,
             TG_STATE_SCHEMA);
    return rc == SQLITE_OK ? sqlite3_exec(s->db, text, NULL, NULL, NULL) : rc;
}

/* A look that does not wait for whoever writes just now; only while the file changes hands, of those that
 * come and of the last that goes, nobody can look. */
static int look(struct tg_state *s, int *version, struct tg_err *err)
{
    int64_t deadline = tg_mono_ms() + s->patience_ms;
    int code;
    do {
        int rc = sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            return tg_state_fail(s, rc, "reading its version", err);
        code = check_version(s, version, err);
        tg_state_end(s, code ? SQLITE_ERROR : SQLITE_OK);
    } while (code == TG_BUSY && try_again(SQLITE_BUSY, deadline));
    return code;
}

static int bring_up_to_date(struct tg_state *s, struct tg_err *err)
{
    int version = 0;
    int code = look(s, &version, err);
    if (code || version == TG_STATE_SCHEMA)
        return code;
    int rc = tg_state_begin(s);
    if (rc != SQLITE_OK)
        return tg_state_fail(s, rc, "making the tables", err);
    code = check_version(s, &version, err); /* another process may have been first */
    if (code) {
        tg_state_end(s, SQLITE_ERROR);
        return code;
    }
    rc = tg_state_end(s, version < TG_STATE_SCHEMA ? upgrade_from(s, version) : SQLITE_OK);
    return rc == SQLITE_OK ? TG_OK : tg_state_fail(s, rc, "making the tables", err);
}

static int open_file(struct tg_state *s, struct tg_err *err)
{
    int code = make_file(s, err);
    if (code)
        return code;
    /* NOMUTEX: `use` is the mutex, held for whole transactions and not only for single calls. */
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return tg_state_fail(s, rc, "opening", err);
    code = configure(s, err);
    return code ? code : bring_up_to_date(s, err);
}

static void close_db(struct tg_state *s)
{
    for (int i = 0; i < TG_STMTS; i++)
        sqlite3_finalize(s->stmt[i]);
    int rc = sqlite3_close(s->db); /* the last connection also checkpoints and removes the WAL */
    assert(rc == SQLITE_OK);
    (void)rc;
}

/* `use` is recursive because the callback of a walk may call other functions of this module. */
static void init_locks(struct tg_state *s)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->use, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&s->lock, NULL);
}

void tg_state_lock(struct tg_state *s)
{
    pthread_mutex_lock(&s->use);
}

void tg_state_unlock(struct tg_state *s)
{
    pthread_mutex_unlock(&s->use);
}

int tg_state_open(const char *spool_dir, struct tg_helper *helper, struct tg_state **out, struct tg_err *err)
{
    struct tg_state *s = tg_calloc(1, sizeof *s);
    size_t n = strlen(spool_dir) + sizeof "/" TG_STATE_FILE;
    if (!s || !(s->path = tg_malloc(n))) {
        tg_free(s);
        return tg_fail(err, TG_NOMEM, "%s: out of memory", spool_dir);
    }
    snprintf(s->path, n, "%s/%s", spool_dir, TG_STATE_FILE);
    s->patience_ms = TG_STATE_OPENING_MS;
    s->helper = helper;
    s->gathering_end = &s->gathering;
    int code = open_file(s, err);
    if (code) {
        close_db(s);
        tg_free(s->path);
        tg_free(s);
        return code;
    }
    init_locks(s);
    tg_state_set_patience(s, TG_STATE_PATIENCE_MS);
    *out = s;
    return TG_OK;
}

void tg_state_close(struct tg_state **state)
{
    struct tg_state *s = *state;
    if (!s)
        return;
    assert(!s->gathering && !s->job_given);
    *state = NULL;
    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                              NULL); /* others may go on using it */
    close_db(s);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->use);
    tg_free(s->path);
    tg_free(s);
}

void tg_state_set_patience(struct tg_state *s, int ms)
{
    tg_state_lock(s);
    s->patience_ms = ms;
    sqlite3_busy_timeout(s->db, ms);
    tg_state_unlock(s);
}
