/* One cursor at a time: first the log, in groups whose dead letters are all durable before the cursor moves;
 * then the retry rows; then the cursor itself. A write that fails leaves the cursor where it is, and the
 * group is read again at a later step (its dead letters then replace those that are there already). */
#include "deliver/reaper.h"

#include "base/event.h"
#include "base/log.h"
#include "base/mem.h"

enum { GROUP = 256 };

struct tg_reaper {
    struct tg_reaper_options o;
    char *name; /* of the destination in hand; NULL: none */
    size_t pending;
    bool failed, asking, spared;
    bool early;    /* its time is not over: only what is above the ceiling goes */
    bool hurries;  /* the ceiling is not reached yet */
    uint64_t upto; /* the group ends before this sequence */
    int64_t now;
};

int tg_reaper_new(const struct tg_reaper_options *options, struct tg_reaper **out)
{
    *out = tg_calloc(1, sizeof **out);
    if (*out)
        (*out)->o = *options;
    return *out ? TG_OK : TG_NOMEM;
}

void tg_reaper_free(struct tg_reaper **r)
{
    if (!*r)
        return;
    tg_free((*r)->name);
    tg_free(*r);
    *r = NULL;
}

static void put_down(struct tg_reaper *r)
{
    tg_free(r->name);
    r->name = NULL;
    r->spared = false;
}

/* All writes of a group have ended. */
static void group_ended(struct tg_reaper *r)
{
    struct tg_cursor *cursor = tg_cursors_find(r->o.cursors, r->name);
    if (r->spared || !cursor)
        put_down(r);
    else if (!r->failed && r->upto)
        tg_cursor_settle_below(cursor, r->upto);
    r->hurries = r->early && r->name && !r->failed;
    r->upto = 0;
    if (r->early)
        put_down(r);
}

/* A row of a forgotten user has gone, or could not. */
static void on_removed(void *arg, int status, const char *why)
{
    struct tg_reaper *r = arg;
    (void)why;
    if (status == TG_FULL)
        tg_log_free_reserve(r->o.log);
    if (status != TG_OK)
        r->failed = true;
    if (--r->pending == 0)
        group_ended(r);
}

static void on_written(void *arg, int status, const char *why)
{
    struct tg_reaper *r = arg;
    if (status == TG_OK && r->o.counted)
        r->o.counted(r->o.arg, r->name);
    on_removed(arg, status, why);
}

/* One event on its way into the dead letters. */
struct leaving {
    struct tg_str header, body;
    int64_t received_at;
    uint32_t partition;
    uint64_t seq;
    int64_t row_id; /* of the retry set; 0: from the log */
    uint32_t attempts;
};

struct letter {
    bool hidden;
    struct tg_dead dead;
    struct tg_buf texts;
};

static int fill(struct letter *l, struct tg_reaper *r, const struct leaving *from)
{
    struct tg_event ev = {0};
    size_t id = 0, name = 0;
    bool readable = tg_event_decode(from->header, from->body, &ev, NULL) == TG_OK;
    tg_buf_init(&l->texts, 1 << 20);
    l->hidden = readable && r->o.hides && r->o.hides(r->o.arg, &ev);
    int rc = tg_buf_addstr(&l->texts, ev.source);
    if (rc == TG_OK)
        rc = tg_buf_addc(&l->texts, 0);
    id = l->texts.len;
    if (rc == TG_OK)
        rc = tg_buf_addstr(&l->texts, ev.message_id);
    if (rc == TG_OK)
        rc = tg_buf_addc(&l->texts, 0);
    name = l->texts.len;
    if (rc == TG_OK)
        rc = tg_buf_addstr(&l->texts, ev.name);
    if (rc == TG_OK)
        rc = tg_buf_addc(&l->texts, 0);
    if (rc != TG_OK)
        return rc;
    l->dead = (struct tg_dead){
        .destination = r->name,
        .source = l->texts.data,
        .message_id = l->texts.data + id,
        .type = readable ? tg_event_type_name(ev.type) : "",
        .event_name = l->texts.data + name,
        .reason = "destination_removed",
        .message = r->early
                       ? "the destination is not configured, and more than half of the log was waiting for it"
                       : "the destination has not been configured for 24 hours",
        .attempts = from->attempts,
        .received_at = from->received_at,
        .first = r->now,
        .last = r->now,
        .header = from->header,
        .body = from->body,
        .partition = from->partition,
        .seq = from->seq,
        .generation = r->o.generation};
    return TG_OK;
}

/* Writes one dead letter; one of the retry set goes from there in the same transaction. */
static void write_one(struct tg_reaper *r, const struct leaving *from)
{
    struct letter l;
    int rc = fill(&l, r, from);
    if (rc == TG_OK && l.hidden && !from->row_id) {
        tg_buf_fini(&l.texts);
        return; /* the cursor passes it */
    }
    r->pending++;
    if (rc == TG_OK && l.hidden)
        rc = tg_state_delete_retry(r->o.state, from->row_id, on_removed, r);
    else if (rc == TG_OK)
        rc = from->row_id ? tg_state_retry_to_dead(r->o.state, from->row_id, &l.dead, on_written, r)
                          : tg_state_put_dead(r->o.state, &l.dead, on_written, r);
    tg_buf_fini(&l.texts);
    if (rc != TG_OK)
        on_written(r, rc, NULL);
}

static void on_rows(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                    int64_t total)
{
    struct tg_reaper *r = arg;
    (void)next_due, (void)total;
    r->asking = false;
    if (status != TG_OK || r->spared) {
        group_ended(r);
        return;
    }
    if (n == 0) {
        struct tg_cursor *cursor = tg_cursors_find(r->o.cursors, r->name);
        if (cursor)
            tg_cursors_remove(r->o.cursors, cursor);
        tg_info("what a removed destination had not delivered is in the dead letters",
                TG_FS("destination", r->name));
        put_down(r);
        return;
    }
    r->pending++; /* so that the group does not end between two rows */
    for (size_t i = 0; i < n; i++)
        write_one(r, &(struct leaving){rows[i].header, rows[i].body, rows[i].received_at, rows[i].partition,
                                       rows[i].seq, rows[i].id, rows[i].attempts});
    if (--r->pending == 0)
        group_ended(r);
}

static void take_rows(struct tg_reaper *r)
{
    r->asking = true;
    int rc = tg_state_due_retries(r->o.state, r->name, r->o.worker, r->o.workers, INT64_MAX, GROUP, NULL, 0,
                                  on_rows, r);
    if (rc != TG_OK)
        r->asking = false;
}

static bool is_over(const struct tg_reaper *r, uint64_t seq)
{
    return r->o.ceiling && tg_log_bytes_from(r->o.log, seq) > r->o.ceiling;
}

static void take_records(struct tg_reaper *r, struct tg_cursor *cursor)
{
    struct tg_log_reader *reader = NULL;
    struct tg_record record;
    if (tg_log_reader_open(r->o.log, tg_cursor_low(cursor), &reader, NULL) != TG_OK)
        return;
    r->upto = tg_cursor_low(cursor);
    r->pending++;
    int rc = 1;
    for (int i = 0; i < GROUP && (!r->early || is_over(r, r->upto)) &&
                    (rc = tg_log_reader_next(reader, &record, NULL)) == 1;
         i++) {
        r->upto = record.seq + 1;
        if (!tg_cursor_settled(cursor, record.seq))
            write_one(r, &(struct leaving){record.header, record.body, record.received_at, r->o.partition,
                                           record.seq, 0, 0});
    }
    if (rc == 0)
        r->upto =
            tg_log_last(r->o.log) + 1; /* nothing is left to read; an error is not that: it is tried again */
    tg_log_reader_close(&reader);
    if (--r->pending == 0)
        group_ended(r);
}

static void pick(void *arg, struct tg_cursor *cursor)
{
    struct tg_reaper *r = arg;
    int64_t since = tg_cursor_removed_at(cursor);
    bool over = r->now - since >= TG_REMOVED_KEEP_MS;
    if (r->name || since == 0 || (!over && !is_over(r, tg_cursor_low(cursor))))
        return;
    r->name = tg_strdup(tg_cursor_name(cursor));
    r->early = !over;
}

void tg_reaper_step(struct tg_reaper *r, int64_t now)
{
    r->now = now;
    r->hurries = false;
    if (r->pending || r->asking)
        return;
    if (!r->name)
        tg_cursors_each(r->o.cursors, pick, r);
    struct tg_cursor *cursor = r->name ? tg_cursors_find(r->o.cursors, r->name) : NULL;
    r->failed = false;
    if (!cursor)
        put_down(r);
    else if (tg_cursor_low(cursor) <= tg_log_last(r->o.log))
        take_records(r, cursor);
    else
        take_rows(r);
}

bool tg_reaper_hurries(const struct tg_reaper *r)
{
    return r->hurries;
}

void tg_reaper_spare(struct tg_reaper *r, const char *destination)
{
    if (!r->name || strcmp(r->name, destination) != 0)
        return;
    if (r->pending || r->asking)
        r->spared = true;
    else
        put_down(r);
}
