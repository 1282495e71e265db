#include "deliver/engine.h"
#include "deliver/poison.h"

#include "base/clock.h"
#include "base/helper.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mask.h"
#include "base/mem.h"
#include "deliver/destinations.h"
#include "deliver/forgotten.h"
#include "deliver/reaper.h"
#include "ingest/dedup.h"
#include "spool/partition.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "deliver/fake_host.h"
#include "deliver/partner.h"

/* What no answer, and no stop that waits for one, takes here; the process may stand still for seconds. */
enum { NEVER_MS = 300000, STOP_MS = 30000 };

/* The real spool in a temporary folder, a partner on the loopback, handlers in C. */
struct fixture {
    struct event_base *base;
    struct partner *partner;
    char dir[64];
    struct tg_helper *helper;
    struct tg_state *state;
    struct tg_partition partition;
    struct tg_cursors *cursors;
    struct tg_log *log;
    struct tg_client *client;
    struct tg_metrics *metrics;
    struct tg_engine *engine;
    struct fake *fake; /* belongs to the engine once given */
    struct tg_destination_config config;
    bool allow_private;
    uint64_t spool_bytes;
    int64_t save_ms, render_again_ms;
    struct tg_dedup *dedup;
    struct tg_shared *shared; /* NULL: each engine has its own */
    int appended;
    int64_t generation; /* 0: 1 */
    size_t want;        /* for conditions */
    const char *name, *labels;
};

static void open_spool(struct fixture *f)
{
    struct tg_err err = {0};
    struct tg_io *io = tg_io_system();
    assert_int_equal(tg_helper_new(f->base, &f->helper, &err), TG_OK);
    assert_int_equal(tg_state_open(f->dir, f->helper, &f->state, &err), TG_OK);
    assert_int_equal(tg_partition_open(f->dir, 0, &f->partition, &err), TG_OK);
    assert_int_equal(tg_cursors_open(io, f->partition.dir, f->helper, &f->cursors, &err), TG_OK);
    struct tg_log_options o = {.dir = f->partition.dir,
                               .epoch = f->partition.epoch,
                               .segment_bytes = 1 << 20,
                               .max_bytes = 64 << 20,
                               .max_pending_bytes = 8 << 20,
                               .least_next_seq = tg_cursors_highest(f->cursors) + 1,
                               .io = io,
                               .helper = f->helper,
                               .base = f->base,
                               .metrics = f->metrics};
    assert_int_equal(tg_log_open(&o, &f->log, NULL, &err), TG_OK);
}

static void close_spool(struct fixture *f)
{
    tg_helper_drain(f->helper);
    tg_log_close(&f->log);
    tg_cursors_close(&f->cursors);
    tg_partition_close(&f->partition);
    tg_helper_drain(f->helper);
    tg_state_close(&f->state);
    tg_helper_free(&f->helper);
}

static void open_engine(struct fixture *f)
{
    struct tg_client_options c = {
        .base = f->base, .egress = {.allow_private = f->allow_private}, .connect_ms = NEVER_MS};
    assert_int_equal(tg_client_new(&c, &f->client, NULL), TG_OK);
    struct tg_engine_part part = {0, f->log, f->cursors};
    struct tg_engine_options o = {.base = f->base,
                                  .http = f->client,
                                  .state = f->state,
                                  .helper = f->helper,
                                  .metrics = f->metrics,
                                  .shared = f->shared,
                                  .workers = 1,
                                  .parts = &part,
                                  .n_parts = 1,
                                  .dedup = f->dedup,
                                  .save_ms = f->save_ms,
                                  .render_again_ms = f->render_again_ms,
                                  .spool_bytes = f->spool_bytes};
    assert_int_equal(tg_engine_new(&o, &f->engine, NULL), TG_OK);
}

static int set_up(void **state)
{
    struct fixture *f = tg_calloc(1, sizeof *f);
    tg_log_set_fd(-1);
    f->base = event_base_new();
    f->partner = partner_new(f->base);
    strcpy(f->dir, "/tmp/tg-engine-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->metrics = tg_metrics_new(1);
    f->allow_private = true;
    f->config = (struct tg_destination_config){.name = (char *)"one",
                                               .enabled = true,
                                               .settings = (char *)"{}",
                                               .timeout_ms = NEVER_MS,
                                               .retry = {10, 40, 3600000}};
    open_spool(f);
    open_engine(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tg_engine_free(&f->engine);
    tg_client_free(&f->client);
    close_spool(f);
    partner_free(f->partner);
    event_base_free(f->base);
    tg_metrics_free(&f->metrics);
    tg_mask_clear();
    nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    tg_free(f);
    return 0;
}

/* --- helpers --- */

static void post_body(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    char body[256];
    snprintf(body, sizeof body, "\"%.*s\"", TG_STR_ARG(run->event->message_id));
    fake_deliver(run, (struct fake_ask){.body = body});
    fake_end(run, TG_RUN_DONE, NULL);
}

static void give(struct fixture *f)
{
    struct tg_engine_dest d = {&f->fake->dest, &f->config};
    int64_t generation = f->generation ? f->generation : 1;
    assert_int_equal(tg_engine_set_destinations(f->engine, &d, 1, generation, NULL), TG_OK);
}

static struct fake *use(struct fixture *f, void (*handler)(struct fake *, struct tg_run *))
{
    f->fake = fake_new("one", f->partner->port, handler);
    give(f);
    return f->fake;
}

static void on_appended(void *arg, int status, const char *why, uint64_t first_seq)
{
    (void)why, (void)first_seq;
    assert_int_equal(status, TG_OK);
    ((struct fixture *)arg)->appended++;
}

static bool is_appended(void *arg)
{
    return ((struct fixture *)arg)->appended > 0;
}

static void give_event(struct fixture *f, struct tg_event ev)
{
    struct tg_buf header = TG_BUF_INIT(65536);
    if (!ev.body.n)
        ev.body = TG_STR("{\"type\":\"track\"}");
    ev.source = TG_STR("web");
    ev.received_at = ev.timestamp = tg_wall_ms();
    ev.original_timestamp = ev.sent_at = TG_NO_TIME;
    assert_int_equal(tg_event_encode(&ev, &header), TG_OK);
    struct tg_record r = {.received_at = ev.received_at, .header = tg_buf_str(&header), .body = ev.body};
    assert_int_equal(tg_log_append(f->log, &r, 1, on_appended, f, NULL), TG_OK);
    tg_buf_fini(&header);
}

static void append_event(struct fixture *f, struct tg_event ev)
{
    f->appended = 0;
    give_event(f, ev);
    loop_until(f->base, is_appended, f);
}

static bool is_all_appended(void *arg)
{
    struct fixture *f = arg;
    return f->appended >= (int)f->want;
}

/* m0, m1 ... without waiting for each. */
static void append_at_once(struct fixture *f, int n)
{
    f->appended = 0;
    for (int i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        give_event(
            f, (struct tg_event){.type = TG_TRACK, .message_id = tg_str_of(id), .name = TG_STR("Bought")});
    }
    f->want = (size_t)n;
    loop_until(f->base, is_all_appended, f);
}

static void append(struct fixture *f, const char *message_id)
{
    append_event(f, (struct tg_event){
                        .type = TG_TRACK, .message_id = tg_str_of(message_id), .name = TG_STR("Bought")});
}

static bool all_settled(void *arg)
{
    struct fixture *f = arg;
    return tg_cursor_low(tg_cursors_find(f->cursors, "one")) > tg_log_last(f->log);
}

static bool has_got(void *arg)
{
    struct fixture *f = arg;
    return f->partner->n_got >= f->want;
}

static bool metric_reached(void *arg)
{
    struct fixture *f = arg;
    return tg_metric_total(f->metrics, f->name, f->labels) >= (int64_t)f->want;
}

static void wait_got(struct fixture *f, size_t n)
{
    f->want = n;
    loop_until(f->base, has_got, f);
}

static void wait_metric(struct fixture *f, const char *name, const char *labels, size_t n)
{
    f->name = name;
    f->labels = labels;
    f->want = n;
    loop_until(f->base, metric_reached, f);
}

static void wait_delivered(struct fixture *f, size_t n)
{
    wait_metric(f, "tidegate_events_delivered_total", "destination=\"one\"", n);
}

static int64_t metric(struct fixture *f, const char *name, const char *labels)
{
    return tg_metric_total(f->metrics, name, labels);
}

/* The first dead letter, copied where tests look. */
struct letter {
    int n;
    char ids[64][32];
    char reason[64], message[64], destination[64], request[4096], response[8192];
    int status;
    unsigned attempts;
};
static int keep_letter(void *arg, const struct tg_dead *d)
{
    struct letter *l = arg;
    snprintf(l->ids[l->n++], 32, "%s", d->message_id);
    snprintf(l->reason, sizeof l->reason, "%s", d->reason);
    snprintf(l->message, sizeof l->message, "%s", d->message);
    snprintf(l->destination, sizeof l->destination, "%s", d->destination);
    snprintf(l->request, sizeof l->request, "%.*s", TG_STR_ARG(d->request));
    snprintf(l->response, sizeof l->response, "%.*s", TG_STR_ARG(d->response));
    l->status = d->status;
    l->attempts = d->attempts;
    return 0;
}
static struct letter letters(struct fixture *f)
{
    struct letter l = {0};
    struct tg_dead_filter filter = {0};
    tg_helper_drain(f->helper);
    assert_int_equal(tg_state_dead_each(f->state, &filter, keep_letter, &l, NULL), TG_OK);
    return l;
}

static int count_rows(void *arg, const char *destination, int64_t count, int64_t bytes, int64_t oldest)
{
    (void)destination, (void)bytes, (void)oldest;
    *(int64_t *)arg += count;
    return 0;
}
static int64_t retry_rows(struct fixture *f)
{
    int64_t n = 0;
    tg_helper_drain(f->helper);
    assert_int_equal(tg_state_retry_counts(f->state, count_rows, &n, NULL), TG_OK);
    return n;
}

static void on_stopped(void *arg)
{
    *(int *)arg = 1;
}
static bool is_set(void *arg)
{
    return *(int *)arg != 0;
}

static void stop_within(struct fixture *f, int64_t ms)
{
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + ms, on_stopped, &stopped);
    loop_until(f->base, is_set, &stopped);
    tg_engine_free(&f->engine);
    tg_client_free(&f->client);
}

static void stop(struct fixture *f)
{
    stop_within(f, STOP_MS);
}

/* Stops everything and starts it again from what is on disk. */
static void reopen(struct fixture *f, void (*handler)(struct fake *, struct tg_run *))
{
    stop(f);
    close_spool(f);
    open_spool(f);
    open_engine(f);
    use(f, handler);
}

static bool cursors_are_saved(void *arg)
{
    struct fixture *f = arg;
    return tg_cursors_saved_low(f->cursors) > tg_log_last(f->log);
}

static bool old_segment_is_gone(void *arg)
{
    struct fixture *f = arg;
    return tg_log_first(f->log) > 1;
}

/* What is settled leaves the disk when its messageIds are kept there, and not before. */
static void keeps_events_until_their_ids_are_kept(void **state)
{
    static _Alignas(16) unsigned char memory[64 * 1024];
    struct fixture *f = *state;
    stop(f);
    assert_true(tg_dedup_bytes(16) <= sizeof memory);
    memset(memory, 0, sizeof memory);
    assert_int_equal(tg_dedup_init(&f->dedup, memory, 16, 3600000), TG_OK);
    tg_dedup_add(f->dedup, TG_STR("web"), TG_STR("m1"), tg_wall_ms());
    f->spool_bytes = 64 << 20;
    f->save_ms = 5;
    open_engine(f);
    use(f, post_body);
    append(f, "m1");
    wait_delivered(f, 1);
    reopen(f, post_body);
    append(f, "m2");
    wait_delivered(f, 2);
    loop_until(f->base, cursors_are_saved, f);
    for (int64_t until = tg_mono_ms() + 20 * f->save_ms; tg_mono_ms() < until;)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(tg_log_first(f->log), 1);
    tg_dedup_kept(f->dedup, tg_dedup_mark(f->dedup));
    loop_until(f->base, old_segment_is_gone, f);
}

static const char *status_of(struct fixture *f, const char *member)
{
    static char text[128];
    struct tg_buf json = TG_BUF_INIT(65536);
    struct tg_str whole, value;
    assert_int_equal(tg_engine_status(f->engine, &json), TG_OK);
    assert_int_equal(tg_json_validate(tg_buf_str(&json), 8, &whole, NULL), TG_OK);
    char path[64];
    snprintf(path, sizeof path, "0.%s", member);
    value = tg_json_path(whole, tg_str_of(path));
    snprintf(text, sizeof text, "%.*s", TG_STR_ARG(value));
    tg_buf_fini(&json);
    return text;
}

/* --- delivering --- */

/* An event arrives at the partner, is counted, and the cursor passes it. */
static void delivers(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    append(f, "m1");
    wait_delivered(f, 1);
    append(f, "m2");
    wait_delivered(f, 2);
    assert_string_equal(f->partner->got[0].body, "\"m1\"");
    assert_string_equal(f->partner->got[1].body, "\"m2\"");
    assert_true(all_settled(f));
    assert_int_equal(metric(f, "tidegate_requests_total", "destination=\"one\",status=\"2xx\""), 2);
    assert_string_equal(status_of(f, "state"), "\"running\"");
    assert_string_equal(status_of(f, "backlog_events"), "0");
}

/* What was delivered stays delivered over a restart; what came meanwhile is not lost. */
static void continues_after_a_restart(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    append(f, "m1");
    wait_delivered(f, 1);
    stop(f);
    append(f, "m2");
    close_spool(f);
    open_spool(f);
    open_engine(f);
    use(f, post_body);
    wait_delivered(f, 2);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[1].body, "\"m2\"");
}

/* A destination that is new begins at the next event, at a start and at a reload. */
static void begins_at_the_next_event(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 1, NULL), TG_OK);
    append(f, "old");
    use(f, post_body);
    append(f, "new");
    wait_delivered(f, 1);
    assert_int_equal(f->partner->n_got, 1);
    assert_string_equal(f->partner->got[0].body, "\"new\"");
    f->config.name = (char *)"two";
    reopen(f, post_body);
    append(f, "newer");
    wait_metric(f, "tidegate_events_delivered_total", "destination=\"two\"", 1);
    assert_int_equal(f->partner->n_got, 2);
}

/* Where the cursors were lost it begins at the first event that is stored. */
static void begins_at_the_first_event_without_cursors(void **state)
{
    struct fixture *f = *state;
    append(f, "old");
    use(f, post_body);
    wait_delivered(f, 1);
    append(f, "new");
    wait_delivered(f, 2);
    assert_string_equal(f->partner->got[0].body, "\"old\"");
}

/* Hundreds of events, more than are under way at once, all go through, each once. */
static void delivers_many(void **state)
{
    struct fixture *f = *state;
    struct fake *fake = fake_new("one", f->partner->port, post_body);
    f->fake = fake;
    give(f);
    for (int i = 0; i < 400; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        append(f, id);
    }
    wait_delivered(f, 400);
    assert_true(all_settled(f));
    assert_int_equal(f->partner->n_got, 400);
}

static void skip_it(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_end(run, TG_RUN_SKIP, "no_identity");
}
static void do_nothing(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_end(run, TG_RUN_DONE, NULL);
}

/* Skips settle at once and are counted by reason; a handler without a delivery is one too. */
static void skips(void **state)
{
    struct fixture *f = *state;
    use(f, skip_it);
    append(f, "m1");
    wait_metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"no_identity\"", 1);
    f->fake->handler = do_nothing;
    append(f, "m2");
    wait_metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"no_request\"", 1);
    assert_true(all_settled(f));
}

/* The gates keep events away that are not for this destination, without running the script. */
static void gates(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    append_event(f, (struct tg_event){.type = TG_PAGE, .message_id = TG_STR("page")});
    append_event(f, (struct tg_event){.type = TG_TRACK,
                                      .message_id = TG_STR("off"),
                                      .body = TG_STR("{\"integrations\":{\"Fake\":false}}")});
    append_event(f, (struct tg_event){.type = TG_TRACK,
                                      .message_id = TG_STR("on"),
                                      .body = TG_STR("{\"integrations\":{\"All\":false,\"Fake\":{}}}")});
    wait_delivered(f, 1);
    assert_int_equal(f->fake->started, 1);
    assert_int_equal(
        metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"type_not_accepted\""), 1);
    assert_int_equal(
        metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"integration_off\""), 1);
}

/* --- failing --- */

/* A reject becomes a dead letter that shows request and response without the secrets, and the next event goes
 * on. */
static void rejects(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner,
                   (struct partner_answer){.status = 422, .headers = "X-Why: bad\n", .body = "no such sku"});
    use(f, post_body);
    append(f, "m1");
    append(f, "m2");
    wait_delivered(f, 1);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_422\"", 1);
    assert_true(all_settled(f));
    struct letter l = letters(f);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.reason, "http_422");
    assert_string_equal(l.destination, "one");
    assert_int_equal(l.status, 422);
    assert_int_equal(l.attempts, 1);
    assert_non_null(strstr(l.request, "POST http://127.0.0.1"));
    assert_non_null(strstr(l.request, "Authorization: ***"));
    assert_null(strstr(l.request, "secret-token"));
    assert_non_null(strstr(l.response, "422"));
    assert_non_null(strstr(l.response, "no such sku"));
}

/* A partner that gives back what it got does not carry credentials into the dead letter, not even a cut half.
 */
static void rejects_echo(void **state)
{
    struct fixture *f = *state;
    char body[9000] = "Bearer secret-token, then secret-token alone; ";
    size_t n = strlen(body), limit = 4096 + 4096; /* what is looked at of a response */
    memset(body + n, 'x', sizeof body - n - 1);
    memcpy(body + limit - 6, "secret-token", 12);
    partner_script(f->partner, (struct partner_answer){
                                   .status = 422, .headers = "X-Echo: Bearer secret-token\n", .body = body});
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_422\"", 1);
    struct letter l = letters(f);
    assert_int_equal(l.n, 1);
    assert_non_null(strstr(l.response, "X-Echo: ***"));
    assert_non_null(strstr(l.response, "***, then *** alone; xxx"));
    assert_null(strstr(l.response, "secre"));
}

static void made_up(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "{\"password\":\"made-up&1\"}", .secret = "made-up&1"});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* What a script calls a secret of its request is nowhere in the dead letter, not even in the partner's words.
 */
static void rejects_without_the_secret(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 422, .body = "made-up&1 is too weak"});
    use(f, made_up);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_422\"", 1);
    struct letter l = letters(f);
    assert_int_equal(l.n, 1);
    assert_non_null(strstr(l.request, "{\"password\":\"***\"}"));
    assert_non_null(strstr(l.response, "*** is too weak"));
}

static void bug(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_end(run, TG_RUN_ERROR, "script_error");
}

/* An uncaught error is a dead letter, as is what the script rejects. */
static void script_errors(void **state)
{
    struct fixture *f = *state;
    use(f, bug);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"script_error\"", 1);
    assert_true(all_settled(f));
    assert_int_equal(letters(f).n, 1);
}

/* A 500 is tried again until it succeeds; meanwhile the cursor moves on, and the row goes away at the end. */
static void retries(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 500});
    partner_script(f->partner, (struct partner_answer){.status = 200});
    partner_script(f->partner, (struct partner_answer){.status = 503});
    use(f, post_body);
    append(f, "m1");
    append(f, "m2");
    wait_delivered(f, 2);
    assert_true(all_settled(f));
    wait_got(f, 4);
    assert_int_equal(metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"http_500\""),
                     1);
    stop(f);
    assert_int_equal(retry_rows(f), 0);
    open_engine(f);
}

/* A row outlives the daemon. */
static void retries_after_a_restart(void **state)
{
    struct fixture *f = *state;
    f->config.retry.first_ms = f->config.retry.max_ms = 300;
    f->partner->otherwise.status = 500;
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"http_500\"", 1);
    f->partner->otherwise.status = 200;
    reopen(f, post_body);
    wait_delivered(f, 1);
    assert_int_equal(letters(f).n, 0);
}

static void two_calls(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "\"first\""});
    fake_deliver(run, (struct fake_ask){.body = "\"second\""});
    fake_end(run, TG_RUN_DONE, NULL);
}

static struct partner_answer second_fails_once(void *arg, const struct partner_got *got)
{
    int *failed = arg;
    if (strcmp(got->body, "\"second\"") == 0 && !(*failed)++)
        return (struct partner_answer){.status = 500};
    return (struct partner_answer){.status = 200};
}

/* Nothing is sent twice for a neighbour's failure. */
static void does_not_repeat_what_succeeded(void **state)
{
    struct fixture *f = *state;
    int failed = 0;
    f->partner->decide = second_fails_once;
    f->partner->arg = &failed;
    use(f, two_calls);
    append(f, "m1");
    wait_delivered(f, 1);
    int firsts = 0;
    for (size_t i = 0; i < f->partner->n_got; i++)
        firsts += strcmp(f->partner->got[i].body, "\"first\"") == 0;
    assert_int_equal(firsts, 1);
    assert_int_equal(f->partner->n_got, 3);
}

/* When the deadline has passed the last failure's reason goes into the dead letter, with the last request and
 * answer. */
static void gives_up_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    f->config.retry = (struct tg_retry_config){10, 20, 60};
    f->partner->otherwise = (struct partner_answer){.status = 503, .body = "closed"};
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_503\"", 1);
    struct letter l = letters(f);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.reason, "http_503");
    assert_true(l.attempts > 1);
    assert_int_equal(l.attempts, f->partner->n_got);
    assert_non_null(strstr(l.response, "closed"));
    assert_int_equal(retry_rows(f), 0);
}

/* A partner that is down opens the breaker: the backlog stays in the log instead of becoming rows, and goes
 * out when it is back. */
static void stands_still_while_the_partner_is_down(void **state)
{
    struct fixture *f = *state;
    partner_close(f->partner);
    use(f, post_body);
    append_at_once(f, 100);
    wait_metric(f, "tidegate_requests_total", "destination=\"one\",status=\"none\"", 5);
    assert_true(retry_rows(f) < 20);
    assert_false(all_settled(f));
    partner_listen(f->partner);
    wait_delivered(f, 100);
    assert_true(f->partner->n_got >= 100);
    assert_true(all_settled(f));
}

/* A private address is refused: the reason says so, the event is kept. */
static void refuses_private_addresses(void **state)
{
    struct fixture *f = *state;
    stop(f);
    f->allow_private = false;
    open_engine(f);
    struct fake *fake = fake_new("one", f->partner->port, post_body);
    snprintf(fake->url, sizeof fake->url, "https://127.0.0.1:%d/", f->partner->port);
    f->fake = fake;
    give(f);
    append(f, "m1");
    wait_metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"egress_refused\"", 1);
    assert_int_equal(f->partner->n_got, 0);
}

/* --- parking and pausing --- */

/* 401 parks: nothing is dropped, also over a restart; resume sends everything. */
static void parks_on_401(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = 401;
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    append(f, "m2"); /* not before: under way by now it would be answered with the 200 below */
    assert_string_equal(status_of(f, "state"), "\"parked\"");
    assert_string_equal(status_of(f, "parked_reason"), "\"http_401\"");
    f->partner->otherwise.status = 200;
    reopen(f, post_body);
    assert_string_equal(status_of(f, "state"), "\"parked\"");
    assert_string_equal(status_of(f, "parked_reason"), "\"http_401\"");
    append(f, "m3");
    assert_int_equal(letters(f).n, 0);
    assert_int_equal(metric(f, "tidegate_events_delivered_total", "destination=\"one\""), 0);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 3);
    assert_true(all_settled(f));
    assert_int_equal(metric(f, "tidegate_destination_parked", "destination=\"one\""), 0);
    assert_int_equal(tg_engine_resume(f->engine, "nobody"), TG_NOTFOUND);
}

/* A reload with other settings resumes a parked destination; one with the same does not. The old script goes
 * when its runs have. */
static void reload_resumes(void **state)
{
    struct fixture *f = *state;
    int freed = 0;
    f->partner->otherwise.status = 401;
    use(f, post_body)->freed = &freed;
    append(f, "m1");
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    f->partner->otherwise.status = 200;
    use(f, post_body);
    assert_int_equal(freed, 1);
    assert_string_equal(status_of(f, "state"), "\"parked\"");
    f->config.settings = (char *)"{\"key\":\"other\"}";
    use(f, post_body);
    wait_delivered(f, 1);
}

static bool is_held(void *arg)
{
    return ((struct fixture *)arg)->partner->n_held > 0;
}

/* A 401 or 403 that a request with the old key gets after a reload has brought a new one says nothing of
 * that: its event goes out with the new one, and nothing is parked or refused. */
static void an_old_key_parks_nothing(void **state)
{
    struct fixture *f = *state;
    const int statuses[] = {401, 403, 403};
    f->config.settings = (char *)"{\"key\":\"0\"}";
    use(f, post_body);
    for (int i = 0; i < 3; i++) {
        char settings[32];
        f->partner->otherwise.status = -1;
        append(f, "m");
        loop_until(f->base, is_held, f);
        f->generation = i + 2;
        snprintf(settings, sizeof settings, "{\"key\":\"%d\"}", i + 1);
        f->config.settings = settings;
        use(f, post_body);
        f->partner->otherwise.status = 200;
        partner_release(f->partner, (struct partner_answer){.status = statuses[i]});
        wait_delivered(f, (size_t)i + 1);
        assert_int_equal(f->partner->n_got, 2 * (i + 1));
    }
    assert_string_equal(status_of(f, "state"), "\"running\"");
    assert_int_equal(letters(f).n, 0);
    assert_int_equal(metric(f, "tidegate_destination_parked", "destination=\"one\""), 0);
}

static bool are_both_held(void *arg)
{
    return ((struct fixture *)arg)->partner->n_held == 2;
}

/* Nor does a 401 that comes when a person has had the destination go on, to what was sent before that. */
static void a_late_401_does_not_undo_resume(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, post_body);
    append(f, "m1");
    append(f, "m2");
    loop_until(f->base, are_both_held, f);
    partner_release(f->partner, (struct partner_answer){.status = 401});
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    f->partner->otherwise.status = 200;
    partner_release(f->partner, (struct partner_answer){.status = 401});
    wait_delivered(f, 2);
    assert_int_equal(f->partner->n_got, 4);
    assert_int_equal(metric(f, "tidegate_destination_parked", "destination=\"one\""), 0);
}

/* One 403 is the event's fault, the second without a success between is the destination's: it is kept. */
static void parks_on_the_second_403(void **state)
{
    struct fixture *f = *state;
    f->config.concurrency = 1;
    f->partner->otherwise.status = 403;
    use(f, post_body);
    append(f, "m1");
    append(f, "m2");
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_403\"", 1);
    assert_int_equal(letters(f).n, 1);
    assert_false(all_settled(f));
    f->partner->otherwise.status = 200;
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 1);
    assert_int_equal(letters(f).n, 1);
}

/* Retry-After pauses the whole destination. */
static void honours_retry_after(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 429, .headers = "Retry-After: 1\n"});
    f->config.concurrency = 1;
    use(f, post_body);
    int64_t before = tg_mono_ms();
    append(f, "m1");
    wait_got(f, 1);
    append(f, "m2");
    wait_delivered(f, 2);
    assert_true(tg_mono_ms() - before >= 900);
}

/* The operator's pause holds over a restart until resume. */
static void pauses(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append(f, "m1");
    reopen(f, post_body);
    assert_string_equal(status_of(f, "state"), "\"paused\"");
    assert_string_equal(status_of(f, "backlog_events"), "1");
    assert_int_equal(f->partner->n_got, 0);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 1);
}

/* A worker that is started again while another one resumes finds the old order in the state: what all know
 * goes before it, for each of the three that resume ends. */
static void a_restart_does_not_undo_resume(void **state)
{
    struct fixture *f = *state;
    static const char *const kinds[] = {"park", "hold", "pause"};
    char until[32];
    snprintf(until, sizeof until, "%lld", (long long)(tg_wall_ms() + 3600000));
    f->shared = tg_shared_new();
    for (int i = 0; i < 3; i++)
        assert_int_equal(tg_state_put_fact(f->state, kinds[i], "one", tg_str_of(until), NULL, NULL), TG_OK);
    reopen(f, post_body);
    assert_string_equal(status_of(f, "state"), "\"parked\"");
    append(f, "m1");
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tg_state_put_fact(f->state, kinds[i], "one", tg_str_of(until), NULL, NULL), TG_OK);
    reopen(f, post_body);
    assert_string_equal(status_of(f, "state"), "\"running\"");
    append(f, "m2");
    wait_delivered(f, 2);
    stop(f);
    tg_shared_free(&f->shared);
    open_engine(f);
}

/* --- batches, keys --- */

static void post_batch(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    char body[256];
    snprintf(body, sizeof body, "\"%.*s\"", TG_STR_ARG(run->event->message_id));
    fake_deliver(run, (struct fake_ask){.body = body, .batch = "b"});
    fake_end(run, TG_RUN_DONE, NULL);
}

static struct tg_batch_spec batch_spec;

/* A batch waits until it is full: the events of one may be read in several turns of the loop. */
static struct fake *use_batches(struct fixture *f, size_t max_items)
{
    batch_spec = (struct tg_batch_spec){.name = (char *)"b", .max_items = max_items, .max_wait_ms = NEVER_MS};
    f->fake = fake_new("one", f->partner->port, post_batch);
    f->fake->dest.batches = &batch_spec;
    f->fake->dest.n_batches = 1;
    assert_int_equal(tg_engine_pause(f->engine, "nobody"), TG_NOTFOUND);
    give(f);
    return f->fake;
}

/* Appends n events while the destination is paused, so that they meet in one batch. */
static void append_together(struct fixture *f, int n)
{
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    for (int i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        append(f, id);
    }
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
}

/* Equal deliveries go out together: a full batch at once, what is left of them after its wait. */
static void batches(void **state)
{
    struct fixture *f = *state;
    use_batches(f, 4);
    append_together(f, 4);
    wait_delivered(f, 4);
    assert_int_equal(f->partner->n_got, 1);
    assert_string_equal(f->partner->got[0].body, "[\"m0\",\"m1\",\"m2\",\"m3\"]");
    use_batches(f, 4);
    batch_spec.max_wait_ms = 50;
    int64_t before = tg_mono_ms();
    append(f, "m4");
    wait_delivered(f, 5);
    assert_true(tg_mono_ms() - before >= 50);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[1].body, "[\"m4\"]");
}

static struct partner_answer refuse_m2(void *arg, const struct partner_got *got)
{
    (void)arg;
    return (struct partner_answer){.status = strstr(got->body, "\"m2\"") ? 400 : 200};
}

/* A rejected batch is halved until the bad one is alone. */
static void halves(void **state)
{
    struct fixture *f = *state;
    f->partner->decide = refuse_m2;
    use_batches(f, 8);
    append_together(f, 8);
    wait_delivered(f, 7);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_400\"", 1);
    struct letter l = letters(f);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.ids[0], "m2");
    assert_true(all_settled(f));
}

static int by_body(struct tg_request *const *requests, size_t n, const struct tg_response *response,
                   struct tg_verdict *each)
{
    (void)response;
    for (size_t i = 0; i < n; i++) {
        each[i] = (struct tg_verdict){.outcome = TG_OUTCOME_OK, .by_script = true};
        if (strstr(requests[i]->body, "m1"))
            each[i] = (struct tg_verdict){TG_OUTCOME_REJECT, "bad_item", "m1 is not welcome", true};
    }
    return 1;
}

static int none_by_split(struct tg_request *const *requests, size_t n, const struct tg_response *response,
                         struct tg_verdict *each)
{
    if (n > 1 && tg_str_is(response->body, "bad"))
        return 0;
    return by_body(requests, n, response, each);
}

static struct partner_answer bad_with_m1(void *arg, const struct partner_got *got)
{
    (void)arg;
    return (struct partner_answer){.status = 200, .body = strstr(got->body, "m1") ? "bad" : "good"};
}

/* A split that returns nil says that the whole call failed: it is halved, and nobody is warned. */
static void halves_when_split_says_nothing(void **state)
{
    struct fixture *f = *state;
    f->partner->decide = bad_with_m1;
    use_batches(f, 4)->split = none_by_split;
    batch_spec.has_split = true;
    append_together(f, 4);
    wait_delivered(f, 3);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"bad_item\"", 1);
    assert_int_equal(f->partner->n_got, 5); /* 4, 2, 1, 1, 2 */
    assert_string_equal(letters(f).ids[0], "m1");
}

/* A batch is joined when it is sent, not when it enters the queue, so that its signature is fresh. */
static void joins_when_it_sends(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = -1});
    f->config.concurrency = 1;
    struct fake *fake = use_batches(f, 1);
    append(f, "m0");
    wait_got(f, 1);
    for (int i = 0; i < 3; i++)
        append(f, "m");
    while (fake->started < 4)
        event_base_loop(f->base, EVLOOP_ONCE);
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_int_equal(fake->joined, 1);
    partner_release(f->partner, (struct partner_answer){.status = 200});
    wait_delivered(f, 4);
    assert_int_equal(fake->joined, 4);
}

static int said_403(const struct tg_response *response, struct tg_verdict *verdict)
{
    if (response->status != 403)
        return 0;
    *verdict = (struct tg_verdict){TG_OUTCOME_REJECT, "closed", "", true};
    return 1;
}

/* A 403 that the script's judge has decided is the event's, however many there are. */
static void judged_403_does_not_park(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = 403;
    f->fake = fake_new("one", f->partner->port, post_body);
    f->fake->judge = said_403;
    give(f);
    for (int i = 0; i < 4; i++)
        append(f, "m");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"closed\"", 4);
    assert_int_equal(metric(f, "tidegate_destination_parked", "destination=\"one\""), 0);
    assert_true(all_settled(f));
}

/* split gives each item its own outcome; the dead letter has the partner's words, also as what was answered,
 * and the request that the event would have made alone: the others' data are not kept with it. */
static void splits(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise = (struct partner_answer){.status = 200, .body = "m0 m2 fine, m1 is not welcome"};
    use_batches(f, 3)->split = by_body;
    batch_spec.has_split = true;
    append_together(f, 3);
    wait_delivered(f, 2);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"bad_item\"", 1);
    assert_int_equal(f->partner->n_got, 1);
    struct letter l = letters(f);
    assert_string_equal(l.ids[0], "m1");
    assert_string_equal(l.message, "m1 is not welcome");
    assert_int_equal(strncmp(l.request, "# item 2 of the 3 of its batch\nPOST ", 36), 0);
    assert_non_null(strstr(l.request, "m1"));
    assert_null(strstr(l.request, "m0"));
    assert_null(strstr(l.request, "m2"));
    assert_int_equal(strncmp(l.response, "200\n", 4), 0);
    assert_non_null(strstr(l.response, "\n\nm1 is not welcome"));
    assert_null(strstr(l.response, "m0"));
    assert_null(strstr(l.response, "m2"));
}

/* An item that join cannot take does not hold up the others. */
static void join_failures_are_isolated(void **state)
{
    struct fixture *f = *state;
    use_batches(f, 4);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append(f, "a");
    append(f, "unjoinable");
    append(f, "c");
    append(f, "d");
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 3);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"script_error\"", 1);
    assert_string_equal(letters(f).ids[0], "unjoinable");
}

/* A batch that is too large for the script's memory is halved until it is not. */
static void joins_what_memory_holds(void **state)
{
    struct fixture *f = *state;
    use_batches(f, 4)->most_joined = 2;
    append_together(f, 4);
    wait_delivered(f, 4);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[0].body, "[\"m0\",\"m1\"]");
    assert_int_equal(retry_rows(f), 0);
}

static void post_with_key(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "1", .key = "same"});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* Deliveries of one key go one after the other. */
static void serialises_keys(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, post_with_key);
    append_together(f, 5);
    for (size_t i = 1; i <= 5; i++) {
        wait_got(f, i);
        assert_int_equal(f->partner->n_held, 1);
        partner_release(f->partner, (struct partner_answer){0});
    }
    wait_delivered(f, 5);
    assert_int_equal(f->partner->most_in_flight, 1);
}

static void ask_together(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "1", .share = true, .repeatable = true});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* Equal requests that may share are one request, whose answer is everybody's, those that come while it is
 * under way too; when it fails it fails for all. */
static void shares_answers(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, ask_together);
    append_together(f, 5);
    wait_got(f, 1);
    append_together(f, 3);
    while (f->fake->started < 8)
        event_base_loop(f->base, EVLOOP_ONCE);
    assert_int_equal(f->partner->n_got, 1);
    partner_release(f->partner, (struct partner_answer){0});
    wait_delivered(f, 8);
    append_together(f, 4);
    wait_got(f, 2);
    while (f->fake->started < 12)
        event_base_loop(f->base, EVLOOP_ONCE);
    partner_release(f->partner, (struct partner_answer){.status = 400});
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_400\"", 4);
    assert_int_equal(f->partner->n_got, 2);
    assert_true(all_settled(f));
}

static void post_with_token(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "1", .authorized = true});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* A 401 to what was sent with a token makes the event run again with another one; not so often that a key
 * which is refused for good would not park. */
static void renews_tokens_once(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 401});
    use(f, post_with_token);
    f->fake->token = 1;
    append(f, "m");
    wait_delivered(f, 1);
    assert_int_equal(f->fake->token, 2);
    assert_int_equal(f->fake->started, 2);
    assert_int_equal(metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"http_401\""),
                     0);
    f->partner->otherwise.status = 401;
    append(f, "m");
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    assert_int_equal(f->partner->n_got, 4);
    assert_int_equal(f->fake->token, 4);
}

static bool has_started(void *arg)
{
    struct fixture *f = arg;
    return f->fake->started >= (int)f->want;
}

/* What waits for its turn while its token ends is not sent with it. */
static void does_not_send_ended_tokens(void **state)
{
    struct fixture *f = *state;
    f->config.concurrency = 1;
    f->partner->otherwise.status = -1;
    use(f, post_with_token);
    f->fake->token = 1;
    append_together(f, 3);
    wait_got(f, 1);
    f->want = 3;
    loop_until(f->base, has_started, f);
    assert_int_equal(f->fake->started, 3);
    f->fake->token = 2;
    partner_release(f->partner, (struct partner_answer){0});
    wait_got(f, 2);
    f->want = 5;
    loop_until(f->base, has_started, f);
    f->partner->otherwise.status = 200;
    partner_release(f->partner, (struct partner_answer){0});
    wait_delivered(f, 3);
    assert_int_equal(f->fake->started, 5);
    assert_int_equal(f->partner->n_got, 3);
}

static void post_with_fleeting_token(struct fake *fake, struct tg_run *run)
{
    fake_deliver(run, (struct fake_ask){.body = "1", .authorized = true});
    fake->token++; /* has ended before it can be used */
    fake_end(run, TG_RUN_DONE, NULL);
}

/* Tokens that end before anything can be sent do not keep everything from being sent. */
static void sends_with_fleeting_tokens(void **state)
{
    struct fixture *f = *state;
    use(f, post_with_fleeting_token);
    f->fake->token = 1;
    append_together(f, 2);
    wait_delivered(f, 2);
}

/* Nor does the work grow with the square of what waits: where no token ever holds, each event runs again a
 * few times at most. */
static void fleeting_tokens_cost_little(void **state)
{
    enum { EVENTS = 200 };
    struct fixture *f = *state;
    use(f, post_with_fleeting_token);
    f->fake->token = 1;
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    for (int i = 0; i < EVENTS; i++)
        append(f, "m");
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, EVENTS);
    assert_in_range(f->fake->started, EVENTS, 5 * EVENTS);
}

/* No more requests at once than the configuration allows; at first two, one more with each success. */
static void limits_concurrency(void **state)
{
    struct fixture *f = *state;
    f->config.concurrency = 3;
    f->partner->otherwise.status = -1;
    use(f, post_body);
    append_together(f, 7);
    for (size_t done = 0; done < 7; done++) {
        wait_got(f, done == 0 ? 2 : done + 3 < 7 ? done + 3 : 7);
        if (done == 0)
            assert_int_equal(f->partner->most_in_flight, 2);
        partner_release(f->partner, (struct partner_answer){0});
    }
    wait_delivered(f, 7);
    assert_int_equal(f->partner->most_in_flight, 3);
}

static void post_at_rate(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "1", .rate = "r"});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* A declared rate holds. */
static void keeps_rates(void **state)
{
    struct fixture *f = *state;
    struct tg_rate rate = {.name = (char *)"r", .per_second = 20, .burst = 1};
    f->fake = fake_new("one", f->partner->port, post_at_rate);
    f->fake->dest.rates = &rate;
    f->fake->dest.n_rates = 1;
    give(f);
    int64_t before = tg_mono_ms();
    append_together(f, 6);
    wait_delivered(f, 6);
    assert_true(tg_mono_ms() - before >= 240);
    tg_engine_free(&f->engine); /* the rate is on our stack */
    tg_client_free(&f->client);
    open_engine(f);
}

static void post_arg(struct fake *fake, struct tg_run *run)
{
    fake_deliver(run, (struct fake_ask){.body = fake->arg, .rate = "r"});
    fake_end(run, TG_RUN_DONE, NULL);
}

static void use_rate(struct fixture *f, struct tg_rate *rate, const char *body)
{
    f->fake = fake_new("one", f->partner->port, post_arg);
    f->fake->arg = (void *)(uintptr_t)body;
    f->fake->dest.rates = rate;
    f->fake->dest.n_rates = 1;
    give(f);
}

static bool is_rate_limited(void *arg)
{
    return strcmp(status_of(arg, "state"), "\"rate_limited\"") == 0;
}

/* A reload that raises a rate counts at once, also for what waits already. */
static void a_raised_rate_counts_at_once(void **state)
{
    struct fixture *f = *state;
    struct tg_rate slow = {.name = (char *)"r", .per_second = 0.001, .burst = 1};
    struct tg_rate fast = {.name = (char *)"r", .per_second = 1000, .burst = 1000};
    use_rate(f, &slow, "\"old\"");
    append_together(f, 3);
    wait_got(f, 1);
    loop_until(f->base, is_rate_limited, f);
    use_rate(f, &fast, "\"new\"");
    wait_delivered(f, 3);
    tg_engine_free(&f->engine); /* the rates are on our stack */
    tg_client_free(&f->client);
    open_engine(f);
}

/* What waits for its rate when a reload brings other settings goes out with those. */
static void what_waits_takes_new_settings(void **state)
{
    struct fixture *f = *state;
    struct tg_rate slow = {.name = (char *)"r", .per_second = 0.001, .burst = 1};
    struct tg_rate fast = {.name = (char *)"r", .per_second = 1000, .burst = 1000};
    use_rate(f, &slow, "\"old\"");
    append_together(f, 3);
    wait_got(f, 1);
    f->config.settings = (char *)"{\"key\":\"other\"}";
    f->generation = 2;
    use_rate(f, &fast, "\"new\"");
    wait_delivered(f, 3);
    assert_string_equal(f->partner->got[0].body, "\"old\"");
    assert_string_equal(f->partner->got[1].body, "\"new\"");
    assert_string_equal(f->partner->got[2].body, "\"new\"");
    tg_engine_free(&f->engine); /* the rates are on our stack */
    tg_client_free(&f->client);
    open_engine(f);
}

static unsigned times_run;

static void post_and_count(struct fake *fake, struct tg_run *run)
{
    char body[16];
    (void)fake;
    snprintf(body, sizeof body, "%u", ++times_run);
    fake_deliver(run, (struct fake_ask){.body = body, .rate = "r"});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* A request that has waited for its rate for long is made anew when its turn has come, and is the next to go:
 * each event once, what goes out is young, and none waits for ever. */
static void renders_again(void **state)
{
    struct fixture *f = *state;
    struct tg_rate rate = {.name = (char *)"r", .per_second = 4, .burst = 1};
    tg_engine_free(&f->engine);
    tg_client_free(&f->client);
    f->render_again_ms = 100;
    open_engine(f);
    times_run = 0;
    f->fake = fake_new("one", f->partner->port, post_and_count);
    f->fake->dest.rates = &rate;
    f->fake->dest.n_rates = 1;
    give(f);
    append_together(f, 4);
    wait_delivered(f, 4);
    assert_int_equal(f->partner->n_got, 4);
    assert_int_equal(times_run, 4 + 3);
    assert_string_equal(f->partner->got[0].body, "1");
    for (size_t i = 1; i < 4; i++)
        assert_true(atoi(f->partner->got[i].body) > 4);
    tg_engine_free(&f->engine); /* the rate is on our stack */
    tg_client_free(&f->client);
    f->render_again_ms = 0;
    open_engine(f);
}

static void chain(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_deliver(run, (struct fake_ask){.body = "\"search\""});
}
static void chain_goes_on(struct fake *fake, struct tg_run *run, unsigned call)
{
    (void)fake;
    if (call == 1)
        fake_deliver(run, (struct fake_ask){.body = "\"change\""});
    else
        fake_end(run, TG_RUN_DONE, NULL);
}

/* A handler that waits for an answer goes on with it. */
static void chains(void **state)
{
    struct fixture *f = *state;
    use(f, chain)->resumed = chain_goes_on;
    append(f, "m1");
    wait_delivered(f, 1);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[1].body, "\"change\"");
    assert_int_equal(f->fake->freed_runs, 1);
}

/* --- faults of the script host, strikes, removal --- */

static void memory_twice(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    fake_end(run, TG_RUN_MEMORY, "script_memory");
}

/* Out of memory: once more, then a dead letter. */
static void out_of_memory_twice(void **state)
{
    struct fixture *f = *state;
    use(f, memory_twice);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"script_memory\"", 1);
    assert_int_equal(f->fake->started, 2);
}

static void rebuilt_once(struct fake *fake, struct tg_run *run)
{
    if (fake->started == 1)
        fake_end(run, TG_RUN_RETRY, "state_rebuilt");
    else
        post_body(fake, run);
}

/* A run that ended because another's state was rebuilt starts again at once, and nothing counts as failed. */
static void runs_again_after_a_rebuild(void **state)
{
    struct fixture *f = *state;
    use(f, rebuilt_once);
    append(f, "m1");
    wait_delivered(f, 1);
    assert_int_equal(f->fake->started, 2);
    assert_int_equal(retry_rows(f), 0);
}

/* An event that took the process with it twice is not run again. */
static void two_strikes(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    uint64_t seq = tg_log_last(f->log) + 1;
    assert_int_equal(tg_engine_strike(f->engine, "one", seq, "script_crash"), TG_OK);
    reopen(f, post_body);
    seq = tg_log_last(f->log) + 1;
    assert_int_equal(tg_engine_strike(f->engine, "one", seq, "script_crash"), TG_OK);
    assert_int_equal(tg_engine_strike(f->engine, "one", seq, "script_timeout"), TG_OK);
    append(f, "poison");
    append(f, "fine");
    wait_delivered(f, 1);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"script_timeout\"", 1);
    assert_string_equal(letters(f).ids[0], "poison");
    assert_int_equal(f->partner->n_got, 1);
}

/* Strikes of the event that has the same number in another partition are not this one's. */
static void strikes_of_another_partition(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    uint64_t mark = tg_poison_mark(7, tg_log_last(f->log) + 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tg_engine_strike(f->engine, "one", mark, "script_crash"), TG_OK);
    append(f, "fine");
    wait_delivered(f, 1);
    assert_int_equal(f->partner->n_got, 1);
}

/* A destination that goes from the configuration stops, keeps its cursor, and continues there when it comes
 * back. */
static void removal_keeps_the_cursor(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    append(f, "m1");
    wait_delivered(f, 1);
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    append(f, "m2");
    assert_true(tg_cursor_removed_at(tg_cursors_find(f->cursors, "one")) > 0);
    assert_string_equal(status_of(f, "state"), "\"removed\"");
    assert_string_equal(status_of(f, "backlog_events"), "1");
    use(f, post_body);
    wait_delivered(f, 2);
    assert_string_equal(status_of(f, "state"), "\"running\"");
    assert_int_equal(tg_cursor_removed_at(tg_cursors_find(f->cursors, "one")), 0);
    assert_int_equal(f->partner->n_got, 2);
}

static bool cursor_gone(void *arg)
{
    struct fixture *f = arg;
    return tg_cursors_find(f->cursors, "one") == NULL;
}

/* After 24 hours what it had not delivered, log and retry set, becomes dead letters, and its cursor goes. */
static void removed_for_a_day(void **state)
{
    struct fixture *f = *state;
    f->config.retry.first_ms = f->config.retry.max_ms = 3600000;
    partner_script(f->partner, (struct partner_answer){.status = 500});
    use(f, post_body);
    append(f, "row");
    wait_metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"http_500\"", 1);
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    append(f, "m1");
    append(f, "m2");
    tg_wall_shift_ms(TG_REMOVED_KEEP_MS + 1000);
    loop_until(f->base, cursor_gone, f);
    tg_wall_shift_ms(0);
    struct letter l = letters(f);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.reason, "destination_removed");
    assert_int_equal(retry_rows(f), 0);
    assert_int_equal(
        metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"destination_removed\""), 3);
}

static void append_big(struct fixture *f, int n)
{
    char body[1100], id[32];
    snprintf(body, sizeof body, "{\"type\":\"track\",\"x\":\"%01000d\"}", 0);
    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof id, "m%d", i);
        append_event(f, (struct tg_event){.type = TG_TRACK,
                                          .message_id = tg_str_of(id),
                                          .name = TG_STR("Bought"),
                                          .body = tg_str_of(body)});
    }
}

static bool is_within_half(void *arg)
{
    struct fixture *f = arg;
    struct tg_cursor *cursor = tg_cursors_find(f->cursors, "one");
    return tg_log_bytes_from(f->log, tg_cursor_low(cursor)) <= f->spool_bytes / 2;
}

/* Before that only the oldest of what is more than half of the log; its cursor stays, and what is left is
 * delivered when it comes back. */
static void removed_with_a_long_backlog(void **state)
{
    struct fixture *f = *state;
    stop(f);
    f->spool_bytes = 200 * 1000;
    open_engine(f);
    use(f, post_body);
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    append_big(f, 700);
    loop_until(f->base, is_within_half, f);
    int64_t gone =
        metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"destination_removed\"");
    assert_in_range(gone, 590, 630);
    f->fake = fake_new("one", f->partner->port, post_body);
    give(f);
    wait_delivered(f, (size_t)(700 - gone));
}

static void mark_served(struct fake *fake, struct tg_run *run)
{
    fake_deliver(run, (struct fake_ask){.body = fake->dest.name[0] == 'o' ? "1" : "2"});
    fake_end(run, TG_RUN_DONE, NULL);
}

/* One destination that is down, and one whose partner never answers, cost a third nothing. */
static void destinations_are_isolated(void **state)
{
    struct fixture *f = *state;
    struct partner *silent = partner_new(f->base), *gone = partner_new(f->base);
    silent->otherwise.status = -1;
    partner_close(gone);
    struct fake *fakes[] = {fake_new("one", f->partner->port, mark_served),
                            fake_new("silent", silent->port, mark_served),
                            fake_new("gone", gone->port, mark_served)};
    struct tg_destination_config configs[3];
    struct tg_engine_dest dests[3];
    for (int i = 0; i < 3; i++) {
        configs[i] = f->config;
        configs[i].name = fakes[i]->dest.name;
        dests[i] = (struct tg_engine_dest){&fakes[i]->dest, &configs[i]};
    }
    assert_int_equal(tg_engine_set_destinations(f->engine, dests, 3, 1, NULL), TG_OK);
    for (int i = 0; i < 50; i++)
        append(f, "m");
    wait_delivered(f, 50);
    assert_true(all_settled(f));
    assert_true(silent->n_held <= 16);
    assert_int_equal(metric(f, "tidegate_events_delivered_total", "destination=\"silent\""), 0);
    stop_within(f, 50); /* the silent one will not answer */
    open_engine(f);
    partner_free(silent);
    partner_free(gone);
}

/* Stop waits for the answer of what is under way. */
static void stop_waits_for_answers(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, post_body);
    append(f, "m1");
    wait_got(f, 1);
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + STOP_MS, on_stopped, &stopped);
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    assert_int_equal(stopped, 0);
    partner_release(f->partner, (struct partner_answer){0});
    loop_until(f->base, is_set, &stopped);
    assert_true(all_settled(f));
}

/* A chain that is cut off by the stop keeps its answers: the next start goes on behind them. */
static void stop_keeps_answers(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, chain)->resumed = chain_goes_on;
    append(f, "m1");
    wait_got(f, 1);
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + STOP_MS, on_stopped, &stopped);
    partner_release(f->partner, (struct partner_answer){0});
    loop_until(f->base, is_set, &stopped);
    assert_int_equal(retry_rows(f), 1);
    assert_true(all_settled(f));
    assert_int_equal(f->partner->n_got, 1);
}

/* ... but not for ever: at the deadline the event stays in the log. */
static void stop_has_a_deadline(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, post_body);
    append(f, "m1");
    wait_got(f, 1);
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + 50, on_stopped, &stopped);
    loop_until(f->base, is_set, &stopped);
    assert_false(all_settled(f));
}

static bool torture_done(void *arg)
{
    struct fixture *f = arg;
    return metric_reached(f) && all_settled(f);
}

/* Without memory nothing crashes and nothing is lost: what fails is tried again, whichever allocation it was.
 */
static void survives_lack_of_memory(void **state)
{
    struct fixture *f = *state;
    bool failed = true;
    use_batches(f, 2);
    batch_spec.max_wait_ms = 50;
    for (size_t n = 1; failed; n++) {
        f->fake->handler = n % 2 ? post_body : post_batch;
        append(f, "m");
        int64_t until = tg_mono_ms() + 30;
        tg_mem_fail_after((long)(n + 1) / 2);
        while (tg_mono_ms() < until)
            event_base_loop(f->base, EVLOOP_NONBLOCK);
        failed = tg_mem_failed();
        tg_mem_fail_after(0);
        f->name = "tidegate_events_delivered_total";
        f->labels = "destination=\"one\"";
        f->want = n;
        loop_until(f->base, torture_done, f);
    }
    assert_int_equal(letters(f).n, 0);
}

/* Half open when its first time has passed already. */
static bool breaker_has_opened(void *arg)
{
    return strcmp(status_of(arg, "breaker"), "\"closed\"") != 0;
}

static void open_breaker(struct fixture *f)
{
    f->partner->otherwise.status = 500;
    use(f, post_body);
    for (int i = 0; i < 5; i++)
        append(f, "m");
    loop_until(f->base, breaker_has_opened, f);
    assert_non_null(strstr(status_of(f, "because"), "\"500 from POST http://127.0.0.1:"));
}

/* How often the loop wakes up in `ms`. */
static int wakeups(struct fixture *f, int64_t ms)
{
    int n = 0;
    struct event *tick = event_new(f->base, -1, EV_PERSIST, partner_stop_loop, f->base);
    const struct timeval tv = {0, 50 * 1000};
    event_add(tick, &tv);
    int64_t until = tg_mono_ms() + ms;
    do {
        event_base_loop(f->base, EVLOOP_ONCE);
        n++;
    } while (tg_mono_ms() < until);
    event_free(tick);
    return n;
}

/* A destination that may not send sleeps, also when the time of its open breaker has passed. */
static void sleeps_while_held(void **state)
{
    struct fixture *f = *state;
    f->config.retry.first_ms = f->config.retry.max_ms = 3600000;
    open_breaker(f);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    (void)wakeups(f, 1100); /* the first opening lasts a second at most */
    assert_in_range(wakeups(f, 400), 1, 100);
}

/* So does one whose breaker is open, however many of its retries are due. */
static void sleeps_while_broken(void **state)
{
    struct fixture *f = *state;
    f->config.retry.first_ms = f->config.retry.max_ms = 3600000;
    open_breaker(f);
    for (uint64_t i = 0; i < 100; i++) {
        struct tg_retry row = {.destination = "one",
                               .seq = 1000 + i,
                               .due = 1,
                               .received_at = 1,
                               .source = "web",
                               .message_id = "row",
                               .reason = "http_500"};
        assert_int_equal(tg_state_put_retry(f->state, &row, NULL, NULL), TG_OK);
    }
    tg_helper_drain(f->helper);
    tg_engine_look(f->engine);
    assert_in_range(wakeups(f, 300), 1, 100);
}

static void ask_and_wait(struct fake *fake, struct tg_run *run)
{
    fake->arg = run;
    fake_deliver(run, (struct fake_ask){.body = "1"});
}

/* An event that is to run once more when its destination has gone leaves with it, with the answers it has. */
static void removed_while_it_should_run_again(void **state)
{
    struct fixture *f = *state;
    int freed = 0;
    f->partner->otherwise.status = -1;
    use(f, ask_and_wait)->freed = &freed;
    append(f, "m1");
    wait_got(f, 1);
    fake_end(f->fake->arg, TG_RUN_RETRY, "state_rebuilt");
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    partner_release(f->partner, (struct partner_answer){0});
    loop_until(f->base, is_set, &freed);
    assert_int_equal(retry_rows(f), 1);
    assert_true(all_settled(f));
}

/* Loses its state behind the first answer; the next time a pause comes between. */
static void search_twice(struct fake *fake, struct tg_run *run)
{
    fake_deliver(run, (struct fake_ask){.body = "\"search\""});
    if (!run->done[1])
        return;
    if (fake->started == 2)
        assert_int_equal(tg_engine_pause(((struct fixture *)fake->arg)->engine, "one"), TG_OK);
    fake_deliver(run, (struct fake_ask){.body = "\"change\""});
    fake_end(run, TG_RUN_DONE, NULL);
}
static void lose_the_state(struct fake *fake, struct tg_run *run, unsigned call)
{
    (void)fake;
    if (call == 1)
        fake_end(run, TG_RUN_RETRY, "state_rebuilt");
}

static bool has_row(void *arg)
{
    return retry_rows(arg) == 1;
}

/* What an event has been answered is not asked again when it ran anew for other reasons and then was held
 * back. */
static void held_back_while_running_again(void **state)
{
    struct fixture *f = *state;
    f->fake = fake_new("one", f->partner->port, search_twice);
    f->fake->resumed = lose_the_state;
    f->fake->arg = f;
    give(f);
    append(f, "m1");
    loop_until(f->base, has_row, f);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, 1);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[1].body, "\"change\"");
}

static void hold_and_lose(struct fake *fake, struct tg_run *run, unsigned call)
{
    (void)call;
    assert_int_equal(tg_engine_pause(((struct fixture *)fake->arg)->engine, "one"), TG_OK);
    fake_end(run, TG_RUN_RETRY, "state_rebuilt");
}

/* Nor when it had not even begun to run again as the relay stopped. */
static void stop_before_running_again(void **state)
{
    struct fixture *f = *state;
    f->fake = fake_new("one", f->partner->port, chain);
    f->fake->resumed = hold_and_lose;
    f->fake->arg = f;
    give(f);
    append(f, "m1");
    wait_metric(f, "tidegate_requests_total", "destination=\"one\",status=\"2xx\"", 1);
    stop(f);
    assert_int_equal(retry_rows(f), 1);
    assert_true(all_settled(f));
}

/* Nor when it was still to run again as the last answer came during the stop. */
static void stop_while_it_should_run_again(void **state)
{
    struct fixture *f = *state;
    f->partner->otherwise.status = -1;
    use(f, ask_and_wait);
    append(f, "m1");
    wait_got(f, 1);
    fake_end(f->fake->arg, TG_RUN_RETRY, "state_rebuilt");
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + STOP_MS, on_stopped, &stopped);
    partner_release(f->partner, (struct partner_answer){0});
    loop_until(f->base, is_set, &stopped);
    assert_int_equal(retry_rows(f), 1);
    assert_true(all_settled(f));
}

static void says_so_itself(struct fake *fake, struct tg_run *run)
{
    (void)fake;
    const struct tg_run_result result = {.end = TG_RUN_RETRY, .reason = "state_rebuilt"};
    run->ended = true;
    run->ops->end(run->arg, run, &result);
}

/* The word of a lost state is nothing special in a script's own mouth: it waits like any other. */
static void script_cannot_claim_a_lost_state(void **state)
{
    struct fixture *f = *state;
    f->config.retry.first_ms = f->config.retry.max_ms = 3600000;
    use(f, says_so_itself);
    append(f, "m1");
    wait_metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"state_rebuilt\"", 1);
    assert_int_equal(f->fake->started, 1);
}

static void complain(struct fake *fake, struct tg_run *run)
{
    const struct tg_run_result result = {.end = TG_RUN_ERROR, .reason = "script_error", .message = fake->arg};
    run->ended = true;
    run->ops->end(run->arg, run, &result);
}

/* A script that complains with a whole response body gets its dead letter, with the beginning of it. */
static void message_is_cut(void **state)
{
    struct fixture *f = *state;
    char *text = tg_malloc(1 << 20);
    memset(text, 'x', (1 << 20) - 1);
    text[(1 << 20) - 1] = 0;
    f->fake = fake_new("one", f->partner->port, complain);
    f->fake->arg = text;
    give(f);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"script_error\"", 1);
    assert_int_equal(strspn(letters(f).message, "x"), 63);
    assert_true(all_settled(f));
    tg_free(text);
}

/* What was cut off by the stop is not taken for delivered when somebody asks to look at the state. */
static void look_after_the_stop(void **state)
{
    struct fixture *f = *state;
    partner_script(f->partner, (struct partner_answer){.status = 500});
    f->partner->otherwise.status = -1;
    use(f, post_body);
    append(f, "m1");
    wait_got(f, 2);
    assert_int_equal(retry_rows(f), 1);
    int stopped = 0;
    tg_engine_stop(f->engine, tg_mono_ms() + 50, on_stopped, &stopped);
    loop_until(f->base, is_set, &stopped);
    tg_engine_look(f->engine);
    assert_int_equal(retry_rows(f), 1);
    assert_int_equal(metric(f, "tidegate_events_delivered_total", "destination=\"one\""), 0);
}

/* A retry row that a person has deleted meanwhile is gone: its event ends instead of waiting for it. */
static void row_taken_away(void **state)
{
    struct fixture *f = *state;
    int freed = 0;
    partner_script(f->partner, (struct partner_answer){.status = 500});
    f->partner->otherwise.status = -1;
    use(f, post_body)->freed = &freed;
    append(f, "m1");
    wait_got(f, 2);
    assert_int_equal(tg_state_delete_retry(f->state, 1, NULL, NULL), TG_OK);
    assert_int_equal(retry_rows(f), 0);
    partner_release(f->partner, (struct partner_answer){.status = 500});
    wait_metric(f, "tidegate_requests_total", "destination=\"one\",status=\"5xx\"", 2);
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    loop_until(f->base, is_set, &freed);
    assert_int_equal(retry_rows(f), 0);
}

/* One that was removed shows nothing more: it is neither parked nor waits for anything. */
static void removal_clears_gauges(void **state)
{
    struct fixture *f = *state;
    int freed = 0;
    f->partner->otherwise.status = 401;
    use(f, post_body)->freed = &freed;
    append(f, "m1");
    wait_metric(f, "tidegate_destination_parked", "destination=\"one\"", 1);
    wait_metric(f, "tidegate_backlog_events", "destination=\"one\"", 1);
    assert_int_equal(tg_engine_set_destinations(f->engine, NULL, 0, 2, NULL), TG_OK);
    loop_until(f->base, is_set, &freed);
    assert_int_equal(metric(f, "tidegate_destination_parked", "destination=\"one\""), 0);
    assert_int_equal(metric(f, "tidegate_backlog_events", "destination=\"one\""), 0);
}

/* join, split and judge belong to no event that could be set aside: when they bring the process down again
 * and again, the destination is parked, for the sake of the others. */
static void verdict_brings_the_process_down(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(status_of(f, "state"), "\"running\"");
        assert_int_equal(tg_engine_strike(f->engine, "one", 0, "script_timeout"), TG_OK);
    }
    assert_string_equal(status_of(f, "state"), "\"parked\"");
    assert_string_equal(status_of(f, "parked_reason"), "\"script_timeout\"");
}

/* --- quotas --- */

static bool no_backlog_over(void *arg)
{
    struct fixture *f = arg;
    return tg_log_bytes_from(f->log, tg_cursor_low(tg_cursors_find(f->cursors, "one"))) <=
           f->config.backlog.max_bytes.bytes;
}

/* What waits beyond the ceiling becomes dead letters, the oldest first; the rest is delivered when that is
 * possible again. */
static void backlog_becomes_dead_letters(void **state)
{
    struct fixture *f = *state;
    f->config.backlog.max_bytes.bytes = 10 * 1000;
    use(f, post_body);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append_big(f, 30);
    loop_until(f->base, no_backlog_over, f);
    struct letter l = letters(f);
    assert_in_range(l.n, 20, 22);
    for (int i = 0; i < l.n; i++) {
        char id[32];
        snprintf(id, sizeof id, "m%d", i);
        assert_string_equal(l.ids[i], id);
    }
    assert_string_equal(l.reason, "backlog_full");
    assert_int_equal(l.attempts, 0);
    assert_int_equal(metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"backlog_full\""),
                     l.n);
    assert_int_equal(f->partner->n_got, 0);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, (size_t)(30 - l.n));
    assert_true(all_settled(f));
}

/* drop_oldest: counted, and gone. */
static void backlog_is_dropped(void **state)
{
    struct fixture *f = *state;
    f->config.backlog.max_bytes.bytes = 10 * 1000;
    f->config.backlog.on_full = TG_BACKLOG_DROP_OLDEST;
    use(f, post_body);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append_big(f, 30);
    loop_until(f->base, no_backlog_over, f);
    int64_t dropped =
        metric(f, "tidegate_events_dropped_total", "destination=\"one\",reason=\"backlog_full\"");
    assert_in_range(dropped, 20, 22);
    assert_int_equal(letters(f).n, 0);
    assert_int_equal(tg_engine_resume(f->engine, "one"), TG_OK);
    wait_delivered(f, (size_t)(30 - dropped));
}

/* Events that waited too long go, younger ones stay. */
static void backlog_ages(void **state)
{
    struct fixture *f = *state;
    f->config.backlog.max_age_ms = 3600000;
    use(f, post_body);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append(f, "m1");
    reopen(f, post_body);
    assert_int_equal(letters(f).n, 0);
    f->config.backlog.max_age_ms = 1;
    f->fake = fake_new("one", f->partner->port, post_body);
    give(f);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"backlog_too_old\"", 1);
    assert_string_equal(letters(f).ids[0], "m1");
}

static bool is_dead_full(void *arg)
{
    return tg_engine_dead_full(((struct fixture *)arg)->engine) != NULL;
}

static bool is_not_dead_full(void *arg)
{
    return !is_dead_full(arg);
}

/* Dead letters beyond their ceiling are told, also to a second start, and no longer when they have gone.
 * Meanwhile the backlog stays where it is. */
static void dead_letters_stop_ingest(void **state)
{
    struct fixture *f = *state;
    f->config.dead.max_bytes.bytes = 600;
    f->partner->otherwise.status = 400;
    use(f, post_body);
    assert_null(tg_engine_dead_full(f->engine));
    append(f, "m1");
    loop_until(f->base, is_dead_full, f);
    assert_string_equal(tg_engine_dead_full(f->engine), "one");
    f->config.backlog.max_bytes.bytes = 1;
    reopen(f, post_body);
    loop_until(f->base, is_dead_full, f);
    assert_int_equal(tg_engine_pause(f->engine, "one"), TG_OK);
    append(f, "m2");
    tg_helper_drain(f->helper);
    assert_int_equal(letters(f).n, 1);
    int64_t gone;
    assert_int_equal(tg_state_dead_drop(f->state, &(struct tg_dead_filter){0}, &gone, NULL), TG_OK);
    tg_engine_look(f->engine);
    loop_until(f->base, is_not_dead_full, f);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"backlog_full\"", 1);
}

/* drop_oldest: dead letters make room for newer ones, counted. */
static void dead_letters_are_dropped(void **state)
{
    struct fixture *f = *state;
    f->config.dead.max_bytes.bytes = 2000;
    f->config.dead.on_full = TG_DEAD_DROP_OLDEST;
    f->config.concurrency = 1;
    f->partner->otherwise.status = 400;
    use(f, post_body);
    for (int i = 0; i < 8; i++)
        append(f, i % 2 ? "odd" : "even");
    wait_metric(f, "tidegate_events_dropped_total", "destination=\"one\",reason=\"dead_full\"", 5);
    assert_null(tg_engine_dead_full(f->engine));
    assert_in_range(letters(f).n, 1, 3);
}

/* An event that comes again after a crash has one dead letter. */
static void dead_letters_are_not_doubled(void **state)
{
    struct fixture *f = *state;
    stop(f);
    f->save_ms = NEVER_MS;
    open_engine(f);
    f->partner->otherwise.status = 400;
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_400\"", 1);
    tg_engine_free(&f->engine); /* no stop: the cursor is not saved */
    tg_client_free(&f->client);
    close_spool(f);
    open_spool(f);
    open_engine(f);
    use(f, post_body);
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_400\"", 2);
    assert_int_equal(letters(f).n, 1);
}

/* A dead letter that is put back into the retry set is delivered at once when the engine is told. */
static void replays(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"one"};
    struct tg_replayed r;
    partner_script(f->partner, (struct partner_answer){.status = 400});
    use(f, post_body);
    append(f, "m1");
    wait_metric(f, "tidegate_events_dead_total", "destination=\"one\",reason=\"http_400\"", 1);
    assert_int_equal(letters(f).n, 1);
    assert_int_equal(
        tg_state_dead_replay(f->state, &(struct tg_dead_filter){0}, names, 1, tg_wall_ms(), &r, NULL), TG_OK);
    tg_engine_look(f->engine);
    wait_delivered(f, 1);
    assert_string_equal(f->partner->got[1].body, f->partner->got[0].body);
    assert_int_equal(letters(f).n, 0);
    assert_int_equal(retry_rows(f), 0);
}

/* --- forgotten users --- */

static void forget_since(struct fixture *f, const char *user, int64_t at)
{
    struct tg_buf name = TG_BUF_INIT(100);
    assert_int_equal(tg_forgotten_name(&name, tg_str_of(user), at), TG_OK);
    assert_int_equal(tg_state_put_fact_now(f->state, TG_FORGET_FACT, tg_buf_cstr(&name), TG_STR("1"), NULL),
                     TG_OK);
    tg_buf_fini(&name);
    assert_int_equal(tg_engine_look(f->engine), TG_OK);
}

static void forget(struct fixture *f, const char *user)
{
    forget_since(f, user, tg_wall_ms());
}

/* Who asks to look hears when the tombstones could not be read: what he does next relies on it. */
static void look_says_what_it_has_not_seen(void **state)
{
    struct fixture *f = *state;
    use(f, post_body);
    forget(f, "u1");
    tg_mem_fail_after(1);
    int rc = tg_engine_look(f->engine);
    tg_mem_fail_after(0);
    assert_int_equal(rc, TG_NOMEM);
    assert_int_equal(tg_engine_look(f->engine), TG_OK);
}

static void append_of(struct fixture *f, const char *user, const char *message_id)
{
    append_event(f, (struct tg_event){.type = TG_TRACK,
                                      .message_id = tg_str_of(message_id),
                                      .user_id = tg_str_of(user),
                                      .name = TG_STR("Bought")});
}

/* An event that is at the partner when its user is forgotten ends as a skip: no retry row, no dead letter;
 * those in front of the partner are not sent any more; another user's are. */
static void forgets_what_is_in_hand(void **state)
{
    struct fixture *f = *state;
    f->config.concurrency = 1;
    partner_script(f->partner, (struct partner_answer){.status = -1});
    use(f, post_body);
    append_of(f, "u", "m1");
    append_of(f, "u", "m2");
    append_of(f, "v", "m3");
    wait_got(f, 1);
    forget(f, "u");
    partner_release(f->partner, (struct partner_answer){.status = 500});
    wait_metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"forgotten\"", 2);
    wait_delivered(f, 1);
    loop_until(f->base, all_settled, f);
    assert_int_equal(f->partner->n_got, 2);
    assert_string_equal(f->partner->got[1].body, "\"m3\"");
    assert_int_equal(retry_rows(f), 0);
    assert_int_equal(letters(f).n, 0);
}

/* A retry row that is there all the same is not sent but removed when its turn comes. */
static void forgets_retries(void **state)
{
    struct fixture *f = *state;
    f->config.retry = (struct tg_retry_config){300, 300, 3600000};
    partner_script(f->partner, (struct partner_answer){.status = 500});
    use(f, post_body);
    append_of(f, "u", "m1");
    wait_metric(f, "tidegate_events_retried_total", "destination=\"one\",reason=\"http_500\"", 1);
    forget(f, "u");
    wait_metric(f, "tidegate_events_skipped_total", "destination=\"one\",reason=\"forgotten\"", 1);
    assert_int_equal(retry_rows(f), 0);
    assert_int_equal(f->partner->n_got, 1);
}

static bool log_is_empty(void *arg)
{
    struct fixture *f = arg;
    return tg_log_first(f->log) > tg_log_last(f->log);
}

static int count_fact(void *n, const char *name, struct tg_str value)
{
    (void)name, (void)value;
    ++*(size_t *)n;
    return TG_OK;
}

static bool no_tombstones(void *arg)
{
    struct fixture *f = arg;
    size_t n = 0;
    assert_int_equal(tg_state_facts_each(f->state, TG_FORGET_FACT, count_fact, &n, NULL), TG_OK);
    return n == 0;
}

/* Bytes of a forgotten user leave the disk when they are settled, however little comes after them; then the
 * tombstone goes. */
static void forgets_on_disk(void **state)
{
    struct fixture *f = *state;
    stop(f);
    f->save_ms = 1;
    open_engine(f);
    use(f, post_body);
    append_of(f, "u", "m1");
    append_of(f, "v", "m2");
    wait_delivered(f, 2);
    loop_until(f->base, cursors_are_saved, f);
    assert_int_equal(tg_log_first(f->log), 1);
    forget_since(f, "u", tg_wall_ms() - 2 * TG_FORGET_MARGIN_MS);
    loop_until(f->base, log_is_empty, f);
    loop_until(f->base, no_tombstones, f);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(keeps_events_until_their_ids_are_kept),
        T(delivers),
        T(continues_after_a_restart),
        T(begins_at_the_next_event),
        T(begins_at_the_first_event_without_cursors),
        T(delivers_many),
        T(skips),
        T(gates),
        T(rejects),
        T(rejects_echo),
        T(rejects_without_the_secret),
        T(script_errors),
        T(retries),
        T(retries_after_a_restart),
        T(does_not_repeat_what_succeeded),
        T(gives_up_at_the_deadline),
        T(stands_still_while_the_partner_is_down),
        T(refuses_private_addresses),
        T(parks_on_401),
        T(reload_resumes),
        T(an_old_key_parks_nothing),
        T(a_late_401_does_not_undo_resume),
        T(parks_on_the_second_403),
        T(honours_retry_after),
        T(pauses),
        T(a_restart_does_not_undo_resume),
        T(batches),
        T(halves),
        T(splits),
        T(halves_when_split_says_nothing),
        T(joins_when_it_sends),
        T(judged_403_does_not_park),
        T(join_failures_are_isolated),
        T(joins_what_memory_holds),
        T(serialises_keys),
        T(shares_answers),
        T(renews_tokens_once),
        T(does_not_send_ended_tokens),
        T(sends_with_fleeting_tokens),
        T(fleeting_tokens_cost_little),
        T(limits_concurrency),
        T(keeps_rates),
        T(a_raised_rate_counts_at_once),
        T(what_waits_takes_new_settings),
        T(renders_again),
        T(chains),
        T(out_of_memory_twice),
        T(runs_again_after_a_rebuild),
        T(two_strikes),
        T(strikes_of_another_partition),
        T(removal_keeps_the_cursor),
        T(removed_for_a_day),
        T(removed_with_a_long_backlog),
        T(destinations_are_isolated),
        T(survives_lack_of_memory),
        T(sleeps_while_held),
        T(sleeps_while_broken),
        T(removed_while_it_should_run_again),
        T(held_back_while_running_again),
        T(stop_before_running_again),
        T(stop_while_it_should_run_again),
        T(script_cannot_claim_a_lost_state),
        T(message_is_cut),
        T(look_after_the_stop),
        T(row_taken_away),
        T(removal_clears_gauges),
        T(verdict_brings_the_process_down),
        T(stop_waits_for_answers),
        T(stop_keeps_answers),
        T(stop_has_a_deadline),
        T(backlog_becomes_dead_letters),
        T(backlog_is_dropped),
        T(backlog_ages),
        T(dead_letters_stop_ingest),
        T(dead_letters_are_dropped),
        T(dead_letters_are_not_doubled),
        T(replays),
        T(look_says_what_it_has_not_seen),
        T(forgets_what_is_in_hand),
        T(forgets_retries),
        T(forgets_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
