/* The functions that answer at once: start-up, shutdown, command line.
 *
 * A list of dead letters may be printed into a pager that stands still for an hour, and a reader that stays
 * in its transaction keeps the WAL from being reused. So the ids that match are collected first, and the rows
 * are then read one by one, without a transaction around them. */
#include "spool/state_db.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int tg_state_prepare(struct tg_state *s, const char *text, sqlite3_stmt **st, struct tg_err *err)
{
    tg_state_lock(s);
    int rc = sqlite3_prepare_v2(s->db, text, -1, st, NULL);
    if (rc == SQLITE_OK)
        return TG_OK;
    int code = tg_state_fail(s, rc, "reading", err);
    tg_state_unlock(s);
    return code;
}

/* Ends a walk over rows: rc is what the last step said, code what `each` said. */
static int finish(struct tg_state *s, sqlite3_stmt *st, int rc, int code, struct tg_err *err)
{
    if (!code && rc != SQLITE_DONE && rc != SQLITE_ROW)
        code = tg_state_fail(s, rc, "reading", err);
    sqlite3_finalize(st);
    tg_state_unlock(s);
    return code;
}

static const char *text_of(sqlite3_stmt *st, int at)
{
    return (const char *)sqlite3_column_text(st, at);
}

/* --- filters --- */

static void also(struct tg_conditions *c, bool wanted, const char *condition)
{
    if (!wanted)
        return;
    int n =
        snprintf(c->text + c->len, sizeof c->text - c->len, "%s%s", c->len ? " AND " : " WHERE ", condition);
    c->len += (size_t)n;
    assert(c->len < sizeof c->text);
}

struct tg_conditions tg_state_conditions(const struct tg_dead_filter *f, bool one)
{
    struct tg_conditions c = {.len = 0};
    also(&c, f->id > 0, "id = :id");
    also(&c, f->after_id > 0, "id > :after_id");
    also(&c, f->destination, "destination = :destination");
    also(&c, f->set_aside_only, "destination IS NULL");
    also(&c, f->reason, "reason = :reason");
    also(&c, f->source, "source = :source");
    also(&c, f->message_id, "message_id = :message_id");
    also(&c, f->event_name, "event_name = :event_name");
    also(&c, f->user_id, "user_id = :user_id");
    also(&c, f->since, "last >= :since");
    also(&c, f->until, "last < :until");
    also(&c, one, "id = :one");
    return c;
}

static int bind_named_text(sqlite3_stmt *st, const char *name, const char *z)
{
    int at = sqlite3_bind_parameter_index(st, name);
    return at ? tg_state_bind_text(st, at, z) : SQLITE_OK;
}

static int bind_named_int(sqlite3_stmt *st, const char *name, int64_t value)
{
    int at = sqlite3_bind_parameter_index(st, name);
    return at ? sqlite3_bind_int64(st, at, value) : SQLITE_OK;
}

int tg_state_bind_filter(sqlite3_stmt *st, const struct tg_dead_filter *f)
{
    int rc = bind_named_int(st, ":id", f->id);
    rc |= bind_named_int(st, ":after_id", f->after_id);
    rc |= bind_named_text(st, ":destination", f->destination);
    rc |= bind_named_text(st, ":reason", f->reason);
    rc |= bind_named_text(st, ":source", f->source);
    rc |= bind_named_text(st, ":message_id", f->message_id);
    rc |= bind_named_text(st, ":event_name", f->event_name);
    rc |= bind_named_text(st, ":user_id", f->user_id);
    rc |= bind_named_int(st, ":since", f->since);
    rc |= bind_named_int(st, ":until", f->until);
    rc |= bind_named_int(st, ":limit", f->limit > 0 ? f->limit : -1);
    return rc == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM;
}

int tg_state_add_id(struct tg_ids *ids, int64_t id)
{
    if (ids->n == ids->room) {
        size_t room = ids->room ? ids->room * 2 : 256;
        int64_t *more = tg_realloc(ids->id, room * sizeof *more);
        if (!more)
            return TG_NOMEM;
        ids->id = more;
        ids->room = room;
    }
    ids->id[ids->n++] = id;
    return TG_OK;
}

int tg_state_dead_ids(struct tg_state *s, const struct tg_dead_filter *f, struct tg_ids *ids,
                      struct tg_err *err)
{
    struct tg_conditions where = tg_state_conditions(f, false);
    char text[sizeof where.text + 64];
    snprintf(text, sizeof text, "SELECT id FROM dead%s ORDER BY id LIMIT :limit", where.text);
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, text, &st, err);
    if (code)
        return code;
    int rc = tg_state_bind_filter(st, f);
    if (rc == SQLITE_OK)
        while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW)
            code = tg_state_add_id(ids, sqlite3_column_int64(st, 0));
    if (code)
        tg_fail(err, code, "%s: out of memory", s->path);
    return finish(s, st, rc, code, err);
}

/* --- dead letters --- */

/* SQLITE_DONE: the row is gone. */
static int read_row(struct tg_state *s, int64_t id, struct tg_dead *row, void **base)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_GET_DEAD, &rc);
    if (!st)
        return rc;
    sqlite3_bind_int64(st, 1, id);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        rc = tg_state_read_dead(st, row, base);
    sqlite3_reset(st); /* ends the read transaction */
    return rc;
}

static int call_row(struct tg_state *s, int64_t id, int (*each)(void *arg, const struct tg_dead *d),
                    void *arg, struct tg_err *err)
{
    struct tg_dead row;
    void *base = NULL;
    tg_state_lock(s);
    int rc = read_row(s, id, &row, &base);
    int code = rc == SQLITE_OK || rc == SQLITE_DONE ? TG_OK : tg_state_fail(s, rc, "reading", err);
    tg_state_unlock(s);
    if (rc == SQLITE_OK)
        code = each(arg, &row);
    tg_free(base);
    return code;
}

int tg_state_dead_each(struct tg_state *s, const struct tg_dead_filter *f,
                       int (*each)(void *arg, const struct tg_dead *d), void *arg, struct tg_err *err)
{
    struct tg_ids ids = {0};
    int code = tg_state_dead_ids(s, f, &ids, err);
    for (size_t i = 0; i < ids.n && !code; i++)
        code = call_row(s, ids.id[i], each, arg, err);
    tg_free(ids.id);
    return code;
}

/* The filter is part of the statement: a row that was replaced meanwhile and no longer matches stays. */
static int drop_some(struct tg_state *s, sqlite3_stmt *st, const int64_t *ids, size_t n, int64_t *dropped)
{
    int64_t gone = 0;
    int rc = tg_state_begin(s);
    if (rc != SQLITE_OK)
        return rc;
    int at = sqlite3_bind_parameter_index(st, ":one");
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        sqlite3_bind_int64(st, at, ids[i]);
        rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(s->db);
        sqlite3_reset(st);
        gone += rc == SQLITE_OK ? sqlite3_changes(s->db) : 0;
    }
    rc = tg_state_end(s, rc);
    if (rc == SQLITE_OK)
        *dropped += gone;
    return rc;
}

static int drop_ids(struct tg_state *s, const struct tg_dead_filter *f, const struct tg_ids *ids,
                    int64_t *dropped, struct tg_err *err)
{
    struct tg_conditions where = tg_state_conditions(f, true);
    char text[sizeof where.text + 64];
    snprintf(text, sizeof text, "DELETE FROM dead%s", where.text);
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, text, &st, err);
    if (code)
        return code;
    int rc = tg_state_bind_filter(st, f);
    for (size_t i = 0; i < ids->n && rc == SQLITE_OK; i += TG_STATE_AT_ONCE) {
        size_t n = ids->n - i < TG_STATE_AT_ONCE ? ids->n - i : TG_STATE_AT_ONCE;
        rc = drop_some(s, st, ids->id + i, n, dropped);
        if (rc == SQLITE_OK)
            tg_state_shrink(s);
    }
    if (rc != SQLITE_OK)
        code = tg_state_fail(s, rc, "dropping dead letters", err);
    sqlite3_finalize(st);
    tg_state_unlock(s);
    return code;
}

int tg_state_dead_drop(struct tg_state *s, const struct tg_dead_filter *f, int64_t *dropped,
                       struct tg_err *err)
{
    struct tg_ids ids = {0};
    *dropped = 0;
    int code = tg_state_dead_ids(s, f, &ids, err);
    if (!code)
        code = drop_ids(s, f, &ids, dropped, err);
    tg_free(ids.id);
    return code;
}

/* --- counts --- */

int tg_state_dead_counts(struct tg_state *s,
                         int (*each)(void *arg, const char *destination, const char *reason, int64_t count,
                                     int64_t bytes),
                         void *arg, struct tg_err *err)
{
    sqlite3_stmt *st;
    int rc, code = tg_state_prepare(
                s,
                "SELECT CASE kind WHEN 'dead' THEN name END AS destination, detail, sum(rows), sum(bytes)"
                " FROM usage WHERE kind IN ('dead', 'aside') AND rows > 0 GROUP BY 1, 2 ORDER BY 1, 2",
                &st, err);
    if (code)
        return code;
    while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW)
        code = each(arg, text_of(st, 0), text_of(st, 1), sqlite3_column_int64(st, 2),
                    sqlite3_column_int64(st, 3));
    return finish(s, st, rc, code, err);
}

int tg_state_retry_counts(struct tg_state *s,
                          int (*each)(void *arg, const char *destination, int64_t count, int64_t bytes,
                                      int64_t oldest_received),
                          void *arg, struct tg_err *err)
{
    sqlite3_stmt *st;
    int rc, code = tg_state_prepare(
                s,
                "SELECT name, sum(rows), sum(bytes), (SELECT min(received_at) FROM retry WHERE"
                " destination = name) FROM usage WHERE kind = 'retry' AND rows > 0 GROUP BY 1 ORDER BY 1",
                &st, err);
    if (code)
        return code;
    while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW)
        code = each(arg, text_of(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                    sqlite3_column_int64(st, 3));
    return finish(s, st, rc, code, err);
}

static int one_number(struct tg_state *s, const char *text, uint32_t partition, int64_t *value,
                      struct tg_err *err)
{
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, text, &st, err);
    if (code)
        return code;
    sqlite3_bind_int64(st, 1, partition);
    int rc = sqlite3_step(st);
    *value = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    return finish(s, st, rc, TG_OK, err);
}

/* Dead letters count too: a number given twice would let a new event replace the dead letter of another. */
int tg_state_highest_seq(struct tg_state *s, uint32_t partition, uint64_t *seq, struct tg_err *err)
{
    int64_t highest;
    int code = one_number(s,
                          "SELECT max(coalesce((SELECT max(seq) FROM retry WHERE partition = ?1), 0),"
                          " coalesce((SELECT max(seq) FROM dead WHERE partition = ?1 AND seq > 0), 0))",
                          partition, &highest, err);
    *seq = code ? 0 : (uint64_t)highest;
    return code;
}

int tg_state_partition_rows(struct tg_state *s, uint32_t partition, int64_t *rows, struct tg_err *err)
{
    return one_number(s, "SELECT count(*) FROM retry WHERE partition = ?1", partition, rows, err);
}

/* --- facts --- */

int tg_state_facts_each(struct tg_state *s, const char *kind,
                        int (*each)(void *arg, const char *name, struct tg_str value), void *arg,
                        struct tg_err *err)
{
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, "SELECT name, value FROM facts WHERE kind = ?1 ORDER BY name", &st, err);
    if (code)
        return code;
    int rc = tg_state_bind_text(st, 1, kind);
    if (rc == SQLITE_OK)
        while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW)
            code = each(arg, text_of(st, 0), tg_state_column(st, 1));
    return finish(s, st, rc, code, err);
}

int tg_state_put_fact_now(struct tg_state *s, const char *kind, const char *name, struct tg_str value,
                          struct tg_err *err)
{
    tg_state_lock(s);
    int rc = tg_state_begin(s);
    if (rc == SQLITE_OK)
        rc = tg_state_end(s, tg_state_write_fact(s, kind, name, value));
    int code = rc == SQLITE_OK ? TG_OK : tg_state_fail(s, rc, "writing a fact", err);
    tg_state_unlock(s);
    return code;
}
