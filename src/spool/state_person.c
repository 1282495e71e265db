/* What a person does to rows from the command line: dead letters back into the retry set, a user forgotten.
 *
 * Rows are found first and then changed some at a time, each group in a transaction of its own: a million
 * rows must not keep the relay's own writes waiting. Ending in the middle leaves whole rows on one side or
 * the other. */
#include "spool/state_db.h"

#include "base/event.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- replay --- */

/* A retry row may be there already, where a crash repeated the event: then it is that one that is due. */
static const char into_retries[] =
    "INSERT INTO retry(partition, seq, due, first_failure, budget_used, attempts, received_at, bytes,"
    " destination, source, message_id, reason, header, body, responses)"
    " SELECT partition, seq, ?2, 0, 0, 0, received_at,"
    " length(header) + length(body) + length(CAST(source AS BLOB)) + length(CAST(message_id AS BLOB)) +"
    " length('replayed') + 256, destination, source, message_id, 'replayed', header, body, x''"
    " FROM dead WHERE id = ?1"
    " ON CONFLICT(destination, partition, seq) WHERE seq > 0 DO UPDATE SET due = excluded.due,"
    " first_failure = 0, budget_used = 0, attempts = 0, reason = excluded.reason";

struct replay {
    struct tg_state *s;
    sqlite3_stmt *look, *insert, *remove;
    const char *const *destinations;
    size_t n;
};

static bool is_known(const struct replay *r, const char *destination)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->destinations[i], destination) == 0)
            return true;
    return false;
}

static int run_with_id(struct replay *r, sqlite3_stmt *st, int64_t id)
{
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(r->s->db);
    sqlite3_reset(st);
    return rc;
}

/* The filter is asked again: a row that was replaced meanwhile and no longer matches stays. */
static int replay_one(struct replay *r, int64_t id, struct tg_replayed *out)
{
    sqlite3_bind_int64(r->look, sqlite3_bind_parameter_index(r->look, ":one"), id);
    int rc = sqlite3_step(r->look);
    const char *destination = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(r->look, 0) : NULL;
    bool there = rc == SQLITE_ROW, aside = there && !destination,
         known = destination && is_known(r, destination);
    sqlite3_reset(r->look);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    out->set_aside += aside;
    out->unknown += there && !aside && !known;
    if (!known)
        return SQLITE_OK;
    out->replayed++;
    rc = run_with_id(r, r->insert, id);
    return rc == SQLITE_OK ? run_with_id(r, r->remove, id) : rc;
}

static int replay_some(struct replay *r, const int64_t *ids, size_t n, struct tg_replayed *total)
{
    struct tg_replayed part = {0};
    int rc = tg_state_begin(r->s);
    if (rc != SQLITE_OK)
        return rc;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
        rc = replay_one(r, ids[i], &part);
    rc = tg_state_end(r->s, rc);
    if (rc == SQLITE_OK) {
        total->replayed += part.replayed;
        total->set_aside += part.set_aside;
        total->unknown += part.unknown;
    }
    return rc;
}

static int prepare_replay(struct replay *r, const struct tg_dead_filter *f, int64_t now)
{
    struct tg_conditions where = tg_state_conditions(f, true);
    char text[sizeof where.text + 64];
    snprintf(text, sizeof text, "SELECT destination FROM dead%s", where.text);
    sqlite3 *db = r->s->db;
    int rc = sqlite3_prepare_v2(db, text, -1, &r->look, NULL);
    if (rc == SQLITE_OK)
        rc = tg_state_bind_filter(r->look, f);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, into_retries, -1, &r->insert, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(r->insert, 2, now);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "DELETE FROM dead WHERE id = ?1", -1, &r->remove, NULL);
    return rc;
}

int tg_state_dead_replay(struct tg_state *s, const struct tg_dead_filter *f, const char *const *destinations,
                         size_t n, int64_t now, struct tg_replayed *out, struct tg_err *err)
{
    struct replay r = {.s = s, .destinations = destinations, .n = n};
    struct tg_ids ids = {0};
    *out = (struct tg_replayed){0};
    int code = tg_state_dead_ids(s, f, &ids, err);
    if (!code) {
        tg_state_lock(s);
        int rc = prepare_replay(&r, f, now);
        for (size_t i = 0; i < ids.n && rc == SQLITE_OK; i += TG_STATE_AT_ONCE)
            rc =
                replay_some(&r, ids.id + i, ids.n - i < TG_STATE_AT_ONCE ? ids.n - i : TG_STATE_AT_ONCE, out);
        if (rc != SQLITE_OK)
            code = tg_state_fail(s, rc, "replaying dead letters", err);
        sqlite3_finalize(r.look);
        sqlite3_finalize(r.insert);
        sqlite3_finalize(r.remove);
        tg_state_unlock(s);
    }
    tg_free(ids.id);
    return code;
}

/* --- forgetting users --- */

/* Sorted by id, each once, with its latest time. */
struct users {
    struct tg_forgotten_user *v;
    size_t n;
};

static int by_user(const void *a, const void *b)
{
    const struct tg_forgotten_user *x = a, *y = b;
    size_t least = x->id.n < y->id.n ? x->id.n : y->id.n;
    int c = least ? memcmp(x->id.p, y->id.p, least) : 0;
    return c ? c : (x->id.n > y->id.n) - (x->id.n < y->id.n);
}

static int sort_users(struct users *u, const struct tg_forgotten_user *users, size_t n)
{
    u->v = tg_memdup(users, n * sizeof *users);
    if (!u->v)
        return TG_NOMEM;
    qsort(u->v, n, sizeof *u->v, by_user);
    for (size_t i = 0; i < n; i++) {
        struct tg_forgotten_user *last = u->n ? &u->v[u->n - 1] : NULL;
        if (!last || by_user(last, &u->v[i]))
            u->v[u->n++] = u->v[i];
        else if (u->v[i].until > last->until)
            last->until = u->v[i].until;
    }
    return TG_OK;
}

static bool is_among(const struct users *u, struct tg_str id, int64_t received_at)
{
    const struct tg_forgotten_user wanted = {.id = id}, *found;
    found = id.n ? bsearch(&wanted, u->v, u->n, sizeof *u->v, by_user) : NULL;
    return found && received_at <= found->until;
}

/* Whether an event as it is stored is one of those users' and no request for deletion: 1, 0, or TG_NOMEM. */
static int is_header_of(struct tg_str header, int64_t received_at, const struct users *users)
{
    struct tg_event ev;
    return tg_event_decode(header, TG_STR(""), &ev, NULL) == TG_OK && ev.type != TG_DELETE &&
           is_among(users, ev.user_id, received_at);
}

static int is_text_of(struct tg_str string, int64_t received_at, const struct users *users)
{
    struct tg_buf decoded = TG_BUF_INIT(string.n + 16);
    int rc = tg_json_text(string, &decoded);
    int found = rc ? rc : is_among(users, tg_buf_str(&decoded), received_at);
    tg_buf_fini(&decoded);
    return found;
}

/* The same of bytes that ingest set aside; numbers count as their digits. */
static int is_body_of(struct tg_str body, int64_t received_at, const struct users *users)
{
    struct tg_str value;
    if (tg_json_validate(body, TG_JSON_MAX_DEPTH, &value, NULL))
        return 0;
    value = tg_json_get(value, "userId");
    if (value.n && tg_json_type(value) == TG_JSON_STRING)
        return is_text_of(value, received_at, users);
    return is_among(users, value, received_at);
}

/* Ids of the rows that `text` selects (id, bytes, received_at) and `is_of` confirms. */
static int find_rows(struct tg_state *s, const char *text, const struct users *users,
                     int (*is_of)(struct tg_str bytes, int64_t received_at, const struct users *users),
                     struct tg_ids *ids, struct tg_err *err)
{
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, text, &st, err);
    if (code)
        return code;
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        int found = is_of(tg_state_column(st, 1), sqlite3_column_int64(st, 2), users);
        if (found > 0)
            found = tg_state_add_id(ids, sqlite3_column_int64(st, 0));
        rc = found < 0 ? SQLITE_NOMEM : SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        code = tg_state_fail(s, rc, "looking for users' rows", err);
    sqlite3_finalize(st);
    tg_state_unlock(s);
    return code;
}

static int delete_some(struct tg_state *s, sqlite3_stmt *st, const int64_t *ids, size_t n, int64_t *deleted)
{
    int64_t gone = 0;
    int rc = tg_state_begin(s);
    if (rc != SQLITE_OK)
        return rc;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        sqlite3_bind_int64(st, 1, ids[i]);
        rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(s->db);
        sqlite3_reset(st);
        gone += rc == SQLITE_OK ? sqlite3_changes(s->db) : 0;
    }
    rc = tg_state_end(s, rc);
    if (rc == SQLITE_OK)
        *deleted += gone;
    return rc;
}

static int delete_ids(struct tg_state *s, const char *text, const struct tg_ids *ids, int64_t *deleted,
                      struct tg_err *err)
{
    sqlite3_stmt *st;
    int code = tg_state_prepare(s, text, &st, err);
    if (code)
        return code;
    int rc = SQLITE_OK;
    for (size_t i = 0; i < ids->n && rc == SQLITE_OK; i += TG_STATE_AT_ONCE) {
        rc = delete_some(s, st, ids->id + i, ids->n - i < TG_STATE_AT_ONCE ? ids->n - i : TG_STATE_AT_ONCE,
                         deleted);
        if (rc == SQLITE_OK)
            tg_state_shrink(s);
    }
    if (rc != SQLITE_OK)
        code = tg_state_fail(s, rc, "deleting users' rows", err);
    sqlite3_finalize(st);
    tg_state_unlock(s);
    return code;
}

int tg_state_forget_users(struct tg_state *s, const struct tg_forgotten_user *users, size_t n,
                          struct tg_forgotten_rows *out, struct tg_err *err)
{
    *out = (struct tg_forgotten_rows){0};
    const struct {
        const char *find, *remove;
        int (*is_of)(struct tg_str, int64_t, const struct users *);
        int64_t *count;
    } sets[] = {
        {"SELECT id, header, received_at FROM retry", "DELETE FROM retry WHERE id = ?1", is_header_of,
         &out->retries},
        {"SELECT id, header, received_at FROM dead WHERE destination IS NOT NULL",
         "DELETE FROM dead WHERE id = ?1", is_header_of, &out->dead},
        {"SELECT id, body, received_at FROM dead WHERE destination IS NULL", "DELETE FROM dead WHERE id = ?1",
         is_body_of, &out->set_aside},
    };
    struct users sorted = {0};
    if (!n)
        return TG_OK;
    if (sort_users(&sorted, users, n))
        return tg_fail(err, TG_NOMEM, "forgetting users: out of memory");
    int code = TG_OK;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0] && !code; i++) {
        struct tg_ids ids = {0};
        code = find_rows(s, sets[i].find, &sorted, sets[i].is_of, &ids, err);
        if (!code)
            code = delete_ids(s, sets[i].remove, &ids, sets[i].count, err);
        tg_free(ids.id);
    }
    tg_free(sorted.v);
    return code;
}

int tg_state_put_facts_now(struct tg_state *s, const char *kind, const char *const *names, size_t n,
                           struct tg_str value, struct tg_err *err)
{
    int rc = SQLITE_OK;
    tg_state_lock(s);
    for (size_t at = 0; at < n && rc == SQLITE_OK; at += TG_STATE_AT_ONCE) {
        rc = tg_state_begin(s);
        if (rc != SQLITE_OK)
            break;
        for (size_t i = at; i < n && i < at + TG_STATE_AT_ONCE && rc == SQLITE_OK; i++)
            rc = tg_state_write_fact(s, kind, names[i], value);
        rc = tg_state_end(s, rc);
    }
    int code = rc == SQLITE_OK ? TG_OK : tg_state_fail(s, rc, "writing facts", err);
    tg_state_unlock(s);
    return code;
}
