/* The power fails at every step (each write, truncation, sync, creation and removal of every file: segments,
 * cursors, state.db and its WAL) of a small history in which the engine delivers, retries, buries and skips.
 * Whatever the disk holds afterwards, the order of writes has kept the promise: an event that was
 * acknowledged has been delivered, or skipped, or is a dead letter, or waits for a retry, or is read from the
 * log again. What was done may be done again; nothing is gone. */
#include "deliver/engine.h"

#include "base/clock.h"
#include "base/helper.h"
#include "base/log.h"
#include "deliver/destinations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "deliver/fake_host.h"
#include "deliver/partner.h"

#define MEM_SECTOR   512
#define MEM_CHANGES  4096
#define MEM_FILE_MAX ((size_t)2 << 20)
#include "deliver/mem_vfs.h"

enum { EVENTS = 10, SKIPPED = 5, SAMPLES = 3, ONE_IN = 3 };

/* What the partner answers to the attempts of each event; the last answer stays. */
static const int answers[EVENTS][4] = {
    {200}, {500, 200}, {400}, {200}, {500, 500, 400}, {0}, {500, 500, 500, 200}, {200}, {400}, {500, 200},
};

/* What the world was told before the power failed. */
struct told {
    bool acknowledged[EVENTS], delivered[EVENTS], refused[EVENTS], skipped[EVENTS];
    int attempts[EVENTS];
};

/* What is found after the restart. */
struct found {
    bool retry[EVENTS], dead[EVENTS], in_log[EVENTS];
};

struct test {
    struct tg_io_mem *disk;
    struct event_base *base;
    struct tg_helper *helper;
    struct partner *partner;
    struct tg_metrics *metrics;
    struct tg_client *client;
    struct tg_state *state;
    struct tg_cursors *cursors;
    struct tg_log *log;
    struct tg_engine *engine;
    struct told told;
    int waiting; /* appends that have not been answered */
};

/* One folder for all: state_db makes an empty file there, which is never written. */
static char folder[64];

static bool power_is_off(const struct test *t)
{
    struct tg_io_mem *m = mem_of(&t->disk->io);
    bool off = m->crash_at && m->steps >= m->crash_at;
    (void)mem_done(m, 0, 0);
    return off;
}

static size_t event_of(const char *message_id)
{
    return (size_t)(message_id[0] - '0');
}

/* --- a relay on a disk --- */

static int open_spool(struct test *t)
{
    struct tg_err err = {0};
    vfs_disk = &t->disk->io;
    int rc = tg_state_open(folder, t->helper, &t->state, &err);
    if (rc == TG_OK)
        rc = tg_cursors_open(&t->disk->io, "/p0", t->helper, &t->cursors, &err);
    if (rc != TG_OK)
        return rc;
    uint64_t seq = 0;
    rc = tg_state_highest_seq(t->state, 0, &seq, &err);
    if (tg_cursors_highest(t->cursors) > seq)
        seq = tg_cursors_highest(t->cursors);
    struct tg_log_options o = {.dir = "/p0",
                               .epoch = 1,
                               .segment_bytes = 900,
                               .max_bytes = 16000,
                               .reserve_bytes = 256,
                               .max_pending_bytes = 1 << 20,
                               .least_next_seq = seq,
                               .io = &t->disk->io,
                               .helper = t->helper,
                               .base = t->base,
                               .metrics = t->metrics};
    return rc == TG_OK ? tg_log_open(&o, &t->log, NULL, &err) : rc;
}

static void close_spool(struct test *t)
{
    tg_helper_drain(t->helper);
    tg_log_close(&t->log);
    tg_cursors_close(&t->cursors);
    tg_helper_drain(t->helper);
    tg_state_close(&t->state);
}

static void handle(struct fake *fake, struct tg_run *run)
{
    struct test *t = fake->arg;
    size_t i = event_of(run->event->message_id.p);
    if (i == SKIPPED) {
        t->told.skipped[i] = t->told.skipped[i] || !power_is_off(t);
        fake_end(run, TG_RUN_SKIP, "not_mapped");
        return;
    }
    char body[16];
    (void)snprintf(body, sizeof body, "%zu", i);
    fake_deliver(run, (struct fake_ask){.body = body});
    fake_end(run, TG_RUN_DONE, NULL);
}

static struct partner_answer answer(void *arg, const struct partner_got *got)
{
    struct test *t = arg;
    size_t i = event_of(got->body);
    int attempt = t->told.attempts[i]++;
    while (attempt > 0 && (attempt > 3 || !answers[i][attempt]))
        attempt--;
    int status = answers[i][attempt];
    bool counts = !power_is_off(t); /* else nobody would have got there */
    t->told.delivered[i] = t->told.delivered[i] || (counts && status == 200);
    t->told.refused[i] = t->told.refused[i] || (counts && status == 400);
    return (struct partner_answer){.status = status};
}

static void open_engine(struct test *t)
{
    struct tg_client_options c = {.base = t->base, .egress = {.allow_private = true}, .connect_ms = 60000};
    assert_int_equal(tg_client_new(&c, &t->client, NULL), TG_OK);
    struct tg_engine_part part = {0, t->log, t->cursors};
    struct tg_engine_options o = {.base = t->base,
                                  .http = t->client,
                                  .state = t->state,
                                  .helper = t->helper,
                                  .metrics = t->metrics,
                                  .workers = 1,
                                  .parts = &part,
                                  .n_parts = 1,
                                  .save_ms = 3};
    assert_int_equal(tg_engine_new(&o, &t->engine, NULL), TG_OK);
    struct fake *fake = fake_new("one", t->partner->port, handle);
    fake->arg = t;
    struct tg_destination_config config = {.name = (char *)"one",
                                           .enabled = true,
                                           .settings = (char *)"{}",
                                           .timeout_ms = 60000,
                                           .retry = {1, 4, 3600000}};
    struct tg_engine_dest d = {&fake->dest, &config};
    assert_int_equal(tg_engine_set_destinations(t->engine, &d, 1, 1, NULL), TG_OK);
}

static void close_engine(struct test *t)
{
    tg_engine_free(&t->engine);
    tg_client_free(&t->client);
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool has_stopped(void *arg)
{
    return *(bool *)arg;
}

/* As SIGTERM does it. */
static void stop_engine(struct test *t)
{
    bool stopped = false;
    tg_engine_stop(t->engine, tg_mono_ms() + 30000, on_stopped, &stopped);
    loop_until(t->base, has_stopped, &stopped);
    close_engine(t);
}

static struct test *begin(struct tg_io_mem *disk)
{
    struct test *t = calloc(1, sizeof *t);
    t->disk = disk;
    t->base = event_base_new();
    t->metrics = tg_metrics_new(1);
    t->partner = partner_new(t->base);
    t->partner->decide = answer;
    t->partner->arg = t;
    assert_int_equal(tg_helper_new(t->base, &t->helper, NULL), TG_OK);
    return t;
}

static void end(struct test *t)
{
    tg_helper_free(&t->helper);
    partner_free(t->partner);
    event_base_free(t->base);
    tg_metrics_free(&t->metrics);
    free(t);
}

/* --- the history --- */

struct append {
    struct test *t;
    size_t i;
};

static void on_appended(void *arg, int status, const char *why, uint64_t first_seq)
{
    (void)why, (void)first_seq;
    struct append *a = arg;
    a->t->waiting--;
    a->t->told.acknowledged[a->i] = status == TG_OK;
    free(a);
}

static void append(struct test *t, size_t i)
{
    struct tg_buf header = TG_BUF_INIT(65536);
    char id[16], body[200];
    (void)snprintf(id, sizeof id, "%zu", i);
    (void)snprintf(
        body, sizeof body, "{\"type\":\"track\",\"pad\":\"%.*s\"}", (int)(10 * i),
        "----------------------------------------------------------------------------------------");
    struct tg_event ev = {.type = TG_TRACK,
                          .message_id = tg_str_of(id),
                          .name = TG_STR("E"),
                          .source = TG_STR("web"),
                          .body = tg_str_of(body),
                          .received_at = tg_wall_ms(),
                          .original_timestamp = TG_NO_TIME,
                          .sent_at = TG_NO_TIME};
    ev.timestamp = ev.received_at;
    assert_int_equal(tg_event_encode(&ev, &header), TG_OK);
    struct tg_record r = {.received_at = ev.received_at, .header = tg_buf_str(&header), .body = ev.body};
    struct append *a = calloc(1, sizeof *a);
    *a = (struct append){t, i};
    if (tg_log_append(t->log, &r, 1, on_appended, a, NULL) == TG_OK)
        t->waiting++;
    else
        free(a);
    tg_buf_fini(&header);
}

static bool is_answered(void *arg)
{
    return ((struct test *)arg)->waiting == 0;
}

static bool has_ended(const struct told *told, size_t i)
{
    return told->delivered[i] || told->refused[i] || told->skipped[i];
}

/* All that was acknowledged has ended, and the saved cursor is past it. Or the power is off. */
static bool is_done(void *arg)
{
    struct test *t = arg;
    if (power_is_off(t))
        return true;
    for (size_t i = 0; i < EVENTS; i++)
        if (t->told.acknowledged[i] && !has_ended(&t->told, i))
            return false;
    return tg_cursors_saved_low(t->cursors) > tg_log_last(t->log);
}

/* Events `from` to below `to` come in, the first of them by itself. */
static void come(struct test *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        append(t, i);
        if (i == from)
            loop_until(t->base, is_answered, t);
    }
    loop_until(t->base, is_answered, t);
}

static void history(struct test *t)
{
    if (open_spool(t) == TG_OK) {
        open_engine(t);
        come(t, 0, 4);
        come(t, 4, 6);
        loop_until(t->base, is_done, t);
        stop_engine(t);
    }
    close_spool(t);
    if (power_is_off(t))
        return;
    if (open_spool(t) == TG_OK) { /* an ordinary restart */
        open_engine(t);
        come(t, 6, EVENTS);
        loop_until(t->base, is_done, t);
        close_engine(t); /* as a kill does it: nothing is saved */
    }
    close_spool(t);
}

/* --- after it --- */

static int found_dead(void *arg, const struct tg_dead *d)
{
    ((struct found *)arg)->dead[event_of(d->message_id)] = true;
    return 0;
}

static void found_retries(void *arg, int status, const struct tg_retry *rows, size_t n, int64_t next_due,
                          int64_t total)
{
    (void)next_due;
    assert_int_equal(status, TG_OK);
    assert_int_equal(total, n);
    for (size_t i = 0; i < n; i++)
        ((struct found *)arg)->retry[event_of(rows[i].message_id)] = true;
}

static void find_in_log(struct test *t, struct found *found)
{
    struct tg_log_reader *r;
    struct tg_record record;
    struct tg_event ev;
    const struct tg_cursor *c = tg_cursors_find(t->cursors, "one");
    int rc;
    assert_int_equal(tg_log_reader_open(t->log, 0, &r, NULL), TG_OK);
    while ((rc = tg_log_reader_next(r, &record, NULL)) == 1) {
        assert_int_equal(tg_event_decode(record.header, record.body, &ev, NULL), TG_OK);
        if (!c || !tg_cursor_settled(c, record.seq))
            found->in_log[event_of(ev.message_id.p)] = true;
    }
    assert_int_equal(rc, 0);
    tg_log_reader_close(&r);
}

static void look(struct test *t, struct found *found)
{
    static const struct tg_dead_filter all;
    assert_int_equal(tg_state_dead_each(t->state, &all, found_dead, found, NULL), TG_OK);
    assert_int_equal(
        tg_state_due_retries(t->state, "one", 0, 1, INT64_MAX, 100, NULL, 0, found_retries, found), TG_OK);
    tg_helper_drain(t->helper);
    find_in_log(t, found);
}

static void check_promise(const struct told *told, const struct found *found)
{
    for (size_t i = 0; i < EVENTS; i++) {
        bool kept = found->retry[i] || found->dead[i] || found->in_log[i];
        if (told->acknowledged[i] && !told->delivered[i] && !told->skipped[i] && !kept)
            fail_msg("event %zu is lost", i);
        if (told->refused[i] && !told->delivered[i] && !kept)
            fail_msg("event %zu was refused and is not kept", i);
        if (found->dead[i] && !told->refused[i])
            fail_msg("event %zu is a dead letter that nobody refused", i);
    }
}

/* Starts on what the disk holds and looks; `to_the_end`: and delivers what is left. */
static void check_image(const struct told *told, struct tg_io_mem *disk, bool to_the_end)
{
    struct test *t = begin(disk);
    struct found found = {0};
    if (open_spool(t) != TG_OK)
        fail_msg("it does not start");
    look(t, &found);
    check_promise(told, &found);
    if (to_the_end) {
        t->told = *told; /* the partner remembers */
        for (size_t i = 0; i < EVENTS; i++)
            t->told.refused[i] = found.dead[i];
        open_engine(t);
        loop_until(t->base, is_done, t);
        stop_engine(t);
    }
    close_spool(t);
    end(t);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 20 ^ *state << 30;
}

/* Nothing of what was not synced has come through, all of it, and samples between. */
static void check_images(const struct test *t, bool to_the_end, uint64_t *random)
{
    for (int i = 0; i < 2 + SAMPLES; i++) {
        uint64_t mask = i == 0 ? 0 : i == 1 ? UINT64_MAX : next_random(random);
        size_t n = t->disk->n_renames, renames = i == 0 ? 0 : i == 1 ? n : (size_t)(*random >> 33) % (n + 1);
        struct tg_io_mem *disk = tg_io_mem_reboot(t->disk, mask, renames);
        check_image(&t->told, disk, to_the_end && i < 2);
        tg_io_mem_free(disk);
    }
}

/* A disk on which the relay has run once, so that the tables are there. */
static struct tg_io_mem *first_disk(void)
{
    struct test *t = begin(tg_io_mem_new());
    struct tg_io_mem *disk = t->disk;
    assert_int_equal(open_spool(t), TG_OK);
    open_engine(t);
    stop_engine(t);
    close_spool(t);
    end(t);
    return disk;
}

/* The promise, at every step. */
static void test_every_step(void **state)
{
    (void)state;
    uint64_t random = 42;
    struct tg_io_mem *first = first_disk();
    bool crashed = true;
    long at = 1;
    for (; crashed; at++) {
        struct tg_io_mem *disk = tg_io_mem_reboot(first, UINT64_MAX, first->n_renames);
        struct test *t = begin(disk);
        disk->crash_at = at;
        history(t);
        crashed = power_is_off(t);
        for (size_t i = 0; !crashed && i < EVENTS; i++)
            assert_true(t->told.acknowledged[i] && has_ended(&t->told, i));
        check_images(t, at % ONE_IN == 0, &random);
        end(t);
        tg_io_mem_free(disk);
    }
    print_message("%ld steps\n", at - 1);
    assert_true(at > 100);
    tg_io_mem_free(first);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tg-crash-XXXXXX");
    tg_log_set_fd(-1);
    vfs_begin();
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/state.db", folder);
    (void)unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step),
    };
    return cmocka_run_group_tests_name("crash", tests, set_up, tear_down);
}
