#include "../tg_test.h"

#include "base/clock.h"
#include "base/event.h"
#include "base/helper.h"
#include "spool/state.h"
#include "spool/state_db.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One spool folder, a loop with its helper, and the state opened for it. */
struct fixture {
    char dir[64];
    char file[96];
    struct event_base *base;
    struct tg_helper *helper;
    struct tg_state *s;
};

/* Who holds the file in these tests lets it go; how late, is the machine's affair. */
enum { PATIENCE_MS = 300000 };

/* The helper's thread begins here and not before: a test that forks does so while it is the only thread. */
static void open_state(struct fixture *f)
{
    struct tg_err err = {0};
    if (!f->helper) {
        f->base = event_base_new();
        assert_ok(tg_helper_new(f->base, &f->helper, NULL));
    }
    int code = tg_state_open(f->dir, f->helper, &f->s, &err);
    if (code)
        print_error("%s\n", err.msg);
    assert_ok(code);
    tg_state_set_patience(f->s, PATIENCE_MS);
}

static void reopen(struct fixture *f)
{
    tg_helper_drain(f->helper);
    tg_state_close(&f->s);
    open_state(f);
}

static void close_all(struct fixture *f)
{
    if (!f->helper)
        return;
    tg_helper_drain(f->helper);
    tg_state_close(&f->s);
    tg_helper_free(&f->helper);
    event_base_free(f->base);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg_state_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->file, sizeof f->file, "%s/state.db", f->dir);
    *state = f;
    return 0;
}

static int set_up_open(void **state)
{
    set_up(state);
    open_state(*state);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tg_mem_fail_after(0);
    close_all(f);
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->file, parts[i]);
        unlink(path);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

/* --- a second connection, as the sqlite3 tool would have it ------------------------------------------------
 */

static sqlite3 *connect_to(struct fixture *f)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(f->file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                     SQLITE_OK);
    return db;
}

static void sql_on(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

static int64_t ask(sqlite3 *db, const char *text)
{
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return value;
}

static int64_t ask_file(struct fixture *f, const char *text)
{
    sqlite3 *db = connect_to(f);
    int64_t value = ask(db, text);
    sqlite3_close(db);
    return value;
}

/* The sums that the triggers keep are those of the rows, and none is kept of no rows. */
static void check_usage(struct fixture *f)
{
    assert_int_equal(
        0,
        ask_file(f,
                 "SELECT count(*) FROM (SELECT kind, name, detail, rows, bytes FROM usage"
                 " EXCEPT SELECT 'retry', destination, partition, count(*), sum(bytes) FROM retry"
                 " GROUP BY 1, 2, 3 EXCEPT SELECT iif(destination IS NULL, 'aside', 'dead'),"
                 " coalesce(destination, source), reason, count(*), sum(bytes) FROM dead GROUP BY 1, 2, 3)"));
    assert_int_equal(ask_file(f, "SELECT sum(rows) FROM usage"),
                     ask_file(f, "SELECT (SELECT count(*) FROM retry) + (SELECT count(*) FROM dead)"));
    assert_int_equal(
        ask_file(f, "SELECT sum(bytes) FROM usage"),
        ask_file(f, "SELECT (SELECT total(bytes) FROM retry) + (SELECT total(bytes) FROM dead)"));
}

/* --- rows and answers --------------------------------------------------------------------------------------
 */

static struct tg_retry retry_row(const char *destination, uint32_t partition, uint64_t seq, int64_t due)
{
    return (struct tg_retry){.destination = destination,
                             .partition = partition,
                             .seq = seq,
                             .due = due,
                             .first_failure = 900,
                             .budget_used = 50,
                             .attempts = 1,
                             .received_at = 800,
                             .source = "web",
                             .message_id = "m-1",
                             .reason = "http_503",
                             .header = TG_STR("head\0er"),
                             .body = TG_STR("{\"a\":1}"),
                             .responses = TG_STR("[{\"status\":200}]")};
}

static struct tg_dead dead_row(const char *destination, const char *reason, int64_t last)
{
    return (struct tg_dead){.destination = destination,
                            .source = "web",
                            .message_id = "m-1",
                            .type = "track",
                            .event_name = "Order Completed",
                            .reason = reason,
                            .message = "init.lua:12: no",
                            .status = 400,
                            .attempts = 3,
                            .received_at = 500,
                            .first = 600,
                            .last = last,
                            .body = TG_STR("{\"b\":2}"),
                            .request = TG_STR("POST / HTTP/1.1"),
                            .response = TG_STR("HTTP/1.1 400"),
                            .generation = 7};
}

/* What callbacks said: how many of each kind, and the latest words. */
struct heard {
    int ok, bad, code;
    char why[512];
};

static void hear(void *arg, int status, const char *why)
{
    struct heard *h = arg;
    if (status) {
        h->bad++;
        h->code = status;
        snprintf(h->why, sizeof h->why, "%s", why);
    } else {
        h->ok++;
        assert_string_equal(why, "");
    }
}

struct due_heard {
    int calls, status;
    size_t n;
    uint64_t seq[64];
    int64_t id[64];
    int64_t next_due, total;
    struct tg_retry *first; /* compared with the first row when set */
};

static void compare_retry(const struct tg_retry *a, const struct tg_retry *b)
{
    assert_string_equal(a->destination, b->destination);
    assert_int_equal(a->partition, b->partition);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->due, b->due);
    assert_int_equal(a->first_failure, b->first_failure);
    assert_int_equal(a->budget_used, b->budget_used);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->received_at, b->received_at);
    assert_string_equal(a->source, b->source);
    assert_string_equal(a->message_id, b->message_id);
    assert_string_equal(a->reason, b->reason);
    assert_true(tg_str_eq(a->header, b->header));
    assert_true(tg_str_eq(a->body, b->body));
    assert_true(tg_str_eq(a->responses, b->responses));
}

static void hear_due(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                     int64_t total)
{
    struct due_heard *h = arg;
    h->calls++;
    h->status = status;
    h->n = n;
    h->next_due = next_due;
    h->total = total;
    for (size_t i = 0; i < n && i < 64; i++) {
        h->seq[i] = rows[i].seq;
        h->id[i] = rows[i].id;
    }
    if (n && h->first)
        compare_retry(&rows[0], h->first);
}

static struct due_heard due_now(struct fixture *f, const char *destination, int64_t now, size_t limit)
{
    struct due_heard h = {0};
    assert_ok(tg_state_due_retries(f->s, destination, 0, 1, now, limit, NULL, 0, hear_due, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.calls, 1);
    assert_ok(h.status);
    return h;
}

static void put_retries(struct fixture *f, const char *destination, int n)
{
    struct heard h = {0};
    for (int i = 1; i <= n; i++) {
        struct tg_retry r = retry_row(destination, 0, (uint64_t)i, 1000 + i);
        assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    }
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, n);
}

static void put_dead_now(struct fixture *f, const struct tg_dead *d)
{
    struct heard h = {0};
    assert_ok(tg_state_put_dead(f->s, d, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
}

static int count_row(void *arg, const struct tg_dead *d)
{
    (void)d;
    ++*(int *)arg;
    return 0;
}

static int dead_count(struct fixture *f, struct tg_dead_filter filter)
{
    int n = 0;
    assert_ok(tg_state_dead_each(f->s, &filter, count_row, &n, NULL));
    return n;
}

/* --- the file ----------------------------------------------------------------------------------------------
 */

/* A new file is private, marked as tidegate's, in WAL mode. */
static void test_new_file(void **state)
{
    struct fixture *f = *state;
    static const char *const parts[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", f->file, parts[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(ask_file(f, "PRAGMA user_version"), 1);
    assert_int_equal(ask_file(f, "PRAGMA application_id"), 0x54676174);
    assert_int_equal(ask_file(f, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(ask(f->s->db, "PRAGMA synchronous"), 2);
    assert_int_equal(ask(f->s->db, "PRAGMA auto_vacuum"), 2);
}

/* After a close, one file is left, and opening it again loses nothing. */
static void test_close_leaves_one_file(void **state)
{
    struct fixture *f = *state;
    char wal[128];
    snprintf(wal, sizeof wal, "%s-wal", f->file);
    put_retries(f, "a", 3);
    tg_state_close(&f->s);
    assert_int_equal(access(wal, F_OK), -1);
    open_state(f);
    assert_int_equal(due_now(f, "a", 5000, 10).n, 3);
}

static int open_code(struct fixture *f, struct tg_err *err)
{
    struct tg_state *s = NULL;
    int code = tg_state_open(f->dir, NULL, &s, err);
    if (!code)
        tg_state_close(&s);
    return code;
}

static void write_file(struct fixture *f, long at, const char *bytes, size_t n)
{
    int fd = open(f->file, O_RDWR | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

/* A file whose first bytes are rubbish is refused with its name and the way out, and is not touched. */
static void test_corrupt_header(void **state)
{
    struct fixture *f = *state;
    struct tg_err err = {0};
    char rubbish[8192];
    memset(rubbish, 'x', sizeof rubbish);
    write_file(f, 0, rubbish, sizeof rubbish);
    assert_int_equal(open_code(f, &err), TG_CORRUPT);
    assert_non_null(strstr(err.msg, f->file));
    assert_non_null(strstr(err.msg, "move this file"));
    assert_non_null(strstr(err.msg, "dead letters"));
    char back[8192];
    int fd = open(f->file, O_RDONLY);
    assert_int_equal(read(fd, back, sizeof back), sizeof back);
    close(fd);
    assert_memory_equal(back, rubbish, sizeof back);
}

/* Pages destroyed behind a good header: operations say TG_CORRUPT and name the file; nothing crashes. */
static void test_corrupt_pages(void **state)
{
    struct fixture *f = *state;
    put_retries(f, "a", 200);
    tg_state_close(&f->s);
    char rubbish[4096];
    memset(rubbish, 0xa5, sizeof rubbish);
    struct stat st;
    assert_int_equal(stat(f->file, &st), 0);
    for (long at = 8192; at < st.st_size; at += 4096)
        write_file(f, at, rubbish, sizeof rubbish);
    struct tg_err err = {0};
    if (tg_state_open(f->dir, f->helper, &f->s, &err)) {
        assert_int_equal(err.code, TG_CORRUPT);
        return;
    }
    struct heard h = {0};
    struct due_heard due = {0};
    struct tg_retry r = retry_row("a", 0, 5000, 1);
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 9999, 10, NULL, 0, hear_due, &due));
    tg_helper_drain(f->helper);
    assert_int_equal(h.code, TG_CORRUPT);
    assert_non_null(strstr(h.why, f->file));
    assert_int_equal(due.status, TG_CORRUPT);
    assert_int_equal(due.n, 0);
}

/* A file that a newer program wrote is refused, and so is somebody else's database. */
static void test_other_versions(void **state)
{
    struct fixture *f = *state;
    struct tg_err err = {0};
    tg_state_close(&f->s);
    sqlite3 *db = connect_to(f);
    sql_on(db, "PRAGMA user_version = 2");
    assert_int_equal(open_code(f, &err), TG_BADVERSION);
    assert_non_null(strstr(err.msg, "newer"));
    sql_on(db, "PRAGMA user_version = 1; PRAGMA application_id = 5");
    assert_int_equal(open_code(f, &err), TG_INVALID);
    sql_on(db, "PRAGMA application_id = 0");
    assert_int_equal(open_code(f, &err), TG_INVALID);
    assert_non_null(strstr(err.msg, "not tidegate's"));
    sqlite3_close(db);
}

/* A folder that is not there is an error with its name. */
static void test_no_folder(void **state)
{
    (void)state;
    struct tg_state *s = NULL;
    struct tg_err err = {0};
    assert_int_equal(tg_state_open("/nonexistent/spool", NULL, &s, &err), TG_NOTFOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/spool/state.db"));
    assert_null(s);
}

/* --- the retry set -----------------------------------------------------------------------------------------
 */

/* What was put comes back after a reopening, byte for byte. */
static void test_retry_survives(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    struct tg_retry r = retry_row("impact_uk", 3, 77, 1000);
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
    reopen(f);
    struct due_heard due = {.first = &r};
    assert_ok(tg_state_due_retries(f->s, "impact_uk", 0, 1, 1000, 5, NULL, 0, hear_due, &due));
    tg_helper_drain(f->helper);
    assert_int_equal(due.n, 1);
    assert_true(due.next_due == TG_NO_TIME);
    assert_int_equal(due.total, 1);
}

/* The operation owns copies: the caller's memory may go at once. */
static void test_copies(void **state)
{
    struct fixture *f = *state;
    char name[] = "a", body[] = "{}";
    struct tg_retry r = retry_row(name, 0, 1, 10);
    r.body = tg_str_n(body, 2);
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    memset(name, 'z', 1);
    memset(body, 'z', 2);
    struct tg_retry same = retry_row("a", 0, 1, 10);
    same.body = TG_STR("{}");
    struct due_heard due = {.first = &same};
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 10, 5, NULL, 0, hear_due, &due));
    tg_helper_drain(f->helper);
    assert_int_equal(due.n, 1);
}

/* The same place again replaces the row and keeps its id; without a place each put is a row. */
static void test_same_place_replaces(void **state)
{
    struct fixture *f = *state;
    struct tg_retry r = retry_row("a", 1, 5, 10);
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    struct due_heard before = due_now(f, "a", 100, 10);
    r.due = 20;
    r.attempts = 2;
    r.body = TG_STR("{\"longer\":true}");
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    struct due_heard after = {.first = &r};
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 100, 10, NULL, 0, hear_due, &after));
    tg_helper_drain(f->helper);
    assert_int_equal(after.n, 1);
    assert_int_equal(after.id[0], before.id[0]);
    r.seq = 0;
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    assert_int_equal(due_now(f, "a", 100, 10).n, 3);
    check_usage(f);
}

struct in_order {
    struct heard written;
    int asked;
};

static void hear_in_order(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                          int64_t total)
{
    struct in_order *o = arg;
    (void)rows, (void)n, (void)next_due;
    assert_ok(status);
    assert_int_equal(total, o->written.ok);
    o->asked++;
}

/* A question that is in one transaction with writes is told after them what it has counted of them: who adds
 * up both counts nothing twice. */
static void test_due_among_writes(void **state)
{
    struct fixture *f = *state;
    struct in_order o = {.asked = 0};
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 5; i++) {
            struct tg_retry r = retry_row("a", 0, (uint64_t)(10 * round + i), 1000);
            assert_ok(tg_state_put_retry(f->s, &r, hear, &o.written));
            assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 0, 0, NULL, 0, hear_in_order, &o));
        }
        tg_helper_drain(f->helper);
    }
    assert_int_equal(o.written.ok, 100);
    assert_int_equal(o.asked, 100);
}

/* Rows come by due time, no more than the limit, and next_due is that of the first row left out. */
static void test_due_order(void **state)
{
    struct fixture *f = *state;
    static const int64_t due[] = {50, 10, 30, 40, 20};
    for (int i = 0; i < 5; i++) {
        struct tg_retry r = retry_row("a", 0, (uint64_t)due[i], due[i]);
        assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    }
    struct due_heard h = due_now(f, "a", 30, 10);
    assert_int_equal(h.n, 3);
    assert_int_equal(h.seq[0], 10);
    assert_int_equal(h.seq[2], 30);
    assert_int_equal(h.next_due, 40);
    assert_int_equal(h.total, 5);
    h = due_now(f, "a", 30, 2);
    assert_int_equal(h.n, 2);
    assert_int_equal(h.next_due, 30);
    h = due_now(f, "a", 30, 0);
    assert_int_equal(h.n, 0);
    assert_int_equal(h.next_due, 10);
    h = due_now(f, "b", 30, 10);
    assert_int_equal(h.n + (size_t)h.total, 0);
    assert_true(h.next_due == TG_NO_TIME);
}

/* Rows that the caller has in hand are left out, of the answer and of next_due. */
static void test_due_busy(void **state)
{
    struct fixture *f = *state;
    put_retries(f, "a", 4); /* due 1001 to 1004 */
    struct due_heard all = due_now(f, "a", 9999, 10);
    int64_t busy[] = {all.id[3], all.id[0]};
    struct due_heard h = {0};
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 1002, 10, busy, 2, hear_due, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.seq[0], 2);
    assert_int_equal(h.next_due, 1003);
    assert_int_equal(h.total, 4);
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 1003, 10, busy, 2, hear_due, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.n, 2);
    assert_true(h.next_due == TG_NO_TIME);
}

/* A worker sees the rows of its own partitions only. */
static void test_due_worker(void **state)
{
    struct fixture *f = *state;
    for (uint32_t p = 0; p < 6; p++) {
        struct tg_retry r = retry_row("a", p, 1 + p, 10);
        assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    }
    size_t seen = 0;
    for (uint32_t w = 0; w < 4; w++) {
        struct due_heard h = {0};
        assert_ok(tg_state_due_retries(f->s, "a", w, 4, 10, 10, NULL, 0, hear_due, &h));
        tg_helper_drain(f->helper);
        assert_int_equal(h.n, w < 2 ? 2 : 1);
        assert_int_equal(h.total, h.n);
        for (size_t i = 0; i < h.n; i++)
            assert_int_equal((h.seq[i] - 1) % 4, w);
        seen += h.n;
    }
    assert_int_equal(seen, 6);
}

/* One answer holds 4 MiB at most; next_due then says that more is due. */
static void test_due_bytes(void **state)
{
    struct fixture *f = *state;
    size_t n = 1024 * 1024;
    char *body = calloc(1, n);
    for (int i = 1; i <= 6; i++) {
        struct tg_retry r = retry_row("a", 0, (uint64_t)i, i);
        r.body = tg_str_n(body, n);
        assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    }
    free(body);
    tg_helper_drain(f->helper);
    struct due_heard h = due_now(f, "a", 100, 10);
    assert_int_equal(h.n, 4);
    assert_int_equal(h.next_due, 5);
}

/* An update changes what a retry changes and leaves the event alone; one of a row that is gone says so. */
static void test_update(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    struct tg_retry r = retry_row("a", 0, 9, 10);
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    int64_t id = due_now(f, "a", 10, 1).id[0];
    struct tg_retry change = {.id = id,
                              .due = 99,
                              .first_failure = 901,
                              .budget_used = 60,
                              .attempts = 2,
                              .reason = "timeout",
                              .responses = TG_STR("[1,2,3,4,5,6,7,8,9,10,11,12]")};
    assert_ok(tg_state_update_retry(f->s, &change, hear, &h));
    change.id = id + 1000;
    assert_ok(tg_state_update_retry(f->s, &change, hear, &h));
    r.due = 99;
    r.first_failure = 901;
    r.budget_used = 60;
    r.attempts = 2;
    r.reason = "timeout";
    r.responses = change.responses;
    struct due_heard due = {.first = &r};
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 99, 5, NULL, 0, hear_due, &due));
    tg_helper_drain(f->helper);
    assert_int_equal(due.n, 1);
    assert_int_equal(h.ok, 1);
    assert_int_equal(h.code, TG_NOTFOUND);
    assert_non_null(strstr(h.why, "no such row"));
    check_usage(f);
}

/* A deleted row is gone, deleting it again is fine, and its id is not given to another. */
static void test_delete(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    put_retries(f, "a", 1);
    int64_t id = due_now(f, "a", 9999, 1).id[0];
    assert_ok(tg_state_delete_retry(f->s, id, hear, &h));
    assert_ok(tg_state_delete_retry(f->s, id, hear, &h));
    assert_int_equal(due_now(f, "a", 9999, 1).n, 0);
    assert_int_equal(h.ok, 2);
    put_retries(f, "a", 1);
    assert_true(due_now(f, "a", 9999, 1).id[0] > id);
    check_usage(f);
}

/* Responses above the ceiling are refused before anything is queued. */
static void test_responses_ceiling(void **state)
{
    struct fixture *f = *state;
    static char big[TG_STATE_RESPONSES_MAX + 1];
    struct tg_retry r = retry_row("a", 0, 1, 1);
    r.responses = tg_str_n(big, sizeof big);
    assert_int_equal(tg_state_put_retry(f->s, &r, NULL, NULL), TG_TOOBIG);
    r.responses.n--;
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    tg_helper_drain(f->helper);
}

/* --- transactions ------------------------------------------------------------------------------------------
 */

static int count_commit(void *arg)
{
    ++*(int *)arg;
    return 0;
}

/* What is queued in one turn is committed together. */
static void test_grouped(void **state)
{
    struct fixture *f = *state;
    int commits = 0;
    sqlite3_commit_hook(f->s->db, count_commit, &commits);
    put_retries(f, "a", 300);
    sqlite3_commit_hook(f->s->db, NULL, NULL);
    assert_in_range(commits, 1, 60); /* the helper may begin before the queueing has ended */
    assert_int_equal(due_now(f, "a", 9999, 0).total, 300);
}

/* An operation that breaks a rule fails alone; its neighbours are durable. */
static void test_own_failure(void **state)
{
    struct fixture *f = *state;
    struct heard good = {0}, bad = {0};
    struct tg_retry r = retry_row("a", 0, 1, 1), nobody = retry_row("", 0, 2, 1);
    struct tg_dead reasonless = dead_row("a", "", 1);
    assert_ok(tg_state_put_retry(f->s, &r, hear, &good));
    assert_ok(tg_state_put_retry(f->s, &nobody, hear, &bad));
    assert_ok(tg_state_put_dead(f->s, &reasonless, hear, &bad));
    r.seq = 3;
    assert_ok(tg_state_put_retry(f->s, &r, hear, &good));
    tg_helper_drain(f->helper);
    assert_int_equal(good.ok, 2);
    assert_int_equal(bad.bad, 2);
    assert_int_equal(bad.code, TG_INVALID);
    assert_non_null(strstr(bad.why, "CHECK"));
    reopen(f);
    assert_int_equal(due_now(f, "a", 10, 10).n, 2);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 0);
}

/* The dead letter comes and the retry row goes in one step. */
static void test_retry_to_dead(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    put_retries(f, "a", 2);
    struct due_heard due = due_now(f, "a", 9999, 2);
    struct tg_dead d = dead_row("a", "gave_up", 5), broken = dead_row("a", "", 5);
    assert_ok(tg_state_retry_to_dead(f->s, due.id[0], &d, hear, &h));
    assert_ok(tg_state_retry_to_dead(f->s, due.id[1], &broken, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
    assert_int_equal(h.code, TG_INVALID);
    reopen(f);
    struct due_heard left = due_now(f, "a", 9999, 2);
    assert_int_equal(left.n, 1);
    assert_int_equal(left.seq[0], 2);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 1);
    check_usage(f);
}

/* A full file fails every operation of the transaction with TG_FULL, reads go on, and with space again all
 * works. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    put_retries(f, "a", 5);
    static char big[100000];
    char text[64];
    snprintf(text, sizeof text, "PRAGMA max_page_count = %d", (int)ask(f->s->db, "PRAGMA page_count") + 2);
    sql_on(f->s->db, text);
    struct tg_retry small = retry_row("a", 0, 100, 1), huge = retry_row("a", 0, 101, 1);
    huge.body = tg_str_n(big, sizeof big);
    sqlite3 *other = connect_to(f);
    sql_on(other, "BEGIN IMMEDIATE"); /* so that all are in one transaction behind the first one */
    struct tg_retry first = retry_row("a", 0, 50, 1);
    assert_ok(tg_state_put_retry(f->s, &first, NULL, NULL));
    assert_ok(tg_state_put_retry(f->s, &small, hear, &h));
    assert_ok(tg_state_put_retry(f->s, &huge, hear, &h));
    struct due_heard due = {0};
    assert_ok(tg_state_due_retries(f->s, "a", 0, 1, 9999, 20, NULL, 0, hear_due, &due));
    sql_on(other, "COMMIT");
    sqlite3_close(other);
    tg_helper_drain(f->helper);
    assert_int_equal(h.code, TG_FULL);
    assert_in_range(h.bad, 1, 2);
    assert_non_null(strstr(h.why, f->file));
    assert_ok(due.status);
    assert_in_range(due.n, 5, 7);
    for (size_t i = 0; i < due.n; i++)
        assert_int_not_equal(due.seq[i], 101);
    sql_on(f->s->db, "PRAGMA max_page_count = 100000");
    h = (struct heard){0};
    assert_ok(tg_state_put_retry(f->s, &huge, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
    check_usage(f);
}

/* Another process that holds the file for longer than the patience: TG_BUSY, and the next try works. */
static void test_locked(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    sqlite3 *other = connect_to(f);
    sql_on(other, "BEGIN IMMEDIATE");
    tg_state_set_patience(f->s, 30);
    struct tg_retry r = retry_row("a", 0, 1, 1);
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.code, TG_BUSY);
    assert_non_null(strstr(h.why, "another process"));
    assert_int_equal(due_now(f, "a", 10, 10).n, 0); /* reading needs no lock */
    int64_t dropped;
    struct tg_err err = {0};
    assert_int_equal(tg_state_put_fact_now(f->s, "k", "n", TG_STR("v"), &err), TG_BUSY);
    assert_ok(tg_state_dead_drop(f->s, &(struct tg_dead_filter){0}, &dropped, &err));
    sql_on(other, "COMMIT");
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
    sqlite3_close(other);
}

/* The queue has a ceiling: beyond it TG_BUSY, and nothing of what was taken is lost. */
static void test_queue_ceiling(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    static char body[256 * 1024];
    int taken = 0, code;
    sqlite3 *other = connect_to(f);
    sql_on(other, "BEGIN IMMEDIATE"); /* the helper waits */
    for (;; taken++) {
        struct tg_retry r = retry_row("a", 0, (uint64_t)taken + 1, 1);
        r.body = tg_str_n(body, sizeof body);
        code = tg_state_put_retry(f->s, &r, hear, &h);
        if (code)
            break;
        assert_true(taken < 100);
    }
    assert_int_equal(code, TG_BUSY);
    assert_in_range(taken, 25, 32);
    sql_on(other, "COMMIT");
    sqlite3_close(other);
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, taken);
    assert_int_equal(due_now(f, "a", 9999, 0).total, taken);
}

struct chain {
    struct fixture *f;
    int left;
};

static void put_next(void *arg, int status, const char *why)
{
    (void)why;
    struct chain *c = arg;
    assert_ok(status);
    if (!c->left--)
        return;
    struct tg_retry r = retry_row("a", 0, (uint64_t)c->left + 1, 1);
    assert_ok(tg_state_put_retry(c->f->s, &r, put_next, c));
}

/* A callback may queue the next operation. */
static void test_queue_from_callback(void **state)
{
    struct chain c = {*state, 20};
    put_next(&c, TG_OK, "");
    tg_helper_drain(c.f->helper);
    assert_int_equal(due_now(c.f, "a", 9999, 0).total, 20);
}

/* --- a file system that fails --- */

/* The methods of the database file and of the WAL differ in how they lock: a changed copy of each. */
static sqlite3_vfs shim, *real_vfs;
static const sqlite3_io_methods *real_methods[2];
static sqlite3_io_methods bad_methods[2];
static int syncs_fail, writes_fail;

static const sqlite3_io_methods *real_of(const sqlite3_file *file)
{
    return real_methods[file->pMethods == &bad_methods[1]];
}

static int shim_sync(sqlite3_file *file, int flags)
{
    return syncs_fail ? SQLITE_IOERR_FSYNC : real_of(file)->xSync(file, flags);
}

static int shim_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    return writes_fail ? writes_fail : real_of(file)->xWrite(file, p, n, at);
}

/* Whatever another connection does, the one that opens sees it only where it takes a lock to read. */
static struct meeting {
    struct fixture *f;
    int at, seen; /* the lock before which the other comes; those so far */
    bool busy;
    int alone; /* locks held in the WAL's index that keep others out */
} meeting;

static void meet(sqlite3_file *file)
{
    int level = SQLITE_LOCK_NONE;
    real_of(file)->xFileControl(file, SQLITE_FCNTL_LOCKSTATE, &level);
    bool nobody_comes_in = level > SQLITE_LOCK_SHARED || meeting.alone;
    if (!meeting.f || meeting.busy || nobody_comes_in || meeting.seen++ != meeting.at)
        return;
    meeting.busy = true;
    struct tg_state *other = NULL;
    struct tg_err err = {0};
    int code = tg_state_open(meeting.f->dir, meeting.f->helper, &other, &err);
    if (code)
        print_error("lock %d: %s\n", meeting.at, err.msg);
    assert_ok(code);
    tg_state_close(&other);
    meeting.busy = false;
}

static int shim_lock(sqlite3_file *file, int level)
{
    if (level == SQLITE_LOCK_SHARED)
        meet(file);
    return real_of(file)->xLock(file, level);
}

static int shim_shm_lock(sqlite3_file *file, int at, int n, int flags)
{
    if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_SHARED))
        meet(file);
    int rc = real_of(file)->xShmLock(file, at, n, flags);
    if (rc == SQLITE_OK && !meeting.busy && flags & SQLITE_SHM_EXCLUSIVE)
        meeting.alone += flags & SQLITE_SHM_LOCK ? 1 : -1;
    return rc;
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, out);
    if (rc == SQLITE_OK) {
        int which = !(flags & SQLITE_OPEN_MAIN_DB);
        real_methods[which] = file->pMethods;
        bad_methods[which] = *file->pMethods;
        bad_methods[which].xSync = shim_sync;
        bad_methods[which].xWrite = shim_write;
        bad_methods[which].xLock = shim_lock;
        bad_methods[which].xShmLock = shim_shm_lock;
        file->pMethods = &bad_methods[which];
    }
    return rc;
}

static void use_shim(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    shim = *real_vfs;
    shim.zName = "shim";
    shim.xOpen = shim_open;
    sqlite3_vfs_register(&shim, 1);
}

static void drop_shim(void)
{
    syncs_fail = writes_fail = 0;
    sqlite3_vfs_unregister(&shim);
    sqlite3_vfs_register(real_vfs, 1);
}

/* A sync that fails is TG_IO and the row is not said to be there; a write without space is TG_FULL. Later
 * ones work. */
static void test_disk_faults(void **state)
{
    struct fixture *f = *state;
    use_shim();
    open_state(f);
    put_retries(f, "a", 2);
    struct heard h = {0};
    struct tg_retry r = retry_row("a", 0, 10, 1);
    syncs_fail = 1;
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.code, TG_IO);
    syncs_fail = 0;
    writes_fail = SQLITE_FULL;
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.code, TG_FULL);
    writes_fail = 0;
    assert_int_equal(due_now(f, "a", 9999, 0).total, 2);
    r.seq = 11;
    assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 1);
    tg_state_close(&f->s);
    drop_shim();
    open_state(f);
    assert_int_equal(due_now(f, "a", 9999, 0).total, 3);
    assert_int_equal(ask_file(f, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
}

/* Two workers of a new relay make the file at once: at each lock that one takes to read, the other makes it
 * whole. */
static void test_meeting(void **state)
{
    struct fixture *f = *state;
    open_state(f); /* for its helper */
    use_shim();
    int at = 0;
    do {
        tg_state_close(&f->s);
        assert_int_equal(unlink(f->file), 0);
        meeting = (struct meeting){.f = f, .at = at};
        open_state(f);
        meeting.f = NULL;
        assert_int_equal(ask_file(f, "PRAGMA user_version"), TG_STATE_SCHEMA);
    } while (meeting.seen > at++);
    assert_true(at > 5);
    drop_shim();
}

/* --- several processes -------------------------------------------------------------------------------------
 */

/* A process of its own with loop, helper and connection. Never returns. */
static void child(const char *dir, void (*work)(struct fixture *f, void *arg), void *arg)
{
    struct fixture f = {0};
    snprintf(f.dir, sizeof f.dir, "%s", dir);
    f.base = event_base_new();
    if (!f.base || tg_helper_new(f.base, &f.helper, NULL) || tg_state_open(f.dir, f.helper, &f.s, NULL))
        _exit(1);
    tg_state_set_patience(f.s, PATIENCE_MS);
    work(&f, arg);
    tg_helper_drain(f.helper);
    tg_state_close(&f.s);
    tg_helper_free(&f.helper);
    event_base_free(f.base);
    _exit(0);
}

enum { PROCESSES = 4, ROWS = 150 };

static void write_rows(struct fixture *f, void *arg)
{
    struct heard h = {0};
    uint32_t partition = *(uint32_t *)arg;
    for (uint64_t i = 1; i <= ROWS; i++) {
        struct tg_retry r = retry_row("a", partition, i, (int64_t)i);
        struct tg_dead d = dead_row("b", "gave_up", (int64_t)i);
        if (tg_state_put_retry(f->s, &r, hear, &h) || tg_state_put_dead(f->s, &d, hear, &h))
            _exit(2);
        if (i % 10 == 0)
            tg_helper_drain(f->helper);
    }
    tg_helper_drain(f->helper);
    if (h.ok != 2 * ROWS)
        _exit(3);
}

/* Several processes make the file and write into it at once: every row is there. */
static void test_processes(void **state)
{
    struct fixture *f = *state;
    pid_t pid[PROCESSES];
    for (uint32_t i = 0; i < PROCESSES; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0)
            child(f->dir, write_rows, &i);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    open_state(f);
    assert_int_equal(due_now(f, "a", 0, 0).total, PROCESSES * ROWS);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.destination = "b"}), PROCESSES * ROWS);
    check_usage(f);
}

struct told {
    int fd;
    uint64_t seq;
};

static void tell(void *arg, int status, const char *why)
{
    (void)why;
    struct told *t = arg;
    if (status || write(t->fd, &t->seq, sizeof t->seq) != sizeof t->seq)
        _exit(4);
}

/* Puts rows for ever, telling the parent of each that is durable. */
static void write_until_killed(struct fixture *f, void *arg)
{
    static struct told told[1 << 16];
    int fd = *(int *)arg;
    for (uint64_t i = 1; i < 1 << 16; i++) {
        struct tg_retry r = retry_row("a", 0, i, (int64_t)i);
        told[i] = (struct told){fd, i};
        if (tg_state_put_retry(f->s, &r, tell, &told[i]))
            _exit(5);
        if (i % 7 == 0)
            tg_helper_drain(f->helper);
    }
}

static uint64_t kill_writer_after(struct fixture *f, int tellings)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(f->dir, write_until_killed, &ends[1]);
    close(ends[1]);
    uint64_t seq = 0, highest = 0;
    for (int i = 0; i < tellings; i++) {
        assert_int_equal(read(ends[0], &seq, sizeof seq), sizeof seq);
        highest = seq;
    }
    kill(pid, SIGKILL);
    while (read(ends[0], &seq, sizeof seq) == sizeof seq) /* told before it died */
        highest = seq;
    close(ends[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return highest;
}

/* A writer killed in the middle of commits: what it was told to be durable is there, and the file is sound.
 */
static void test_killed(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 5; round++) {
        uint64_t told = kill_writer_after(f, 20 + round * 37);
        open_state(f);
        struct tg_err err = {0};
        uint64_t highest;
        assert_ok(tg_state_highest_seq(f->s, 0, &highest, &err));
        assert_true(highest >= told);
        int64_t rows;
        assert_ok(tg_state_partition_rows(f->s, 0, &rows, &err));
        assert_int_equal(rows, highest); /* in order, none missing */
        assert_int_equal(ask_file(f, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
        check_usage(f);
        close_all(f);
    }
}

/* --- dead letters --- */

static int compare_dead(void *arg, const struct tg_dead *d)
{
    const struct tg_dead *want = arg;
    assert_string_equal(d->destination, want->destination);
    assert_string_equal(d->source, want->source);
    assert_string_equal(d->message_id, want->message_id);
    assert_string_equal(d->type, want->type);
    assert_string_equal(d->event_name, want->event_name);
    assert_string_equal(d->reason, want->reason);
    assert_string_equal(d->message, want->message);
    assert_int_equal(d->status, want->status);
    assert_int_equal(d->attempts, want->attempts);
    assert_int_equal(d->received_at, want->received_at);
    assert_int_equal(d->first, want->first);
    assert_int_equal(d->last, want->last);
    assert_int_equal(d->generation, want->generation);
    assert_true(tg_str_eq(d->header, want->header));
    assert_true(tg_str_eq(d->body, want->body));
    assert_true(tg_str_eq(d->request, want->request));
    assert_true(tg_str_eq(d->response, want->response));
    return 42;
}

/* A dead letter comes back whole; what `each` returns ends the walk. */
static void test_dead_survives(void **state)
{
    struct fixture *f = *state;
    struct tg_dead d = dead_row("a", "http_400", 700);
    put_dead_now(f, &d);
    put_dead_now(f, &d);
    reopen(f);
    assert_int_equal(tg_state_dead_each(f->s, &(struct tg_dead_filter){0}, compare_dead, &d, NULL), 42);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 2);
}

/* With a place, the same event again replaces its dead letter. */
static void test_dead_same_place(void **state)
{
    struct fixture *f = *state;
    struct tg_dead d = dead_row("a", "http_400", 700);
    d.partition = 1;
    d.seq = 5;
    put_dead_now(f, &d);
    d.reason = "http_404";
    d.last = 800;
    put_dead_now(f, &d);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.reason = "http_404"}), 1);
    d.destination = "b";
    put_dead_now(f, &d);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 2);
    check_usage(f);
}

static void put_mixed(struct fixture *f)
{
    struct tg_dead d = dead_row("a", "http_400", 100);
    put_dead_now(f, &d);
    d = dead_row("b", "http_400", 200);
    d.source = "app";
    put_dead_now(f, &d);
    d = dead_row("b", "script_error", 300);
    d.message_id = "m-9";
    d.event_name = "x' OR '1'='1";
    put_dead_now(f, &d);
    d = dead_row(NULL, "invalid_type", 400);
    d.body = TG_STR("not json");
    put_dead_now(f, &d);
}

/* Each filter chooses what it says, together they narrow. */
static void test_dead_filters(void **state)
{
    struct fixture *f = *state;
    put_mixed(f);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.destination = "b"}), 2);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.destination = "none"}), 0);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.reason = "http_400"}), 2);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.reason = "http_400", .destination = "b"}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.source = "app"}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.message_id = "m-9"}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.event_name = "x' OR '1'='1"}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.set_aside_only = true}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.since = 200}), 3);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.until = 200}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.since = 200, .until = 300}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.limit = 3}), 3);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.after_id = 1, .limit = 10}), 3);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.id = 2}), 1);
}

/* The user is found by what the event's header says. */
static void test_dead_user(void **state)
{
    struct fixture *f = *state;
    struct tg_event ev = {.source = TG_STR("web"),
                          .message_id = TG_STR("m"),
                          .user_id = TG_STR("u-1"),
                          .received_at = 1,
                          .timestamp = 1,
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    struct tg_buf header = TG_BUF_INIT(1000);
    assert_ok(tg_event_encode(&ev, &header));
    struct tg_dead d = dead_row("a", "http_400", 1);
    d.header = tg_buf_str(&header);
    put_dead_now(f, &d);
    tg_buf_fini(&header);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.user_id = "u-1"}), 1);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.user_id = "u-2"}), 0);
}

/* Dropping removes what matches and says how many, also more than fit one transaction. */
static void test_dead_drop(void **state)
{
    struct fixture *f = *state;
    int64_t dropped;
    put_mixed(f);
    assert_ok(tg_state_dead_drop(f->s, &(struct tg_dead_filter){.destination = "b"}, &dropped, NULL));
    assert_int_equal(dropped, 2);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 2);
    struct tg_dead d = dead_row("c", "http_400", 1);
    for (int i = 0; i < 1200; i++)
        assert_ok(tg_state_put_dead(f->s, &d, NULL, NULL));
    tg_helper_drain(f->helper);
    assert_ok(tg_state_dead_drop(f->s, &(struct tg_dead_filter){.destination = "c"}, &dropped, NULL));
    assert_int_equal(dropped, 1200);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 2);
    check_usage(f);
}

/* Space of what was dropped goes back to the file system, some with each commit. */
static void test_shrinks(void **state)
{
    struct fixture *f = *state;
    static char body[64 * 1024];
    int64_t dropped;
    struct tg_dead d = dead_row("a", "http_400", 1);
    d.body = tg_str_n(body, sizeof body);
    for (int i = 0; i < 400; i++) {
        assert_ok(tg_state_put_dead(f->s, &d, NULL, NULL));
        if (i % 50 == 0)
            tg_helper_drain(f->helper);
    }
    tg_helper_drain(f->helper);
    int64_t before = ask_file(f, "PRAGMA page_count");
    assert_ok(tg_state_dead_drop(f->s, &(struct tg_dead_filter){.destination = "a"}, &dropped, NULL));
    assert_int_equal(dropped, 400);
    for (int i = 0; i < 20; i++)
        put_retries(f, "a", 1);
    assert_in_range(ask_file(f, "PRAGMA freelist_count"), 0, 4096);
    assert_in_range(ask_file(f, "PRAGMA page_count"), 1, before - 2000);
    assert_int_equal(ask_file(f, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
}

static int drop_while_walking(void *arg, const struct tg_dead *d)
{
    struct fixture *f = arg;
    int64_t dropped;
    return tg_state_dead_drop(f->s, &(struct tg_dead_filter){.id = d->id + 1}, &dropped, NULL);
}

/* While rows are being shown others may go: those are left out. */
static void test_dead_walk_and_drop(void **state)
{
    struct fixture *f = *state;
    put_mixed(f);
    assert_ok(tg_state_dead_each(f->s, &(struct tg_dead_filter){0}, drop_while_walking, f, NULL));
    assert_int_equal(dead_count(f, (struct tg_dead_filter){0}), 2);
}

struct counts {
    char text[512];
};

static int add_count(void *arg, const char *destination, const char *reason, int64_t count, int64_t bytes)
{
    struct counts *c = arg;
    size_t n = strlen(c->text);
    assert_true(bytes > 0);
    snprintf(c->text + n, sizeof c->text - n, "%s/%s=%d ", destination ? destination : "-", reason,
             (int)count);
    return 0;
}

static int add_retry_count(void *arg, const char *destination, int64_t count, int64_t bytes, int64_t oldest)
{
    struct counts *c = arg;
    size_t n = strlen(c->text);
    assert_true(bytes > 0);
    snprintf(c->text + n, sizeof c->text - n, "%s=%d@%d ", destination, (int)count, (int)oldest);
    return 0;
}

/* Counts by destination and reason, by destination for retries. */
static void test_counts(void **state)
{
    struct fixture *f = *state;
    struct counts c = {""};
    put_mixed(f);
    struct tg_dead d = dead_row(NULL, "invalid_type", 400);
    d.source = "app";
    put_dead_now(f, &d);
    assert_ok(tg_state_dead_counts(f->s, add_count, &c, NULL));
    assert_string_equal(c.text, "-/invalid_type=2 a/http_400=1 b/http_400=1 b/script_error=1 ");
    struct tg_retry r = retry_row("a", 0, 1, 1);
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    r.partition = 1;
    r.received_at = 5;
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    tg_helper_drain(f->helper);
    c = (struct counts){""};
    assert_ok(tg_state_retry_counts(f->s, add_retry_count, &c, NULL));
    assert_string_equal(c.text, "a=2@5 ");
}

struct trimmed {
    int status;
    int64_t dropped;
};

static void hear_trimmed(void *arg, int status, const char *why, int64_t dropped)
{
    (void)why;
    *(struct trimmed *)arg = (struct trimmed){status, dropped};
}

/* Making room removes the oldest of that destination, or of what was set aside of that source, and no more
 * than needed. */
static void test_trim(void **state)
{
    struct fixture *f = *state;
    struct trimmed t = {0};
    for (int i = 0; i < 10; i++) {
        struct tg_dead d = dead_row("a", i % 2 ? "http_400" : "http_404", 100 - i);
        put_dead_now(f, &d);
        d.destination = NULL;
        put_dead_now(f, &d);
        d.source = "app";
        put_dead_now(f, &d);
    }
    int64_t row = ask_file(f, "SELECT max(bytes) FROM dead");
    assert_ok(tg_state_trim_dead(f->s, "a", NULL, 4 * row, hear_trimmed, &t));
    tg_helper_drain(f->helper);
    assert_ok(t.status);
    assert_int_equal(t.dropped, 6);
    assert_int_equal(ask_file(f, "SELECT min(last) FROM dead WHERE destination = 'a'"), 97);
    assert_ok(tg_state_trim_dead(f->s, NULL, "app", row, hear_trimmed, &t));
    tg_helper_drain(f->helper);
    assert_int_equal(t.dropped, 9);
    assert_int_equal(dead_count(f, (struct tg_dead_filter){.source = "web", .set_aside_only = true}), 10);
    assert_ok(tg_state_trim_dead(f->s, "a", NULL, 4 * row, hear_trimmed, &t));
    tg_helper_drain(f->helper);
    assert_int_equal(t.dropped, 0);
    check_usage(f);
}

/* The highest sequence number is that of retry rows and dead letters of the partition. */
static void test_highest_seq(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = 1;
    int64_t rows;
    assert_ok(tg_state_highest_seq(f->s, 2, &seq, NULL));
    assert_int_equal(seq, 0);
    struct tg_retry r = retry_row("a", 2, 70, 1);
    struct tg_dead d = dead_row("b", "http_400", 1);
    d.partition = 2;
    d.seq = 90;
    assert_ok(tg_state_put_retry(f->s, &r, NULL, NULL));
    tg_helper_drain(f->helper);
    assert_ok(tg_state_highest_seq(f->s, 2, &seq, NULL));
    assert_int_equal(seq, 70);
    put_dead_now(f, &d);
    assert_ok(tg_state_highest_seq(f->s, 2, &seq, NULL));
    assert_int_equal(seq, 90);
    assert_ok(tg_state_partition_rows(f->s, 2, &rows, NULL));
    assert_int_equal(rows, 1);
    assert_ok(tg_state_partition_rows(f->s, 1, &rows, NULL));
    assert_int_equal(rows, 0);
}

/* --- facts --- */

static int add_fact(void *arg, const char *name, struct tg_str value)
{
    struct counts *c = arg;
    size_t n = strlen(c->text);
    snprintf(c->text + n, sizeof c->text - n, "%s=%.*s ", name, TG_STR_ARG(value));
    return 0;
}

/* Facts survive, a new value replaces, an empty one deletes; kinds are apart. */
static void test_facts(void **state)
{
    struct fixture *f = *state;
    struct counts c = {""};
    assert_ok(tg_state_put_fact(f->s, "park", "b", TG_STR("1"), NULL, NULL));
    assert_ok(tg_state_put_fact(f->s, "park", "a", TG_STR("2"), NULL, NULL));
    assert_ok(tg_state_put_fact(f->s, "pause", "a", TG_STR("3"), NULL, NULL));
    assert_ok(tg_state_put_fact(f->s, "park", "b", TG_STR("4"), NULL, NULL));
    reopen(f);
    assert_ok(tg_state_facts_each(f->s, "park", add_fact, &c, NULL));
    assert_string_equal(c.text, "a=2 b=4 ");
    assert_ok(tg_state_put_fact_now(f->s, "park", "a", TG_STR(""), NULL));
    assert_ok(tg_state_put_fact_now(f->s, "park", "c", TG_STR("5"), NULL));
    c = (struct counts){""};
    assert_ok(tg_state_facts_each(f->s, "park", add_fact, &c, NULL));
    assert_string_equal(c.text, "b=4 c=5 ");
}

/* Facts can be read and written at once while operations are being committed: each waits for the other. */
static void test_at_once_while_queued(void **state)
{
    struct fixture *f = *state;
    struct heard h = {0};
    for (int i = 1; i <= 200; i++) {
        struct tg_retry r = retry_row("a", 0, (uint64_t)i, 1);
        char name[16];
        int64_t rows;
        snprintf(name, sizeof name, "n%d", i);
        assert_ok(tg_state_put_retry(f->s, &r, hear, &h));
        assert_ok(tg_state_put_fact_now(f->s, "k", name, TG_STR("v"), NULL));
        assert_ok(tg_state_partition_rows(f->s, 0, &rows, NULL));
        assert_in_range(rows, 0, i);
    }
    tg_helper_drain(f->helper);
    assert_int_equal(h.ok, 200);
    assert_int_equal(ask_file(f, "SELECT count(*) FROM facts"), 200);
    check_usage(f);
}

/* --- memory --- */

static int open_and_read(void *arg)
{
    struct fixture *f = arg;
    struct tg_state *s = NULL;
    int n = 0;
    int code = tg_state_open(f->dir, NULL, &s, NULL);
    if (code)
        return code;
    code = tg_state_dead_each(s, &(struct tg_dead_filter){0}, count_row, &n, NULL);
    if (!code)
        assert_int_equal(n, 4);
    tg_state_close(&s);
    return code;
}

static int queue_and_read(void *arg)
{
    struct fixture *f = arg;
    struct heard h = {0};
    struct due_heard due = {0};
    struct tg_retry r = retry_row("a", 0, 1, 1), nobody = retry_row("", 0, 2, 1);
    struct tg_dead d = dead_row("a", "http_400", 1);
    d.partition = 1;
    d.seq = 1;
    int code = tg_state_put_retry(f->s, &r, hear, &h);
    if (!code)
        code = tg_state_put_retry(f->s, &nobody, NULL, NULL); /* its words need memory, too */
    if (!code)
        code = tg_state_put_dead(f->s, &d, hear, &h);
    if (!code)
        code = tg_state_put_fact(f->s, "k", "n", TG_STR("v"), hear, &h);
    int64_t busy = 99;
    if (!code)
        code = tg_state_due_retries(f->s, "a", 0, 1, 10, 10, &busy, 1, hear_due, &due);
    tg_helper_drain(f->helper);
    assert_int_equal(h.bad, 0); /* what was taken was done */
    if (!code && due.status)
        code = due.status;
    return code;
}

/* Without memory operations are refused or say so; what was taken is done; nothing leaks. */
static void test_torture(void **state)
{
    struct fixture *f = *state;
    put_mixed(f);
    tg_torture(open_and_read, f);
    tg_torture(queue_and_read, f);
    assert_int_equal(due_now(f, "a", 10, 10).n, 1);
}

#define OPEN(test)   cmocka_unit_test_setup_teardown(test, set_up_open, tear_down)
#define CLOSED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(test_new_file),
        OPEN(test_close_leaves_one_file),
        CLOSED(test_corrupt_header),
        OPEN(test_corrupt_pages),
        OPEN(test_other_versions),
        CLOSED(test_no_folder),
        OPEN(test_retry_survives),
        OPEN(test_copies),
        OPEN(test_same_place_replaces),
        OPEN(test_due_order),
        OPEN(test_due_among_writes),
        OPEN(test_due_busy),
        OPEN(test_due_worker),
        OPEN(test_due_bytes),
        OPEN(test_update),
        OPEN(test_delete),
        OPEN(test_responses_ceiling),
        OPEN(test_grouped),
        OPEN(test_own_failure),
        OPEN(test_retry_to_dead),
        OPEN(test_full),
        OPEN(test_locked),
        OPEN(test_queue_ceiling),
        OPEN(test_queue_from_callback),
        CLOSED(test_disk_faults),
        CLOSED(test_meeting),
        CLOSED(test_processes),
        CLOSED(test_killed),
        OPEN(test_dead_survives),
        OPEN(test_dead_same_place),
        OPEN(test_dead_filters),
        OPEN(test_dead_user),
        OPEN(test_dead_drop),
        OPEN(test_shrinks),
        OPEN(test_dead_walk_and_drop),
        OPEN(test_counts),
        OPEN(test_trim),
        OPEN(test_highest_seq),
        OPEN(test_facts),
        OPEN(test_at_once_while_queued),
        OPEN(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
