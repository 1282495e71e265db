#include "daemon/sink.h"

#include "base/clock.h"
#include "base/mem.h"
#include "deliver/forgotten.h"

#include <stdio.h>
#include <time.h>

enum {
    RETRY_SOON_S = 1,
    RETRY_FULL_S = 10,
    /* Ready is who has room for a batch as large as SDKs send them: with less, some would be refused while
     * others are told that all is well. */
    BATCH_BYTES = 512 * 1024,
    TOMBSTONES_MAX = 64 * 1024 * 1024,
    HEADERS_MAX = 256 * 1024 * 1024,
    KEEP_HEADERS = 256 * 1024, /* a larger buffer is given back after a batch */
    FEW = 16,                  /* events of a request for which nothing is allocated here */
};

struct tg_spool_sink {
    struct tg_log *log;
    struct tg_state *state;
    struct tg_aside *aside;
    void (*forgotten)(void *arg, size_t users);
    void *forgotten_arg;
    bool stopping;
    char blocked[256]; /* why nothing is accepted; empty: it is */
    size_t waiting;
    struct tg_buf headers; /* of the events that are being appended; used again each time */
};

/* One append: the log's answer, and one for each thing set aside; then one for each tombstone. What the
 * state's queue has no room for waits until what is in it of this append is through: else a batch with more
 * bad events, or more users to forget, than fit at once would be refused each time it is sent again. */
struct pending {
    struct tg_spool_sink *sink;
    struct tg_setaside *rest; /* what is still to be set aside; its texts behind it */
    size_t n_rest, at_rest;
    struct tg_buf tombstones; /* their names, each with a zero behind it */
    size_t at_tombstone;      /* the next one */
    size_t users;
    int64_t forgotten_at;
    bool burying; /* the tombstones are on their way */
    size_t open;  /* answers still to come, and one while the pieces are being handed over */
    int status;
    char why[128];
    void (*done)(void *arg, int status, const char *why);
    void *arg;
};

static void one_done(struct pending *p, int status, const char *why);

static void state_done(void *arg, int status, const char *why)
{
    one_done(arg, status, why);
}

/* Counts one that was given to the state, or notes why it was not. False: no room, and what is there of ours
 * makes some. */
static bool given(struct pending *p, int rc)
{
    if (rc == TG_BUSY && p->open > 1)
        return false;
    if (rc == TG_OK)
        p->open++;
    else if (!p->status)
        p->status = rc;
    return true;
}

/* All is in the log: now the tombstones. */
static void bury(struct pending *p)
{
    p->burying = true;
    p->open = 1;
    while (p->at_tombstone < p->tombstones.len && !p->status) {
        const char *name = p->tombstones.data + p->at_tombstone;
        if (!given(p, tg_state_put_fact(p->sink->state, TG_FORGET_FACT, name, TG_STR(TG_FORGET_ROWS),
                                        state_done, p)))
            break;
        p->at_tombstone += strlen(name) + 1;
    }
    one_done(p, TG_OK, NULL);
}

static int set_aside(struct pending *p, const struct tg_setaside *bad);

static void set_aside_rest(struct pending *p)
{
    p->open = 1;
    while (p->at_rest < p->n_rest && !p->status && given(p, set_aside(p, &p->rest[p->at_rest])))
        p->at_rest++;
    one_done(p, TG_OK, NULL);
}

/* A tombstone hides what is not younger. What comes after the answer must be, however quick the disk. */
static void let_a_millisecond_pass(int64_t at)
{
    const struct timespec bit = {0, 100 * 1000};
    for (int i = 0; i < 20 && tg_wall_ms() == at; i++)
        (void)nanosleep(&bit, NULL);
}

static void end(struct pending *p)
{
    struct tg_spool_sink *sink = p->sink;
    if (p->burying && !p->status) {
        if (sink->forgotten)
            sink->forgotten(sink->forgotten_arg, p->users);
        let_a_millisecond_pass(p->forgotten_at);
    }
    sink->waiting--;
    p->done(p->arg, p->status, p->why[0] ? p->why : NULL);
    tg_buf_fini(&p->tombstones);
    tg_free(p->rest);
    tg_free(p);
}

static void one_done(struct pending *p, int status, const char *why)
{
    if (status && !p->status) {
        p->status = status;
        if (why)
            (void)snprintf(p->why, sizeof p->why, "%s", why);
    }
    if (--p->open)
        return;
    if (p->at_rest < p->n_rest && !p->status)
        set_aside_rest(p);
    else if (p->at_tombstone < p->tombstones.len && !p->status)
        bury(p);
    else
        end(p);
}

static void log_done(void *arg, int status, const char *why, uint64_t first_seq)
{
    (void)first_seq;
    one_done(arg, status, why);
}

/* The names of the tombstones that the events ask for. */
static int note_users(struct pending *p, const struct tg_event *events, size_t n, int64_t now)
{
    int rc = TG_OK;
    p->forgotten_at = now;
    tg_buf_init(&p->tombstones, TOMBSTONES_MAX);
    for (size_t i = 0; !rc && i < n; i++) {
        if (!events[i].forgets)
            continue;
        rc = tg_forgotten_name(&p->tombstones, events[i].user_id, p->forgotten_at);
        if (!rc)
            rc = tg_buf_addc(&p->tombstones, 0);
        p->users++;
    }
    return rc;
}

/* Headers one behind the other, and where each ends. */
static int encode_headers(struct tg_buf *headers, size_t *ends, const struct tg_event *events, size_t n)
{
    int rc = TG_OK;
    tg_buf_clear(headers);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = tg_event_encode(&events[i], headers);
        ends[i] = headers->len;
    }
    return rc;
}

/* now: what a trusted source's receivedAt says is in the header. */
static int append_events(struct pending *p, const struct tg_event *events, size_t n, int64_t now)
{
    struct tg_record few[FEW], *records = n <= FEW ? few : tg_calloc(n, sizeof *records);
    size_t few_ends[FEW], *ends = n <= FEW ? few_ends : tg_calloc(n, sizeof *ends);
    struct tg_buf *headers = &p->sink->headers;
    int rc = records && ends ? encode_headers(headers, ends, events, n) : TG_NOMEM;
    /* Spans only now: the buffer moves while it grows. */
    for (size_t i = 0, at = 0; !rc && i < n; at = ends[i++])
        records[i] = (struct tg_record){
            .received_at = now,
            .header = tg_str_n(headers->data + at, ends[i] - at),
            .body = events[i].body,
        };
    struct tg_err err = {0};
    p->open++;
    if (!rc)
        rc = tg_log_append(p->sink->log, records, n, log_done, p, &err);
    if (rc)
        p->open--;
    if (headers->cap > KEEP_HEADERS)
        tg_buf_fini(headers);
    if (ends != few_ends)
        tg_free(ends);
    if (records != few)
        tg_free(records);
    return rc;
}

static char *text(struct tg_str s)
{
    return s.n ? tg_strndup(s.p, s.n) : NULL;
}

static int set_aside(struct pending *p, const struct tg_setaside *bad)
{
    char *source = text(bad->source), *message_id = text(bad->message_id), *reason = text(bad->reason),
         *detail = text(bad->detail);
    struct tg_dead dead = {
        .source = source,
        .message_id = message_id,
        .reason = reason ? reason : "invalid",
        .message = detail,
        .received_at = bad->received_at,
        .first = bad->received_at,
        .last = bad->received_at,
        .body = bad->body,
    };
    int rc = tg_state_put_dead(p->sink->state, &dead, state_done, p);
    if (!rc)
        tg_aside_note(p->sink->aside, bad->source, bad->body.n);
    tg_free(source);
    tg_free(message_id);
    tg_free(reason);
    tg_free(detail);
    return rc;
}

static void keep(struct tg_str *s, char **at)
{
    if (s->n)
        s->p = memcpy(*at, s->p, s->n);
    *at += s->n;
}

/* They are the caller's only until append returns. */
static int keep_rest(struct pending *p, const struct tg_setaside *bad, size_t n)
{
    size_t texts = 0;
    for (size_t i = 0; i < n; i++)
        texts += bad[i].source.n + bad[i].message_id.n + bad[i].reason.n + bad[i].detail.n + bad[i].body.n;
    p->rest = tg_malloc(n * sizeof *bad + texts);
    if (!p->rest)
        return TG_NOMEM;
    char *at = (char *)(p->rest + n);
    for (size_t i = 0; i < n; i++) {
        struct tg_setaside *to = &p->rest[i];
        *to = bad[i];
        keep(&to->source, &at);
        keep(&to->message_id, &at);
        keep(&to->reason, &at);
        keep(&to->detail, &at);
        keep(&to->body, &at);
    }
    p->n_rest = n;
    return TG_OK;
}

/* What the events take in the log, or a little more. */
static size_t about_bytes(const struct tg_event *events, size_t n)
{
    enum { SMALL_FIELDS = 256 };
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += SMALL_FIELDS + events[i].body.n + events[i].context.n + events[i].integrations.n;
    return bytes;
}

/* The bad events go first: the state's queue may be full, and then nothing of the batch is taken. An event
 * that was taken from a batch that is refused would come twice, with two ids when the sender gave it none. */
static int append(void *arg, const struct tg_event *events, size_t n, const struct tg_setaside *bad,
                  size_t n_bad, void (*done)(void *arg, int status, const char *why), void *done_arg)
{
    struct tg_spool_sink *sink = arg;
    if (sink->stopping)
        return TG_CLOSED;
    struct pending *p = tg_calloc(1, sizeof *p);
    if (!p)
        return TG_NOMEM;
    *p = (struct pending){.sink = sink, .open = 1, .done = done, .arg = done_arg};
    sink->waiting++;
    int64_t now = tg_wall_ms();
    int rc = note_users(p, events, n, now);
    if (!rc && n)
        rc = tg_log_can_append(sink->log, about_bytes(events, n), NULL);
    size_t i = 0;
    while (!rc && i < n_bad && !p->status && given(p, set_aside(p, &bad[i])))
        i++;
    if (!rc)
        rc = p->status;
    if (!rc && n)
        rc = append_events(p, events, n, now);
    if (rc && p->open == 1) { /* nothing was taken */
        sink->waiting--;
        tg_buf_fini(&p->tombstones);
        tg_free(p);
        return rc;
    }
    if (!rc && i < n_bad)
        rc = keep_rest(p, &bad[i], n_bad - i);
    p->status = rc; /* on failure the sender is told to send it all again: at least once */
    one_done(p, TG_OK, NULL);
    return TG_OK;
}

static int ready(void *arg, const char **why, int *retry_after_s)
{
    struct tg_spool_sink *sink = arg;
    *retry_after_s = RETRY_SOON_S;
    if (sink->stopping) {
        *why = "the relay is stopping";
        return TG_CLOSED;
    }
    if (sink->blocked[0]) {
        *why = sink->blocked;
        *retry_after_s = RETRY_FULL_S;
        return TG_QUOTA;
    }
    *why = "the spool takes nothing now";
    int rc = tg_log_can_append(sink->log, BATCH_BYTES, why);
    if (rc && rc != TG_BUSY)
        *retry_after_s = RETRY_FULL_S;
    return rc;
}

struct tg_spool_sink *tg_spool_sink_new(const struct tg_spool_sink_options *options)
{
    struct tg_spool_sink *sink = tg_calloc(1, sizeof *sink);
    if (sink)
        *sink = (struct tg_spool_sink){.log = options->log,
                                       .state = options->state,
                                       .aside = options->aside,
                                       .forgotten = options->forgotten,
                                       .forgotten_arg = options->forgotten_arg,
                                       .headers = TG_BUF_INIT(HEADERS_MAX)};
    return sink;
}

void tg_spool_sink_free(struct tg_spool_sink **sink)
{
    if (*sink)
        tg_buf_fini(&(*sink)->headers);
    tg_free(*sink);
    *sink = NULL;
}

struct tg_sink tg_spool_sink_interface(struct tg_spool_sink *sink)
{
    return (struct tg_sink){.arg = sink, .ready = ready, .append = append};
}

void tg_spool_sink_block(struct tg_spool_sink *sink, const char *destination)
{
    sink->blocked[0] = '\0';
    if (destination)
        (void)snprintf(sink->blocked, sizeof sink->blocked,
                       "the dead letters of destination %.64s take all of their quota: replay or drop them "
                       "(tidegate dead ls --dest %.64s)",
                       destination, destination);
}

void tg_spool_sink_stop(struct tg_spool_sink *sink)
{
    sink->stopping = true;
}

size_t tg_spool_sink_waiting(const struct tg_spool_sink *sink)
{
    return sink->waiting;
}
