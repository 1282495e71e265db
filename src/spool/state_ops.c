/* The statements behind the operations, and rows copied out. All of it runs on the thread that has the
 * connection. */
#include "spool/state_db.h"

#include "base/event.h"
#include "base/mem.h"

#include <string.h>

/* What a row costs beside its texts: columns, index entries. A round figure for the ceilings. */
enum { ROW_OVERHEAD = 256 };

static int64_t length(const char *z)
{
    return z ? (int64_t)strlen(z) : 0;
}

/* The sum of several bind results: SQLITE_OK or something else. Bindings fail for want of memory only. */
static int bound(int sum)
{
    return sum == SQLITE_OK ? SQLITE_OK : SQLITE_NOMEM;
}

static int64_t retry_bytes(const struct tg_retry *r)
{
    return (int64_t)(r->header.n + r->body.n + r->responses.n) + length(r->source) + length(r->message_id) +
           length(r->reason) + ROW_OVERHEAD;
}

int tg_state_write_retry(struct tg_state *s, const struct tg_retry *r)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_PUT_RETRY, &rc);
    if (!st)
        return rc;
    rc = sqlite3_bind_int64(st, 1, r->partition);
    rc |= sqlite3_bind_int64(st, 2, (int64_t)r->seq);
    rc |= sqlite3_bind_int64(st, 3, r->due);
    rc |= sqlite3_bind_int64(st, 4, r->first_failure);
    rc |= sqlite3_bind_int64(st, 5, r->budget_used);
    rc |= sqlite3_bind_int64(st, 6, r->attempts);
    rc |= sqlite3_bind_int64(st, 7, r->received_at);
    rc |= sqlite3_bind_int64(st, 8, retry_bytes(r));
    rc |= tg_state_bind_text(st, 9, r->destination);
    rc |= tg_state_bind_text(st, 10, r->source);
    rc |= tg_state_bind_text(st, 11, r->message_id);
    rc |= tg_state_bind_text(st, 12, r->reason);
    rc |= tg_state_bind_blob(st, 13, r->header);
    rc |= tg_state_bind_blob(st, 14, r->body);
    rc |= tg_state_bind_blob(st, 15, r->responses);
    rc = bound(rc);
    return rc == SQLITE_OK ? tg_state_run(st) : rc;
}

int tg_state_change_retry(struct tg_state *s, const struct tg_retry *r)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_UPDATE_RETRY, &rc);
    if (!st)
        return rc;
    rc = sqlite3_bind_int64(st, 1, r->id);
    rc |= sqlite3_bind_int64(st, 2, r->due);
    rc |= sqlite3_bind_int64(st, 3, r->first_failure);
    rc |= sqlite3_bind_int64(st, 4, r->budget_used);
    rc |= sqlite3_bind_int64(st, 5, r->attempts);
    rc |= tg_state_bind_text(st, 6, r->reason);
    rc |= tg_state_bind_blob(st, 7, r->responses);
    rc = bound(rc);
    if (rc == SQLITE_OK)
        rc = tg_state_run(st);
    return rc == SQLITE_OK && !sqlite3_changes(s->db) ? SQLITE_NOTFOUND : rc;
}

int tg_state_remove_retry(struct tg_state *s, int64_t id)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_DELETE_RETRY, &rc);
    if (!st)
        return rc;
    sqlite3_bind_int64(st, 1, id);
    return tg_state_run(st);
}

/* The user of an event, for the filter; empty when the header says nothing. */
static struct tg_str user_of(const struct tg_dead *d)
{
    struct tg_event ev;
    if (!d->header.n || tg_event_decode(d->header, d->body, &ev, NULL))
        return tg_str_of(NULL);
    return ev.user_id;
}

static int64_t dead_bytes(const struct tg_dead *d)
{
    return (int64_t)(d->header.n + d->body.n + d->request.n + d->response.n) + length(d->message) +
           length(d->source) + length(d->message_id) + length(d->event_name) + 2 * ROW_OVERHEAD;
}

static int bind_dead_numbers(sqlite3_stmt *st, const struct tg_dead *d)
{
    int rc = sqlite3_bind_int64(st, 2, d->partition);
    rc |= sqlite3_bind_int64(st, 3, (int64_t)d->seq);
    rc |= sqlite3_bind_int64(st, 4, d->first);
    rc |= sqlite3_bind_int64(st, 5, d->last);
    rc |= sqlite3_bind_int64(st, 6, d->received_at);
    rc |= sqlite3_bind_int64(st, 7, d->status);
    rc |= sqlite3_bind_int64(st, 8, d->attempts);
    rc |= sqlite3_bind_int64(st, 9, d->generation);
    rc |= sqlite3_bind_int64(st, 10, dead_bytes(d));
    return rc;
}

static int bind_dead_text(sqlite3_stmt *st, const struct tg_dead *d)
{
    int rc = d->destination ? tg_state_bind_text(st, 1, d->destination) : sqlite3_bind_null(st, 1);
    struct tg_str user = user_of(d);
    rc |= tg_state_bind_text(st, 11, d->reason);
    rc |= tg_state_bind_text(st, 12, d->source);
    rc |= tg_state_bind_text(st, 13, d->message_id);
    rc |= tg_state_bind_text(st, 14, d->type);
    rc |= tg_state_bind_text(st, 15, d->event_name);
    rc |= sqlite3_bind_text64(st, 16, user.n ? user.p : "", user.n, SQLITE_STATIC, SQLITE_UTF8);
    rc |= tg_state_bind_text(st, 17, d->message);
    rc |= tg_state_bind_blob(st, 18, d->header);
    rc |= tg_state_bind_blob(st, 19, d->body);
    rc |= tg_state_bind_blob(st, 20, d->request);
    rc |= tg_state_bind_blob(st, 21, d->response);
    return rc;
}

int tg_state_write_dead(struct tg_state *s, const struct tg_dead *d)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_PUT_DEAD, &rc);
    if (!st)
        return rc;
    rc = bound(bind_dead_numbers(st, d) | bind_dead_text(st, d));
    return rc == SQLITE_OK ? tg_state_run(st) : rc;
}

int tg_state_write_fact(struct tg_state *s, const char *kind, const char *name, struct tg_str value)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, value.n ? TG_STMT_PUT_FACT : TG_STMT_DELETE_FACT, &rc);
    if (!st)
        return rc;
    rc = tg_state_bind_text(st, 1, kind);
    rc |= tg_state_bind_text(st, 2, name);
    if (value.n)
        rc |= tg_state_bind_blob(st, 3, value);
    rc = bound(rc);
    return rc == SQLITE_OK ? tg_state_run(st) : rc;
}

/* --- the oldest dead letters go --- */

enum { TRIM_AT_ONCE = 500 }; /* rows, so that other writers need not wait long */

/* Ids of the oldest rows of a set until the rest is within keep_bytes, at most TRIM_AT_ONCE. */
static int find_oldest(struct tg_state *s, const char *destination, const char *source, int64_t keep_bytes,
                       int64_t *ids, size_t *n)
{
    int rc;
    sqlite3_stmt *st = tg_state_stmt(s, destination ? TG_STMT_OLD_DEAD : TG_STMT_OLD_ASIDE, &rc);
    if (!st)
        return rc;
    rc = bound(tg_state_bind_text(st, 1, destination ? destination : source) |
               sqlite3_bind_int(st, 2, TRIM_AT_ONCE));
    int64_t gone = 0;
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (sqlite3_column_int64(st, 2) - gone <= keep_bytes)
            break;
        ids[(*n)++] = sqlite3_column_int64(st, 0);
        gone += sqlite3_column_int64(st, 1);
        rc = SQLITE_OK;
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int tg_state_trim(struct tg_state *s, const char *destination, const char *source, int64_t keep_bytes,
                  int64_t *dropped)
{
    int64_t ids[TRIM_AT_ONCE];
    size_t n = 0;
    int rc = find_oldest(s, destination, source, keep_bytes, ids, &n);
    *dropped = 0;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        sqlite3_stmt *st = tg_state_stmt(s, TG_STMT_DELETE_DEAD, &rc);
        if (!st)
            return rc;
        sqlite3_bind_int64(st, 1, ids[i]);
        rc = tg_state_run(st);
        *dropped += rc == SQLITE_OK;
    }
    return rc;
}

/* --- rows copied out --- */

/* Copies the columns from..to into one allocation, each with a NUL behind it; spans[i] is column from + i. */
static int copy_columns(sqlite3_stmt *st, int from, int to, struct tg_str *spans, void **base)
{
    size_t total = 0;
    for (int i = from; i <= to; i++) {
        if (sqlite3_column_type(st, i) != SQLITE_NULL && !sqlite3_column_blob(st, i) &&
            sqlite3_column_bytes(st, i))
            return SQLITE_NOMEM;
        total += (size_t)sqlite3_column_bytes(st, i) + 1;
    }
    char *at = tg_malloc(total);
    if (!at)
        return SQLITE_NOMEM;
    *base = at;
    for (int i = from; i <= to; i++) {
        struct tg_str c = tg_state_column(st, i);
        if (c.n)
            memcpy(at, c.p, c.n);
        at[c.n] = '\0';
        spans[i - from] = tg_str_n(at, c.n);
        at += c.n + 1;
    }
    return SQLITE_OK;
}

int tg_state_read_retry(sqlite3_stmt *st, struct tg_retry *row, void **base)
{
    struct tg_str text[7];
    int rc = copy_columns(st, 8, 14, text, base);
    if (rc != SQLITE_OK)
        return rc;
    *row = (struct tg_retry){
        .id = sqlite3_column_int64(st, 0),
        .partition = (uint32_t)sqlite3_column_int64(st, 1),
        .seq = (uint64_t)sqlite3_column_int64(st, 2),
        .due = sqlite3_column_int64(st, 3),
        .first_failure = sqlite3_column_int64(st, 4),
        .budget_used = sqlite3_column_int64(st, 5),
        .attempts = (uint32_t)sqlite3_column_int64(st, 6),
        .received_at = sqlite3_column_int64(st, 7),
        .destination = text[0].p,
        .source = text[1].p,
        .message_id = text[2].p,
        .reason = text[3].p,
        .header = text[4],
        .body = text[5],
        .responses = text[6],
    };
    return SQLITE_OK;
}

int tg_state_read_dead(sqlite3_stmt *st, struct tg_dead *row, void **base)
{
    struct tg_str text[11];
    int rc = copy_columns(st, 9, 19, text, base);
    if (rc != SQLITE_OK)
        return rc;
    *row = (struct tg_dead){
        .id = sqlite3_column_int64(st, 0),
        .partition = (uint32_t)sqlite3_column_int64(st, 1),
        .seq = (uint64_t)sqlite3_column_int64(st, 2),
        .first = sqlite3_column_int64(st, 3),
        .last = sqlite3_column_int64(st, 4),
        .received_at = sqlite3_column_int64(st, 5),
        .status = sqlite3_column_int(st, 6),
        .attempts = (uint32_t)sqlite3_column_int64(st, 7),
        .generation = sqlite3_column_int64(st, 8),
        .destination = sqlite3_column_type(st, 9) == SQLITE_NULL ? NULL : text[0].p,
        .reason = text[1].p,
        .source = text[2].p,
        .message_id = text[3].p,
        .type = text[4].p,
        .event_name = text[5].p,
        .message = text[6].p,
        .header = text[7],
        .body = text[8],
        .request = text[9],
        .response = text[10],
    };
    return SQLITE_OK;
}
